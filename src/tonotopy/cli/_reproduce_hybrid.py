"""`tonotopy reproduce hybrid`: losses over a label tree, compared."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tonotopy.cli._output import Output

if TYPE_CHECKING:
    from rich.console import Console

    from tonotopy.clips import ClipTable


def reproduce_hybrid(
    *,
    data: Path,
    out: Path = Path("runs/reproduce-hybrid"),
    setting: Literal["default", "published"] = "default",
    methods: list[str] | None = None,
    folds: list[int] | None = None,
    seeds: int = 1,
    missing: list[float] | None = None,
    hidden: list[str] | None = None,
    min_clips: int = 10,
    config: Path | None = None,
    threads: int = 0,
) -> Output:
    """Compare losses over a label tree on classes that are known and classes never seen.

    Measured are classification at every level, retrieval by kinship, and where clips of hidden
    classes land: a fifth of the finest classes is hidden in each class fold. Finished trials are
    not repeated; an interrupted one goes on.

    Args:
        data: OrchideaSOL or TinySOL in its official layout, or any labelled clips that `scan`
            reads, such as a clips.parquet.
        out: Folder of all runs and of results.json and results.md.
        setting: `default` is tonotopy's own training: batches that descend the tree, all triplets
            of a batch, the best epoch by validation. `published` is the authors': the first second
            at 44.1 kHz, their network, triplets drawn for each epoch, Adam, up to 5000 epochs, the
            last weights.
        methods: l, pl, b, t, pl+b, l+t, pl+t, pl+b+t, rbl, quadl, tree-add, supcon, himulcon.
            Default: all.
        folds: Class folds to hide in turn, 0 to 4; -1 hides only small classes. Default: all five.
        seeds: Number of seeds, counted from 0.
        missing: Shares of training clips whose finest label is taken away. Default: none.
        hidden: Further labels to hide, such as `Brass/Trombone`.
        min_clips: A class with fewer clips is always hidden.
        config: A YAML file of `fit` options other than data, run, losses, batches and seed. Its
            `split` says how the visible clips are split; the default is 80, 10 and 10 %.
        threads: CPU threads; 0 leaves it to PyTorch.
    """
    from tonotopy.protocols.hybrid_experiment import METHODS, Plan, run_hybrid_experiment
    from tonotopy.training.config import FitConfig, SplitOptions, read_config

    shares = SplitOptions(test_fraction=0.1, val_fraction=1 / 9)
    base = FitConfig(data=data, task="tree", split=shares)
    if config is not None:
        split = {f"split.{name}": value for name, value in asdict(shares).items()}
        base = read_config(config, {"data": data, "task": "tree", **split})
    plan = Plan(
        base=replace(base, threads=threads),
        setting=setting,
        clips=_load(data),
        min_clips=min_clips,
        hidden=tuple(hidden or ()),
    )
    result = run_hybrid_experiment(
        plan,
        out,
        methods=methods or list(METHODS),
        folds=range(5) if folds is None else folds,
        seeds=range(seeds),
        missing=missing or [0.0],
    )
    return Output(
        result,
        f"{len(result['trials'])} trials; table in {out / 'results.md'}",
        lambda console: _show(console, result["table"]),
    )


def _load(data: Path) -> ClipTable:
    from tonotopy.clips import load_clips
    from tonotopy.datasets import find_dataset

    for name in ("OrchideaSOL", "TinySOL"):
        if (data / f"{name}_metadata.csv").is_file():
            return find_dataset(name).load(data)
    return load_clips(data)


def _show(console: Console, table: dict[str, dict[str, Any]]) -> None:
    from rich.table import Table

    from tonotopy.protocols._trials import written

    shown = Table("measure", *table)
    for measure in next(iter(table.values())):
        values = [row[measure] for row in table.values()]
        shown.add_row(measure, *map(written, values))
    console.print(shown)
