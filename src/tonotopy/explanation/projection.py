"""Embeddings on a plane by t-SNE, with a figure that says how far to trust the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tonotopy._errors import UsageError

PERPLEXITIES = (10.0, 30.0, 50.0)
NEIGHBOURS = 10
FEWEST = 8
"""Points below which t-SNE has no neighbourhoods to keep."""


@dataclass(frozen=True)
class Projection:
    """Points on a plane.

    Attributes:
        positions: (N, 2) float64.
        method: `"t-SNE"`, or `"PCA"` where t-SNE is not possible.
        perplexity: Perplexity that was used; NaN for PCA.
        overlap: Mean share of each point's k nearest neighbours (cosine, in D dimensions) that are
            among its k nearest on the plane: 1 for a faithful picture, about k / (N - 1) for a
            random one; NaN for fewer than 3 points.
        neighbours: The k of `overlap`.
        note: What was done otherwise than asked, and why; empty when nothing was.
    """

    positions: Tensor
    method: Literal["t-SNE", "PCA"]
    perplexity: float
    overlap: float
    neighbours: int
    note: str


def project(embeddings: Tensor, *, perplexity: float = 30.0, seed: int = 0) -> Projection:
    """Lay embeddings out on a plane with t-SNE (van der Maaten and Hinton 2008).

    Embeddings are scaled to unit length; distances are cosine; the layout starts from PCA.

    Args:
        embeddings: (N, D) finite floats.
        perplexity: Effective number of neighbours, positive; lowered to (N - 1) / 3 for few
            points.
        seed: Seed of the optimisation.

    Returns:
        The layout. Fewer than 8 points, or points that all coincide, are laid out by PCA.

    Raises:
        UsageError: The shape is wrong, a value is not finite or the perplexity not positive.
    """
    if embeddings.ndim != 2 or min(embeddings.shape) < 1 or not embeddings.isfinite().all():
        raise UsageError(
            f"expected finite embeddings (N, D) with N, D >= 1, got {tuple(embeddings.shape)}"
        )
    if not perplexity > 0:
        raise UsageError(f"perplexity must be positive, got {perplexity:g}")
    units = F.normalize(embeddings.detach().double().cpu(), dim=1)
    count = len(units)
    note = ""
    if count < FEWEST:
        note = f"laid out by PCA: {count} points are too few for t-SNE"
    elif float((units - units[0]).abs().max()) < 1e-9:
        note = "laid out by PCA: all points coincide"
    if note:
        positions = _principal_plane(units)
        return Projection(positions, "PCA", math.nan, *knn_overlap(units, positions), note)
    largest = (count - 1) / 3
    if perplexity > largest:
        note = f"perplexity {largest:.3g} instead of {perplexity:g}: there are {count} points"
        perplexity = largest

    from sklearn.manifold import TSNE

    plan = TSNE(
        n_components=2, perplexity=perplexity, metric="cosine", init="pca", random_state=seed
    )
    positions = torch.from_numpy(plan.fit_transform(units.numpy())).double()
    return Projection(positions, "t-SNE", perplexity, *knn_overlap(units, positions), note)


def sweep_perplexity(
    embeddings: Tensor, *, perplexities: Sequence[float] = PERPLEXITIES, seed: int = 0
) -> list[Projection]:
    """Lay out the same embeddings at several perplexities; what changes is not in the data."""
    return [project(embeddings, perplexity=value, seed=seed) for value in perplexities]


def knn_overlap(
    embeddings: Tensor, positions: Tensor, *, neighbours: int = NEIGHBOURS
) -> tuple[float, int]:
    """Compare the nearest neighbours of points with those of their images on a plane.

    Args:
        embeddings: (N, D); compared by cosine.
        positions: (N, 2); compared by distance.
        neighbours: k; lowered to (N - 1) / 2, as all points are neighbours at k = N - 1.

    Returns:
        Mean shared part of the k nearest neighbours, in [0, 1], NaN for N < 3; and the k used.
    """
    count = len(embeddings)
    k = min(neighbours, (count - 1) // 2)
    if k < 1:
        return math.nan, 0
    units = F.normalize(embeddings.double(), dim=1)
    shared = 0
    itself = torch.arange(count)
    # Row by row in blocks: the matrix of all distances of 100 000 points does not fit in memory.
    for rows in torch.split(itself, 1024):
        diagonal = rows[:, None] == itself
        above = (units[rows] @ units.T).masked_fill(diagonal, -torch.inf).topk(k).indices
        apart = torch.cdist(positions[rows].double(), positions.double())
        below = apart.masked_fill(diagonal, torch.inf).topk(k, largest=False).indices
        shared += int((above[:, :, None] == below[:, None, :]).sum())
    return shared / (count * k), k


def _principal_plane(units: Tensor) -> Tensor:
    centred = units - units.mean(dim=0)
    plane = torch.zeros(len(units), 2, dtype=torch.float64)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    found = centred @ axes[:2].T
    plane[:, : found.shape[1]] = found
    return plane
