"""Hubs: clips that are a nearest neighbour of far more clips than others are.

Radovanović, Nanopoulos and Ivanović, "Hubs in Space: Popular Nearest Neighbors in High-Dimensional
Data", JMLR 2010.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.metrics._ranking import SAME, Search
from tonotopy.metrics._validation import checked_units


@torch.no_grad()
def k_occurrence(embeddings: Tensor, k: int = 10) -> Tensor:
    """Count, for every clip, the other clips that have it among their k nearest by cosine.

    Clips that tie for the last places share them, so that the counts do not depend on the order
    of the clips. No N x N matrix is held.

    Args:
        embeddings: (N, D) floats, not necessarily normalised.
        k: Neighbours, 1 or more. Default 10; at most as many as there are other clips.

    Returns:
        (N,) float64, with mean k: whole numbers but for ties. A clip with 0 is an anti-hub; the
        largest belongs to the strongest hub.

    Raises:
        UsageError: `embeddings` is not a matrix, or `k` is below 1.
        DataError: An embedding is not finite.

    Examples:
        >>> x = torch.tensor([[1.0, 0.0], [0.9, 0.4], [0.4, 0.9]])
        >>> k_occurrence(x, 1)
        tensor([1., 2., 0.], dtype=torch.float64)
    """
    if k < 1:
        raise UsageError(f"k must be 1 or more, got {k}")
    units = checked_units(embeddings)
    counts = units.new_zeros(len(units))
    k = min(k, len(units) - 1)
    if k < 1:
        return counts
    one_class = torch.zeros(len(units), dtype=torch.long)
    own, sizes = torch.arange(len(units)), torch.tensor([len(units)])
    for _, cosines in Search(units, one_class, own, units, one_class, sizes).blocks():
        last = cosines.topk(k, dim=1).values[:, -1:]
        above, tied = cosines > last, cosines == last
        left = k - above.sum(dim=1, dtype=torch.float64)
        share = left / tied.sum(dim=1)
        counts += above.sum(dim=0) + share @ tied.double()
    return counts


def hubness(embeddings: Tensor, k: int = 10) -> float:
    """Give the skewness of the k-occurrence: 0 without hubs, large where few clips attract all.

    Formula: mean (c - m)³ / sd³ of the counts c of `k_occurrence`, m their mean, sd their
    population deviation.

    Args:
        embeddings: (N, D) floats, not necessarily normalised.
        k: Neighbours, 1 or more. Default 10; at most as many as there are other clips.

    Returns:
        The skewness; 0 where all counts are equal, as when all embeddings are, or when k neighbours
        are all there are; NaN for fewer than two embeddings.

    Raises:
        UsageError: `embeddings` is not a matrix, or `k` is below 1.
        DataError: An embedding is not finite.
    """
    counts = k_occurrence(embeddings, k)
    if len(counts) < 2:
        return math.nan
    apart = counts - counts.mean()
    deviation = apart.square().mean().sqrt()
    if deviation <= SAME:
        return 0.0
    return ((apart / deviation) ** 3).mean().item()
