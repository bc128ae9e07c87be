"""The experiment of the rank-based loss paper: a linear layer to three dimensions, six methods.

Nolasco and Stowell, "Rank-Based Loss for Learning Hierarchical Representations", ICASSP 2022.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy._files import write_json
from tonotopy.geometry import unit_vectors
from tonotopy.protocols._rbl_data import UNSEEN, SplitVectors, read_vectors
from tonotopy.protocols._rbl_features import vectors_folder
from tonotopy.protocols._rbl_measures import Neighbours, misplaced_share, silhouettes
from tonotopy.protocols._rbl_methods import (
    DISTANCES,
    INITIAL,
    METHODS,
    Distance,
    prepare,
    quadruplet_batches,
)
from tonotopy.protocols._rbl_tables import HEADINGS, cells, write_tables
from tonotopy.protocols._rbl_training import RECIPES, Recipe, train_layer
from tonotopy.protocols._trials import claim_folder

__all__ = [
    "DISTANCES",
    "HEADINGS",
    "INITIAL",
    "METHODS",
    "RECIPES",
    "Recipe",
    "Trial",
    "cells",
    "run_rbl_experiment",
]


@dataclass(frozen=True)
class Trial:
    """One training; or none, for the given vectors.

    Args:
        method: `INITIAL` or a name of `METHODS`.
        distance: Of the loss; what is measured is by cosine distance always.
        seed: Of the initial weights, and of the quadruplets, shuffles and hierarchies that are
            drawn.
    """

    method: str
    distance: Distance
    seed: int

    @property
    def name(self) -> str:
        """The name of its file."""
        if self.method == INITIAL:
            return INITIAL
        return f"{self.method}-{self.distance}-seed{self.seed}"


def run_rbl_experiment(
    data: Path,
    out: Path,
    *,
    methods: Sequence[str] = (INITIAL, *METHODS),
    distances: Sequence[Distance] = DISTANCES,
    seeds: Sequence[int] = range(5),
    recipe: Recipe = RECIPES["long"],
    model: str | None = None,
) -> dict[str, Any]:
    """Train every method with every distance and seed, and tabulate; finished trials are kept.

    The epoch is chosen on validation clips; the tested clips have no part in the training.

    Args:
        data: Folder of `embeddings.parquet` (see `read_vectors`), or NSynth or TUT Acoustic Scenes
            2016 in its official layout (see `vectors_folder`).
        out: Folder of one JSON a trial, of `results.json` and of `results.md`.
        methods: `INITIAL` and names of `METHODS`.
        distances: Of the losses.
        seeds: Seeds of each method and distance.
        recipe: The same for all methods.
        model: A run folder or model id that embeds the clips of a data set. Default: statistics of
            log-mel bands.

    Returns:
        What `results.json` holds: `data`, `clips`, `recipe`, `trials`, and `table`, a row for each
        tested split, method and distance.

    Raises:
        UsageError: An unknown method, or `out` holds trials of other data or another recipe.
        DataError: The data cannot be used; see `read_vectors`.
    """
    for method in methods:
        if method != INITIAL and method not in METHODS:
            known = ", ".join((INITIAL, *METHODS))
            raise UsageError(f"no method {method!r}; there are: {known}")
    given = read_vectors(vectors_folder(data, out, model))
    claim_folder(out, {"embeddings": given.fingerprint, "recipe": asdict(recipe)})
    trials = _list_trials(methods, distances, seeds)
    done: list[dict[str, Any]] = []
    for number, trial in enumerate(trials, start=1):
        file = out / "trials" / f"{trial.name}.json"
        if not file.is_file():
            print(f"trial {number}/{len(trials)}: {trial.name}", file=sys.stderr)
            write_json(file, _run_trial(given, trial, recipe))
        done.append(json.loads(file.read_text(encoding="utf-8")))
        write_tables(out, done, given, recipe)
    return write_tables(out, done, given, recipe)


def _list_trials(
    methods: Sequence[str], distances: Sequence[Distance], seeds: Sequence[int]
) -> list[Trial]:
    # Seed by seed, so that an interrupted experiment has some of every method.
    trained = [
        Trial(method, distance, seed)
        for seed in seeds
        for method in dict.fromkeys(methods)
        for distance in dict.fromkeys(distances)
        if method != INITIAL
    ]
    return [Trial(INITIAL, "cosine", 0), *trained] if INITIAL in methods else trained


def _run_trial(data: SplitVectors, trial: Trial, recipe: Recipe) -> dict[str, Any]:
    result: dict[str, Any] = asdict(trial)
    if trial.method == INITIAL:
        return result | _measure(data, unit_vectors)
    start, method = time.perf_counter(), METHODS[trial.method]
    batches, val = prepare(data, method, trial.seed)
    loss = method.loss(trial.distance)
    trained = train_layer(batches, val, loss, recipe, seed=trial.seed, name=trial.name)
    result["training"] = {
        "epoch": trained.epoch,
        "epochs_run": trained.epochs_run,
        "last_loss": trained.last_loss,
        "seconds": time.perf_counter() - start,
    }
    return result | _measure(data, trained.embed)


def _measure(data: SplitVectors, embed: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    train, val = data.splits["train"], data.splits["val"]
    units = {name: embed(clips.vectors) for name, clips in data.splits.items()}
    neighbours = Neighbours.choose(units["train"], train.codes, units["val"], val.codes)
    result: dict[str, Any] = {
        "train": {
            # The same quadruplets for every method and seed.
            "misplaced": misplaced_share(embed, quadruplet_batches(train, seed=0)),
            "mean_length": float(torch.linalg.vector_norm(units["train"].mean(dim=0))),
        },
        "k_fine": neighbours.k_fine,
        "k_coarse": neighbours.k_coarse,
    }
    for name in ("val", *data.tested):
        codes = data.splits[name].codes
        fine, coarse = neighbours.accuracies(units[name], codes)
        found = silhouettes(units[name], codes)
        result[name] = {
            "silhouette_fine": found.fine,
            "silhouette_coarse": found.coarse,
            "silhouette": found.average,
            # A class that was not trained on cannot be predicted.
            "knn_fine": None if name == UNSEEN else fine,
            "knn_coarse": coarse,
        }
    return result
