"""Votes of the nearest training patches, and nearest centroids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tonotopy.geometry import cosine_blocks, unit_vectors
from tonotopy.metrics.clip_accuracy import first_largest
from tonotopy.protocols._probe_patches import LabelledPatches

NEIGHBOURS = (1, 5, 10, 20, 50, 200)
"""Numbers of voters to choose from; of equally good ones the smallest is chosen."""

DEFAULT_NEIGHBOURS = 10
BLOCK_ROWS = 1024


@torch.no_grad()
def vote_patches(
    queries: NDArray[np.float32],
    train: LabelledPatches,
    voters: Sequence[int],
    num_classes: int,
) -> dict[int, Tensor]:
    """Classify patches by an unweighted vote of the nearest training patches by cosine.

    Ties between classes go to the lowest class id.

    Args:
        queries: (P, D).
        train: The patches that vote.
        voters: Numbers of voters; more than there are patches means all of them.
        num_classes: Number of classes C.

    Returns:
        For each number of voters the (P,) classes.
    """
    gallery = unit_vectors(torch.from_numpy(train.embeddings))
    labels = torch.from_numpy(train.patch_labels)
    most = min(max(voters), len(gallery))
    decided: dict[int, list[Tensor]] = {k: [] for k in voters}
    units = unit_vectors(torch.from_numpy(queries))
    for _, cosines in cosine_blocks(units, gallery, BLOCK_ROWS):
        nearest = labels[cosines.topk(most, dim=1).indices]
        for k in voters:
            votes = torch.zeros(len(nearest), num_classes)
            ballots = nearest[:, :k]
            votes.scatter_add_(1, ballots, torch.ones(ballots.shape))
            decided[k].append(first_largest(votes))
    return {k: torch.cat(parts) for k, parts in decided.items()}


def centroid_scores(
    queries: NDArray[np.float32], train: LabelledPatches, num_classes: int
) -> NDArray[np.float32]:
    """Give the (P, C) cosines of (P, D) patches to the centroids of the classes.

    A centroid is the mean of the unit vectors of the class's patches, each clip weighing the same.
    """
    units = _unit(train.embeddings) * train.weights[:, None]
    centroids = np.zeros((num_classes, units.shape[1]))
    np.add.at(centroids, train.patch_labels, units)
    return _unit(queries) @ _unit(centroids.astype(np.float32)).T


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    units: NDArray[np.float32] = unit_vectors(torch.from_numpy(rows)).numpy()
    return units
