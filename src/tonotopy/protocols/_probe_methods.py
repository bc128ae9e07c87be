"""Linear probe and nearest neighbours, with what they are told chosen on validation clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tonotopy.metrics.classification import confusion_matrix
from tonotopy.metrics.clip_accuracy import (
    BootstrapInterval,
    clip_accuracies,
    clip_majority,
    clip_probabilities,
    first_largest,
)
from tonotopy.protocols._probe_linear import DEFAULT_PENALTY, PENALTIES, LinearProbe, fit_linear
from tonotopy.protocols._probe_neighbours import DEFAULT_NEIGHBOURS, NEIGHBOURS, vote_patches
from tonotopy.protocols._probe_patches import LabelledPatches

T = TypeVar("T", int, float)

CHOSEN_BY = "accuracy_clip_macro"
"""What is best on the validation clips is taken."""


@dataclass(frozen=True)
class Judged:
    """The patches that a method is judged on, and how finely.

    Args:
        patches: Of validation or test clips.
        num_classes: Number of classes C.
        draws: Resamples of the bootstrap.
        seed: Of the resamples.
    """

    patches: LabelledPatches
    num_classes: int
    draws: int = 0
    seed: int = 0

    def by_probability(self, scores: NDArray[Any]) -> tuple[dict[str, BootstrapInterval], Tensor]:
        """Judge (P, C) scores of the patches, whose mean decides about a clip.

        Returns:
            The accuracies, and the (N,) decisions.
        """
        probabilities = torch.from_numpy(np.asarray(scores, dtype=np.float64))
        owners = torch.from_numpy(self.patches.owners)
        means = clip_probabilities(probabilities, owners, len(self.patches.labels))
        return self._judge(first_largest(probabilities), first_largest(means))

    def by_majority(self, decided: Tensor) -> tuple[dict[str, BootstrapInterval], Tensor]:
        """Judge (P,) classes of the patches, whose majority decides about a clip."""
        owners, clips = torch.from_numpy(self.patches.owners), len(self.patches.labels)
        return self._judge(decided, clip_majority(decided, owners, clips, self.num_classes))

    def _judge(
        self, patch_decided: Tensor, clip_decided: Tensor
    ) -> tuple[dict[str, BootstrapInterval], Tensor]:
        accuracies = clip_accuracies(
            patch_decided,
            clip_decided,
            torch.from_numpy(self.patches.owners),
            torch.from_numpy(self.patches.labels),
            draws=self.draws,
            seed=self.seed,
        )
        return accuracies, clip_decided

    def confusion(self, decided: Tensor) -> list[list[int]]:
        """Count clips by class (row) and decision (column)."""
        labels = torch.from_numpy(self.patches.labels)
        counts: list[list[int]] = confusion_matrix(decided, labels, self.num_classes).tolist()
        return counts


def as_json(accuracies: dict[str, BootstrapInterval]) -> dict[str, dict[str, float]]:
    """Give accuracies as plain dictionaries."""
    return {name: interval._asdict() for name, interval in accuracies.items()}


def probe_linear(
    train: LabelledPatches, val: LabelledPatches | None, test: Judged
) -> dict[str, Any]:
    """Fit linear classifiers, choose the penalty on validation clips, and judge on test clips."""
    tried: dict[float, LinearProbe] = {}
    found: list[float] = []
    for penalty in PENALTIES if val is not None else (DEFAULT_PENALTY,):
        tried[penalty] = fit_linear(train, penalty)
        if val is not None:
            shares = tried[penalty].probabilities(val.embeddings)
            accuracies, _ = Judged(val, test.num_classes).by_probability(shares)
            found.append(accuracies[CHOSEN_BY].value)
    penalty = _best(list(tried), found)
    accuracies, decided = test.by_probability(tried[penalty].probabilities(test.patches.embeddings))
    return {
        "accuracy": as_json(accuracies),
        "penalty": penalty,
        "C": 1.0 / (penalty * len(train.labels)),
        "converged": tried[penalty].converged,
        **_choice(list(tried), found),
        "confusion": test.confusion(decided),
    }


def probe_neighbours(
    train: LabelledPatches, val: LabelledPatches | None, test: Judged
) -> dict[str, Any]:
    """Let training patches vote, choose their number on validation clips, judge on test clips."""
    grid = [k for k in NEIGHBOURS if k <= len(train.embeddings)]
    found: list[float] = []
    if val is None:
        grid = [min(DEFAULT_NEIGHBOURS, len(train.embeddings))]
    else:
        votes = vote_patches(val.embeddings, train, grid, test.num_classes)
        judged = Judged(val, test.num_classes)
        found = [judged.by_majority(votes[k])[0][CHOSEN_BY].value for k in grid]
    k = _best(grid, found)
    accuracies, _ = test.by_majority(
        vote_patches(test.patches.embeddings, train, [k], test.num_classes)[k]
    )
    return {"accuracy": as_json(accuracies), "k": k, **_choice(grid, found)}


def _best(grid: Sequence[T], found: Sequence[float]) -> T:
    return grid[int(np.argmax(found))] if len(found) else grid[0]


def _choice(grid: Sequence[float], found: Sequence[float]) -> dict[str, Any]:
    """Say what was tried and how it did on the validation clips."""
    return {
        "chosen_on": "validation clips"
        if len(found)
        else "nothing: a default, for lack of validation clips",
        "tried": list(grid),
        "tried_val_accuracy_clip_macro": list(found),
    }
