"""The experiment of the hybrid losses paper: losses over a label tree, and classes never seen.

Tian, Lattner, McFee and Saitis, "Hybrid Losses for Hierarchical Embedding Learning", ICASSP 2025.
"""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tonotopy._components import Component
from tonotopy._errors import UsageError
from tonotopy.clips import ClipTable
from tonotopy.extraction import EmbeddingTable
from tonotopy.labels import LabelTree
from tonotopy.metrics.tree import tree_ndcg
from tonotopy.protocols._hybrid_data import (
    CLASS_FOLDS,
    check_share,
    first_second,
    hidden_classes,
    trial_clips,
)
from tonotopy.protocols._trials import Measure, number_at, run_trials
from tonotopy.protocols.embedding import EMBEDDINGS_FILE, embed_run, known_paths
from tonotopy.protocols.evaluation import evaluate_run
from tonotopy.training import FitConfig, OptimiserOptions, SplitOptions, fit, resume
from tonotopy.training.presets import read_losses

Setting = Literal["default", "published"]

HYBRIDS = ("l", "pl", "b", "t", "pl+b", "l+t", "pl+t", "pl+b+t")
METHODS = {name: f"hybrid-{name}" for name in HYBRIDS} | {
    name: name for name in ("rbl", "quadl", "tree-add", "supcon", "himulcon")
}
"""Name to preset: the paper's eight, and other losses over a tree."""

MOST_POOLED = 4096
"""Clips whose pairs can be one ranking."""

WITH_TRIPLETS = 5
"""How many times as patient the published schedule is where there is a triplet term."""


@dataclass(frozen=True)
class Trial:
    """One training of the grid.

    Args:
        method: A name of `METHODS`.
        fold: Class fold that is hidden.
        seed: Seed of weights, batches and augmentations.
        missing: Share of the training clips whose finest label is taken away.
    """

    method: str
    fold: int
    seed: int
    missing: float

    @property
    def row(self) -> str:
        """The method, and what is missing."""
        return f"{self.method}, {self.missing:.0%} missing" if self.missing else self.method

    @property
    def folder(self) -> str:
        """The run's name inside the experiment's folder."""
        return f"{self.method}/missing{self.missing:g}/fold{self.fold}-seed{self.seed}"


@dataclass(frozen=True)
class Plan:
    """What is the same for all trials.

    Args:
        base: Encoder, optimiser and all else that is not set here.
        setting: `"default"`, or `"published"` for the authors' training.
        clips: All clips, with complete labels.
        min_clips: A class with fewer clips is always hidden.
        hidden: Labels that are hidden in every fold, besides those of the fold.
    """

    base: FitConfig
    setting: Setting
    clips: ClipTable
    min_clips: int = 10
    hidden: tuple[str, ...] = ()


def run_hybrid_experiment(
    plan: Plan,
    out: Path,
    *,
    methods: Sequence[str] = tuple(METHODS),
    folds: Sequence[int] = tuple(range(CLASS_FOLDS)),
    seeds: Sequence[int] = (0,),
    missing: Sequence[float] = (0.0,),
) -> dict[str, Any]:
    """Train every method with every hidden class fold, and tabulate; finished trials are kept.

    The epoch is chosen on validation clips; test clips and hidden classes have no part in training.

    Args:
        plan: Data and training.
        out: The folder of all runs, of `results.json` and of `results.md`.
        methods: Names of `METHODS`.
        folds: Class folds to hide in turn, 0 to 4; -1 hides none.
        seeds: Seeds of each method and fold.
        missing: Shares of training clips whose finest label is taken away, each in [0, 1).

    Returns:
        `{"trials": [...], "table": {row: {measure: {"mean", "sd", "n"}}}}`.

    Raises:
        UsageError: An unknown method or fold, or a share out of range.
    """
    for method in methods:
        if method not in METHODS:
            raise UsageError(f"no method {method!r}; there are: {', '.join(METHODS)}")
    for fold in folds:
        hidden_classes(plan.clips, fold, min_clips=plan.min_clips)
    for share in missing:
        check_share(share)
    trials = [
        Trial(method, fold, seed, share)
        for seed in seeds
        for fold in folds
        for share in missing
        for method in methods
    ]
    run_trial = partial(_run_trial, plan, out / "first-second")
    return run_trials(trials, out, run_trial, measures(plan.clips.tree.num_levels))


def measures(num_levels: int) -> dict[str, Measure]:
    """Name the columns of the table for a tree of so many levels."""
    by_level = {
        f"accuracy, level {level + 1}": number_at("tree", "levels", level, "accuracy")
        for level in range(num_levels)
    }
    return {
        **by_level,
        "macro F1": number_at("tree", "levels", num_levels - 1, "macro_f1"),
        "adaptive P@5": number_at("tree", "adaptive_precision_at_5"),
        "NDCG": number_at("tree", "ndcg"),
        "NDCG, pooled, dot": number_at("published_ndcg"),
        "MNR": number_at("tree", "mnr"),
        "MNR floor": number_at("tree", "mnr_floor"),
        "silhouette": number_at("tree", "silhouette"),
        "triplet accuracy": number_at("tree", "triplet_accuracy"),
        "severity": number_at("tree", "mistakes", "severity"),
        "LVP by level head": number_at("tree", "unseen", "lvp", "level_head"),
        "LVP by leaf head": number_at("tree", "unseen", "lvp", "leaf_head"),
        "LVP by centroid": number_at("tree", "unseen", "lvp", "centroid"),
        "LVP by kNN": number_at("tree", "unseen", "lvp", "knn"),
        "NDCG, unseen": number_at("tree", "unseen", "ndcg"),
    }


def _run_trial(plan: Plan, copies: Path, trial: Trial, run: Path) -> None:
    if (run / "config.yaml").is_file():
        trained = resume(run)
    else:
        hidden = hidden_classes(plan.clips, trial.fold, min_clips=plan.min_clips)
        names = (*hidden, *plan.hidden)
        split = plan.base.split
        table = trial_clips(plan.clips, split, names, missing=trial.missing, seed=trial.seed)
        if plan.setting == "published":
            table = first_second(table, copies)  # after the split, which is that of the originals
        table.write(run.with_suffix(".parquet"))
        trained = fit(_config(plan, trial, run, names))
    embed_run(trained)  # anew: training that goes on leaves a model without centroids
    command = shlex.join(["tonotopy", *sys.argv[1:]])
    # At once with the others: the file says that the trial has finished.
    evaluate_run(trained, command=command, further={"published_ndcg": _published_ndcg(run)})


def _config(plan: Plan, trial: Trial, run: Path, hidden: Sequence[str]) -> FitConfig:
    config = replace(
        plan.base,
        data=run.with_suffix(".parquet"),
        run=run,
        **{"batches": None, **read_losses(METHODS[trial.method])},
        split=SplitOptions(test_fold="test", val_fold="val", unseen=list(hidden)),
        seed=trial.seed,
    )
    return _as_published(config) if plan.setting == "published" else config


def _as_published(config: FitConfig) -> FitConfig:
    """Train as the authors' code does; docs/taxonomies.md says what differs."""
    with_triplets = "triplet" in config.losses
    patience = 100 * (WITH_TRIPLETS if with_triplets else 1)
    mel = {"sample_rate": 44100, "n_fft": 2048, "hop_length": 512, "n_mels": 128}
    losses = {
        name: Component(loss.class_path, {**loss.init_args, "pairs": "drawn"})
        if loss.class_path == "GeneralizedTripletLoss"
        else loss
        for name, loss in config.losses.items()
    }
    return replace(
        config,
        front_end=Component("LogMel", {**mel, "mel_scale": "htk", "mel_norm": None, "log": "db"}),
        encoder=Component("MaxPoolConvNet"),
        losses=losses,
        augmentations=[],
        batches=Component("TreeTripletSampler"),
        class_weights=set(config.losses) != {"triplet"},
        optimiser=OptimiserOptions(
            epochs=min(config.optimiser.epochs, 5000),
            algorithm="adam",
            learning_rate=1e-3,
            weight_decay=1e-5,
            schedule="plateau",
            plateau_epochs=patience // 2,
            clip_gradient=1.0,
        ),
        monitor="val/loss",
        keep="last",
        patience=patience,
    )


def _published_ndcg(run: Path) -> float:
    """Give the NDCG that the authors' code computes: all pairs as one ranking, by dot product."""
    table = EmbeddingTable.read(run / EMBEDDINGS_FILE).of_split("test")
    if len(table) > MOST_POOLED:
        return math.nan
    tree = LabelTree.load(run / "labels.json")
    codes = tree.encode(known_paths(tree, table))
    return tree_ndcg(table.embeddings, codes, tree, mode="pooled", similarity="dot")
