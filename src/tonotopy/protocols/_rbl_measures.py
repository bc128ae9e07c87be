"""Measures of the rank-based loss paper: silhouettes at both levels, nearest neighbours, order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from sklearn.metrics import silhouette_score
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from tonotopy.geometry import pairwise_cosine
from tonotopy.losses import RankBasedLoss
from tonotopy.protocols._rbl_batches import Epochs

MAX_NEIGHBOURS = 40


class Silhouettes(NamedTuple):
    """Mean silhouettes of the clips.

    Attributes:
        fine: With fine classes as clusters.
        coarse: With coarse classes as clusters.
    """

    fine: float
    coarse: float

    @property
    def average(self) -> float:
        """Mean of both, which chooses the epoch on validation clips."""
        return (self.fine + self.coarse) / 2


def silhouettes(units: Tensor, codes: Tensor) -> Silhouettes:
    """Give the silhouettes by cosine distance.

    Mean over the clips of (b - a) / max(a, b): a is the mean distance to the other clips of the
    class, b to those of the nearest other class; 0 for a clip that is alone in its class.

    Args:
        units: (N, D) unit vectors.
        codes: (N, 2) coarse and fine classes.
    """
    # Rounding leaves distances of about -1e-16, which scikit-learn refuses.
    d = (1.0 - pairwise_cosine(units)).clamp_min(0.0).fill_diagonal_(0.0).numpy()
    coarse, fine = (
        float(silhouette_score(d, column.numpy(), metric="precomputed")) for column in codes.T
    )
    return Silhouettes(fine, coarse)


@dataclass(frozen=True)
class Neighbours:
    """Nearest-neighbour classifiers over the training clips, with k of each level.

    Args:
        units: (N, D) unit vectors of the training clips.
        codes: (N, 2) their classes.
        k_fine: Neighbours asked for the fine class.
        k_coarse: Neighbours asked for the fine class whose parent is the coarse one.
    """

    units: Tensor
    codes: Tensor
    k_fine: int
    k_coarse: int

    @classmethod
    def choose(
        cls, units: Tensor, codes: Tensor, val_units: Tensor, val_codes: Tensor
    ) -> Neighbours:
        """Take the smallest k from 1 to 40 of best accuracy on validation clips, at each level."""
        ks = range(1, min(MAX_NEIGHBOURS, len(units)) + 1)
        found = np.array([_accuracies(units, codes, val_units, val_codes, k) for k in ks])
        fine, coarse = (ks[int(place)] for place in found.argmax(axis=0))
        return cls(units, codes, fine, coarse)

    def accuracies(self, units: Tensor, codes: Tensor) -> tuple[float, float]:
        """Give the shares of clips whose fine class, and whose coarse class, is right."""
        fine, _ = _accuracies(self.units, self.codes, units, codes, self.k_fine)
        _, coarse = _accuracies(self.units, self.codes, units, codes, self.k_coarse)
        return fine, coarse


def _accuracies(
    units: Tensor, codes: Tensor, queries: Tensor, truth: Tensor, k: int
) -> tuple[float, float]:
    classifier = KNeighborsClassifier(k, weights="distance", algorithm="brute", metric="cosine")
    coarse, fine = codes.T.numpy()
    predicted = classifier.fit(units.numpy(), fine).predict(queries.numpy())
    parents = dict(zip(fine.tolist(), coarse.tolist(), strict=True))
    parent = np.array([parents[leaf] for leaf in predicted.tolist()])
    true_coarse, true_fine = truth.T.numpy()
    return float(np.mean(predicted == true_fine)), float(np.mean(parent == true_coarse))


@torch.no_grad()
def misplaced_share(embed: Callable[[Tensor], Tensor], batches: Epochs) -> float:
    """Give the share of pairs whose distance is not among those of their rank; mean over batches.

    Args:
        embed: (B, D) vectors to unit vectors.
        batches: The batches of an epoch.
    """
    loss, shares = RankBasedLoss(), []
    for vectors, relations in batches(1):
        loss(embed(vectors), relations)
        shares.append(float(loss.terms()["misplaced"]))
    return float(np.mean(shares))
