"""Detectors on the synthetic plant: do they alarm as often as promised, and from which severity on?

The sounds are synthetic (see `tonotopy.datasets.make_plant`), so sound machines can be recorded
without end and faults have a known severity. Figures say nothing about real machines.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from tonotopy._components import Component
from tonotopy._errors import UsageError
from tonotopy._files import atomic_path, write_json, write_text
from tonotopy.clips import scan
from tonotopy.datasets import make_plant
from tonotopy.protocols._plant_figure import plant_figure
from tonotopy.protocols._plant_markdown import plant_markdown
from tonotopy.protocols._plant_scores import score_plant
from tonotopy.protocols._plant_tables import plant_tables
from tonotopy.protocols._trials import claim_folder
from tonotopy.training import FitConfig, OptimiserOptions, SplitOptions, fit, resume
from tonotopy.training.anomaly_options import AnomalyOptions

__all__ = [
    "METHODS",
    "PlantDesign",
    "Trial",
    "plant_recipe",
    "run_plant_experiment",
]

AUXILIARY = {"subcluster_adacos": Component("SubclusterAdaCosLoss")}

METHODS: dict[str, tuple[AnomalyOptions, dict[str, Component]]] = {
    "attributes": (AnomalyOptions(), AUXILIARY),
    "machines": (AnomalyOptions(classes=["machine_type", "section"]), AUXILIARY),
    "one class": (
        AnomalyOptions(classes=[], mixup=0.0),
        {"deep_svdd": Component("DeepSVDDLoss")},
    ),
}
"""Name to auxiliary classes and losses: all metadata; the machine alone; none (Deep SVDD)."""

ONE_CLASS_EPOCHS = 10
"""Deep SVDD trains no longer: its embeddings only ever move together."""


@dataclass(frozen=True)
class PlantDesign:
    """Size of the plant of each seed; see `tonotopy.datasets.make_plant`.

    Args:
        sections: Machines of each of the four types.
        train_source: Training clips of a machine in the source domain.
        train_target: The same in the target domain.
        test_normals: Fresh clips of every sound machine, for each domain. Half of them calibrate
            held-out thresholds, on the others false alarms are counted.
        test_anomalies: Clips of every machine for each of its faults, severities and ratios; even.
        seconds: Length of a clip.
    """

    sections: int = 2
    train_source: int = 90
    train_target: int = 10
    test_normals: int = 108
    test_anomalies: int = 2
    seconds: float = 2.0


@dataclass(frozen=True)
class Trial:
    """One training.

    Args:
        method: A name of `METHODS`.
        seed: Of the plant and of the training.
    """

    method: str
    seed: int

    @property
    def folder(self) -> str:
        """The run's name inside the experiment's folder."""
        return f"{self.method.replace(' ', '-')}/seed{self.seed}"


def plant_recipe(threads: int = 0) -> FitConfig:
    """Give the training of the experiment: a small network on log-mel bands, for a CPU."""
    bands = {"n_fft": 1024, "hop_length": 512, "n_mels": 96, "eps": 1e-8}
    return FitConfig(
        data=Path("plants"),
        task="anomaly",
        front_end=Component("LogMel", bands),
        encoder=Component("ConvNet", {"width": 16}),
        augmentations=[],
        optimiser=OptimiserOptions(epochs=30, learning_rate=2e-3, warmup_epochs=3.0),
        split=SplitOptions(test_fraction=0.0, val_fraction=0.0),
        keep="last",
        accelerator="cpu",
        threads=threads,
    )


def run_plant_experiment(
    base: FitConfig,
    out: Path,
    *,
    design: PlantDesign | None = None,
    methods: Sequence[str] = tuple(METHODS),
    seeds: Sequence[int] = range(3),
    rates: Sequence[float] = (0.05, 0.01),
) -> dict[str, Any]:
    """Make a plant for each seed, train every method on it, and count alarms.

    Every seed has a plant with machines of its own. Training sees normal clips only. Thresholds are
    set from normal scores alone: those of the training clips, each left out in turn, or those of
    fresh clips. Finished plants and trials are not repeated.

    Args:
        base: Front end, encoder and optimiser, see `plant_recipe`; data, classes, losses, split
            and seed are set here.
        out: Folder of plants, runs, `results.json`, `results.md` and `figure.html`.
        design: Size of the plants.
        methods: Names of `METHODS`.
        seeds: Seeds of plant and training.
        rates: False-alarm rates that thresholds are set for.

    Returns:
        What `results.json` holds: `design`, `rates`, `trials`, `auc`, `false_alarms` and
        `detection`, see `tonotopy.protocols._plant_tables`.

    Raises:
        UsageError: An unknown method, or `out` holds an experiment of another design.
    """
    design = design or PlantDesign()
    for method in methods:
        if method not in METHODS:
            raise UsageError(f"no method {method!r}; there are: {', '.join(METHODS)}")
    _claim(out, base, design, rates)
    trials = [Trial(method, seed) for seed in seeds for method in methods]
    result: dict[str, Any] = {}
    for number, trial in enumerate(trials, start=1):
        run = out / trial.folder
        if not (run / "plant_scores.parquet").is_file():
            print(f"trial {number}/{len(trials)}: {trial.folder}", file=sys.stderr)
            _run_trial(base, trial, _plant(out, design, trial.seed), run, rates)
        result = _write(out, trials[:number], design, rates)
    return result


def _claim(out: Path, base: FitConfig, design: PlantDesign, rates: Sequence[float]) -> None:
    """Say whose trials `out` holds; refuse those of another experiment."""
    recipe = {
        "front_end": base.front_end.to_dict(),
        "encoder": base.encoder.to_dict(),
        "optimiser": asdict(base.optimiser),
    }
    claim_folder(out, {"design": asdict(design), "rates": list(rates), **recipe})


def _plant(out: Path, design: PlantDesign, seed: int) -> Path:
    """Make the plant of a seed and list its clips once for all methods."""
    folder = make_plant(out / "plants" / f"seed{seed}", seed=seed, **asdict(design))
    table = out / "plants" / f"seed{seed}.parquet"
    if not table.is_file():
        scan(folder / "plant.csv", label_columns=[]).write(table)
    return table


def _run_trial(
    base: FitConfig, trial: Trial, clips: Path, run: Path, rates: Sequence[float]
) -> None:
    options, losses = METHODS[trial.method]
    optimiser = base.optimiser
    if not options.classes:
        optimiser = replace(optimiser, epochs=min(ONE_CLASS_EPOCHS, optimiser.epochs))
    config = replace(
        base,
        data=clips,
        run=run,
        losses=losses,
        anomaly=options,
        optimiser=optimiser,
        split=SplitOptions(test_fraction=0.0, val_fraction=0.0),
        seed=trial.seed,
    )
    trained = resume(run) if (run / "config.yaml").is_file() else fit(config)
    scores, thresholds = score_plant(trained, options.scorer, rates)
    write_json(run / "plant_thresholds.json", thresholds)
    with atomic_path(run / "plant_scores.parquet") as temporary:  # last: it marks the trial as done
        scores.write_parquet(temporary)


def _write(
    out: Path, trials: Sequence[Trial], design: PlantDesign, rates: Sequence[float]
) -> dict[str, Any]:
    frames, thresholds = [], []
    for trial in trials:
        run = out / trial.folder
        mark = {"method": trial.method, "seed": trial.seed}
        frame = pl.read_parquet(run / "plant_scores.parquet")
        frames.append(frame.with_columns(**{name: pl.lit(value) for name, value in mark.items()}))
        found = json.loads((run / "plant_thresholds.json").read_text(encoding="utf-8"))
        thresholds += [{**mark, **threshold} for threshold in found]
    tables = plant_tables(pl.concat(frames), thresholds, rates)
    result = {
        "synthetic": True,
        "design": asdict(design),
        "rates": list(rates),
        "trials": [asdict(trial) for trial in trials],
        **tables,
    }
    write_json(out / "results.json", result)
    write_text(out / "results.md", plant_markdown(result))
    write_text(out / "figure.html", plant_figure(result))
    return result
