"""`tonotopy reproduce plant`: detectors on machines that are simulated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tonotopy.cli._output import Output

if TYPE_CHECKING:
    from rich.console import Console


def reproduce_plant(
    *,
    out: Path = Path("runs/reproduce-plant"),
    methods: list[str] | None = None,
    seeds: int = 3,
    rates: list[float] | None = None,
    sections: int = 2,
    train_source: int = 90,
    train_target: int = 10,
    test_normals: int = 108,
    test_anomalies: int = 2,
    seconds: float = 2.0,
    config: Path | None = None,
    threads: int = 0,
) -> Output:
    """Anomaly detectors on a synthetic plant, where sound machines never end and faults are graded.

    For each seed a plant of simulated compressors, fans, gearboxes and pumps is recorded, with
    background noise at -6, 0 and +6 dB. Detectors learn from normal clips; thresholds are set for
    given false-alarm rates, once from the training clips, each left out in turn, and once from
    fresh clips. Then alarms are counted: on further fresh clips of sound machines, with exact
    binomial intervals, and on faulty ones by fault, severity and noise. Nothing is needed but this
    program. The sounds are synthetic: the figures say nothing about real machines. Finished plants
    and trials are not repeated.

    Methods, by the auxiliary classes that are told apart in training:
      attributes  machine, speed and load setting, and domain
      machines    machine alone
      one class   none: Deep SVDD

    For example:
      tonotopy reproduce plant
      tonotopy reproduce plant --methods '[attributes]' --seeds 1 --test_normals 360

    Args:
        out: Folder of plants, runs, results.json, results.md and figure.html.
        methods: Methods to compare. Default: all.
        seeds: Number of seeds, counted from 0; each has a plant of its own.
        rates: False-alarm rates. Default: 0.05 and 0.01.
        sections: Machines of each type.
        train_source: Training clips of a machine in the source domain.
        train_target: The same in the target domain.
        test_normals: Fresh normal clips of a machine in each domain; half of them calibrate.
        test_anomalies: Clips of a machine for each fault, severity and ratio to the noise; even.
        seconds: Length of a clip.
        config: A YAML file of `fit` options other than data, run, losses, split and seed.
        threads: CPU threads; 0 leaves it to PyTorch.
    """
    from dataclasses import replace

    from tonotopy.protocols.plant_experiment import (
        METHODS,
        PlantDesign,
        plant_recipe,
        run_plant_experiment,
    )
    from tonotopy.training.config import read_config

    base = plant_recipe(threads)
    if config is not None:
        given = read_config(config, {"data": base.data, "task": "anomaly"})
        base = replace(given, threads=threads)
    result = run_plant_experiment(
        base,
        out,
        design=PlantDesign(
            sections, train_source, train_target, test_normals, test_anomalies, seconds
        ),
        methods=methods or list(METHODS),
        seeds=range(seeds),
        rates=rates or (0.05, 0.01),
    )
    return Output(
        result,
        f"{len(result['trials'])} trials on synthetic plants; tables in {out / 'results.md'}, "
        f"figure in {out / 'figure.html'}",
        lambda console: _show(console, result["false_alarms"]),
    )


def _show(console: Console, rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    shown = Table("classes", "calibrated on", "threshold", "promised", "domain", "alarms", "clips")
    for row in rows:
        if row["machine"] == "all":
            texts = [row[name] for name in ("method", "calibration", "scope")]
            counts = [str(row["alarms"]), str(row["clips"])]
            shown.add_row(*texts, f"{row['rate']:.0%}", row["domain"], *counts)
    console.print(shown)
