"""The experiment of the ADD paper on ESC-50: one encoder and recipe, nine losses, given folds.

Almudévar, Serizel and Ortega, "Angular Distance Distribution Loss for Audio Classification", 2024.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tonotopy._components import Component
from tonotopy._errors import UsageError
from tonotopy.protocols._trials import number_at, run_trials
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

STRUCTURE = ("structure", "cosine", "macro")

MEASURES = {
    "accuracy": number_at("classification", "accuracy"),
    "mAP": number_at("retrieval", "map"),
    "compactness": number_at(*STRUCTURE, "compactness"),
    "separation": number_at(*STRUCTURE, "separation"),
    "intra CV": number_at(*STRUCTURE, "intra_cv"),
    "inter CV": number_at(*STRUCTURE, "inter_cv"),
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
    def row(self) -> str:
        """The method."""
        return self.method

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
    return run_trials(trials, out, partial(_run_trial, base), MEASURES)


def _run_trial(base: FitConfig, trial: Trial, run: Path) -> None:
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
