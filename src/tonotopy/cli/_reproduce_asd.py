"""`tonotopy reproduce asd`: anomalous sounds of machines, as in DCASE Task 2."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tonotopy.cli._output import Output

if TYPE_CHECKING:
    from rich.console import Console


def reproduce_asd(
    *,
    data: Path,
    year: int,
    out: Path | None = None,
    back_ends: list[str] | None = None,
    seeds: int = 5,
    preset: str = "anomaly-paper",
    config: Path | None = None,
    false_alarm_rate: float = 0.1,
    threads: int = 0,
) -> Output:
    """Find anomalous sounds of machines with models that know normal ones only.

    For every seed, one model learns from the normal clips of all machines; test clips are scored
    by how far they are from the training clips of their machine. Reported are the official score,
    AUC and pAUC of development and evaluation data, of the independent models and of the ensemble
    of all, which sums their scores. The files that the official evaluator reads lie in evaluator/.
    Finished models are not trained again; an interrupted one goes on.

    Args:
        data: The data set's folder in its official layout: dev_data, eval_data, and the folders of
            the evaluator with the ground truth, without which eval_data is scored, not measured.
        year: 2020 to 2024.
        out: Folder of all models and of results.json and results.md. Default:
            runs/reproduce-asd-YEAR.
        back_ends: k-means, nearest, nearest+smote, nearest/density, gmm, mahalanobis. Default: the
            first two.
        seeds: Number of seeds, counted from 0.
        preset: A preset of `fit` for anomalies.
        config: A YAML file of `fit` options other than data, run, split and seed, instead of a
            preset.
        false_alarm_rate: Share of normal clips that decisions may call anomalous.
        threads: CPU threads; 0 leaves it to PyTorch.
    """
    from tonotopy._components import Component
    from tonotopy.datasets import find_dataset
    from tonotopy.protocols.asd_experiment import SECONDS, run_asd_experiment
    from tonotopy.training.config import read_config
    from tonotopy.training.presets import preset_file

    clips = find_dataset(f"dcase{year}-task2").load(data)
    if config:
        base = read_config(config, {"data": data, "task": "anomaly"})
    else:
        base = read_config(preset_file(preset), {"data": data})
        base = replace(base, front_end=Component("Waveform", {"seconds": SECONDS[year]}))
    folder = out or Path(f"runs/reproduce-asd-{year}")
    result = run_asd_experiment(
        replace(base, threads=threads),
        clips,
        year,
        folder,
        back_ends=back_ends or ["k-means", "nearest"],
        seeds=range(seeds),
        false_alarm_rate=false_alarm_rate,
    )
    return Output(
        result,
        f"{len(result['seeds'])} models; tables in {folder / 'results.md'}",
        lambda console: _show(console, result),
    )


def _show(console: Console, result: dict[str, Any]) -> None:
    from rich.table import Table

    from tonotopy.protocols._asd_tables import ALL
    from tonotopy.protocols._trials import written

    for part, table in result["parts"].items():
        if part in result["notes"]:
            console.print(f"{part}: {result['notes'][part]}")
        if not table:
            continue
        names = list(next(iter(table.values()))[ALL]["runs"])
        heads = [head for name in names for head in (name, "ensemble")]
        shown = Table(title=f"{part}, {len(result['seeds'])} models")
        shown.add_column("back end", no_wrap=True)
        for head in heads:
            shown.add_column(head)
        for back_end, rows in table.items():
            row = rows[ALL]
            cells = [(written(row["runs"][n]), f"{row['ensemble'][n]:.3f}") for n in names]
            shown.add_row(back_end, *(text for pair in cells for text in pair))
        console.print(shown)
