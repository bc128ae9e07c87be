"""The experiment of the ADD paper on ESC-50: one encoder and recipe, nine losses, given folds.

Almudévar, Serizel and Ortega, "Angular Distance Distribution Loss for Audio Classification", 2024.
"""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tonotopy._components import Component
from tonotopy._errors import UsageError
from tonotopy._files import write_json, write_text
from tonotopy.protocols.evaluation import evaluate_run
from tonotopy.training import FitConfig, SplitOptions, fit, resume

CROSS_ENTROPY = {"ce": Component("CrossEntropyLoss")}

METHODS: dict[str, dict[str, Component]] = {
    "ce": CROSS_ENTROPY,
    "ce+add-moments": {
        **CROSS_ENTROPY,
        "add": Component("AngularDistanceDistributionLoss", {"form": "moments"}),
    },
    "ce+add-gram": {
        **CROSS_ENTROPY,
        "add": Component("AngularDistanceDistributionLoss", {"form": "gram"}),
    },
    "focal": {"focal": Component("FocalLoss")},
    "ce+opl": {**CROSS_ENTROPY, "opl": Component("OrthogonalProjectionLoss")},
    "rbf": {"rbf": Component("RBFSoftmaxLoss")},
    "ce+prototypes": {**CROSS_ENTROPY, "prototypes": Component("PrototypeLoss")},
    "ce+angular-prototypes": {**CROSS_ENTROPY, "prototypes": Component("AngularPrototypeLoss")},
}
"""Name to losses; weights are those of the paper's code."""

WEIGHTS = {"opl": 0.1}

MEASURES = {
    "accuracy": ("classification", "accuracy"),
    "mAP": ("retrieval", "map"),
    "compactness": ("structure", "cosine", "macro", "compactness"),
    "separation": ("structure", "cosine", "macro", "separation"),
    "intra CV": ("structure", "cosine", "macro", "intra_cv"),
    "inter CV": ("structure", "cosine", "macro", "inter_cv"),
}


@dataclass(frozen=True)
class Trial:
    """One training of the grid.

    Args:
        method: A name of `METHODS`.
        fold: The fold that is tested; all others train.
        seed: Seed of weights, batches and augmentations.
    """

    method: str
    fold: str
    seed: int

    @property
    def folder(self) -> str:
        """The run's name inside the experiment's folder."""
        return f"{self.method}/fold{self.fold}-seed{self.seed}"


def run_add_experiment(
    base: FitConfig,
    out: Path,
    *,
    methods: Sequence[str] = tuple(METHODS),
    folds: Sequence[str] = ("1", "2", "3", "4", "5"),
    seeds: Sequence[int] = (0, 1, 2),
) -> dict[str, Any]:
    """Train every method on every fold and seed, and tabulate; finished trials are not repeated.

    No clip chooses an epoch: every trial takes the last weights of a fixed number of epochs, so
    the tested fold has no part in the training.

    Args:
        base: Data, encoder, augmentations and optimiser; losses, split and seed are set here.
        out: The folder of all runs, of `results.json` and of `results.md`.
        methods: Names of `METHODS`.
        folds: Folds to test, in turn.
        seeds: Seeds of each method and fold.

    Returns:
        `{"trials": [...], "table": {method: {measure: {"mean", "sd", "n"}}}}`.

    Raises:
        UsageError: An unknown method.
    """
    for method in methods:
        if method not in METHODS:
            raise UsageError(f"no method {method!r}; there are: {', '.join(METHODS)}")
    trials = [Trial(m, fold, seed) for seed in seeds for fold in folds for m in methods]
    for number, trial in enumerate(trials, start=1):
        if not _metrics_file(out, trial).is_file():
            print(f"trial {number}/{len(trials)}: {trial.folder}", file=sys.stderr)
            _run_trial(base, out, trial)
        _write_table(out, trials)
    return _write_table(out, trials)


def _run_trial(base: FitConfig, out: Path, trial: Trial) -> None:
    run = out / trial.folder
    losses = METHODS[trial.method]
    config = replace(
        base,
        run=run,
        losses=losses,
        loss_weights={name: WEIGHTS[name] for name in losses if name in WEIGHTS},
        split=SplitOptions(test_fold=trial.fold, val_fraction=0.0),
        seed=trial.seed,
    )
    trained = resume(run) if (run / "config.yaml").is_file() else fit(config)
    # No report: t-SNE and audio of every trial would cost more than its training.
    evaluate_run(trained, command=shlex.join(["tonotopy", *sys.argv[1:]]))


def _metrics_file(out: Path, trial: Trial) -> Path:
    return out / trial.folder / "metrics.json"


def _write_table(out: Path, trials: Iterable[Trial]) -> dict[str, Any]:
    done: list[dict[str, Any]] = []
    for trial in trials:
        file = _metrics_file(out, trial)
        if file.is_file():
            metrics = json.loads(file.read_text(encoding="utf-8"))
            values = {name: _look_up(metrics, keys) for name, keys in MEASURES.items()}
            done.append({"method": trial.method, "fold": trial.fold, "seed": trial.seed, **values})
    methods = dict.fromkeys(row["method"] for row in done)
    table = {
        method: {
            name: _spread([row[name] for row in done if row["method"] == method])
            for name in MEASURES
        }
        for method in methods
    }
    result = {"trials": done, "table": table}
    write_json(out / "results.json", result)
    write_text(out / "results.md", _markdown(table))
    return result


def _look_up(metrics: dict[str, Any], keys: tuple[str, ...]) -> float:
    value: Any = metrics
    for key in keys:
        value = value[key]
    return math.nan if value is None else float(value)


def _spread(values: list[float]) -> dict[str, float]:
    # NumPy, not `statistics`: a measure that is undefined in one trial is NaN, which must pass.
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return {"mean": float(np.mean(values)), "sd": deviation, "n": len(values)}


def _markdown(table: dict[str, dict[str, dict[str, float]]]) -> str:
    lines = [
        f"| method | runs | {' | '.join(MEASURES)} |",
        f"| --- | --- |{' --- |' * len(MEASURES)}",
    ]
    for method, row in table.items():
        cells = [f"{value['mean']:.3f} ± {value['sd']:.3f}" for value in row.values()]
        lines.append(f"| {method} | {row['accuracy']['n']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
