"""`tonotopy reproduce add`: the experiment of the angular distance distribution paper."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tonotopy.cli._output import Output

if TYPE_CHECKING:
    from rich.console import Console


def reproduce_add(
    *,
    data: Path,
    out: Path = Path("runs/reproduce-add"),
    methods: list[str] | None = None,
    folds: list[str] | None = None,
    seeds: int = 3,
    config: Path | None = None,
    threads: int = 0,
) -> Output:
    """Cross-entropy against the angular distance distribution loss and its rivals, on ESC-50.

    One encoder and recipe for all losses, cross-validated on the official folds. Finished trials
    are not repeated, an interrupted one goes on.

    Args:
        data: The data set's folder, in its official layout.
        out: Folder of all runs and of results.json and results.md.
        methods: Losses to compare. Default: all.
        folds: Folds to test in turn. Default: all that the data has.
        seeds: Number of seeds, counted from 0.
        config: A YAML file of `fit` options other than data, run, losses, split and seed.
        threads: CPU threads; 0 leaves it to PyTorch.
    """
    from tonotopy.datasets import find_dataset
    from tonotopy.protocols.add_experiment import METHODS, run_add_experiment
    from tonotopy.training.config import FitConfig, read_config

    clips = find_dataset("esc-50").load(data)
    table = out / "clips.parquet"
    clips.write(table)
    base = read_config(config, {"data": table}) if config else FitConfig(data=table)
    result = run_add_experiment(
        replace(base, data=table, threads=threads),
        out,
        methods=methods or list(METHODS),
        folds=folds or sorted(clips.frame["fold"].unique().drop_nulls()),
        seeds=range(seeds),
    )
    return Output(
        result,
        f"{len(result['trials'])} trials; table in {out / 'results.md'}",
        lambda console: show_table(console, result["table"]),
    )


def show_table(console: Console, table: dict[str, dict[str, Any]]) -> None:
    """Print the table of `run_trials`."""
    from rich.table import Table

    from tonotopy.protocols._trials import written

    measures = list(next(iter(table.values())))
    shown = Table("method", "runs", *measures)
    for method, row in table.items():
        shown.add_row(method, str(row[measures[0]]["n"]), *map(written, row.values()))
    console.print(shown)
