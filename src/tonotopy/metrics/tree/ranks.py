"""How early the clips of the same label come, over all levels: mean normalised rank."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from tonotopy.labels import LabelTree
from tonotopy.metrics.tree._clips import TreeClips, tree_clips
from tonotopy.metrics.tree._rankings import Ranking, mean_of, rankings


class MeanNormalisedRank(NamedTuple):
    """The mean normalised rank and the least that the labels allow.

    Attributes:
        value: 0 to 1, lower is better, about 0.5 for a random order.
        floor: That of the best order; above 0 since the clips of a label take several ranks.
    """

    value: float
    floor: float


@torch.no_grad()
def mean_normalised_rank(embeddings: Tensor, codes: Tensor, tree: LabelTree) -> MeanNormalisedRank:
    """Give the mean place, from 0 to 1, of the clips that share a label with the query.

    MNR(i) = mean over the levels at which another clip has the label of i, of the mean over those
    clips of rank / M, ranks by cosine from 0, M the clips of which it is certain whether they have
    that label. Ties have their mean rank.

    Tian et al., "Hybrid Losses for Hierarchical Embedding Learning", ICASSP 2025 (as released).

    Args:
        embeddings: (N, D) floats, not necessarily normalised.
        codes: (N, L) codes of `tree.encode`, partial ones allowed.
        tree: The tree.

    Returns:
        Value and floor, means over the same queries; NaN where no two clips share a label.

    Raises:
        UsageError: Shapes do not fit.
        DataError: A labelled embedding is not finite.
    """
    clips = tree_clips(embeddings, codes, tree)
    found = [rank_rows(ranking, clips) for ranking in rankings(clips)]
    return MeanNormalisedRank(
        mean_of([value for value, _ in found]), mean_of([floor for _, floor in found])
    )


def rank_rows(ranking: Ranking, clips: TreeClips) -> tuple[Tensor, Tensor]:
    """Give (B,) normalised ranks and floors, NaN for queries that share no label."""
    value = torch.zeros(len(ranking.queries), dtype=torch.float64)
    floor, levels = torch.zeros_like(value), torch.zeros_like(value)
    for level in range(1, clips.tree.num_levels + 1):
        relevant = ranking.lo >= level
        counted = relevant | (ranking.hi < level)
        number = relevant.sum(dim=1)
        shares = number.clamp_min(1) * counted.sum(dim=1).clamp_min(1).double()
        value += ranking.groups.expected(relevant, counted, _sum_of_ranks) / shares
        floor += _sum_of_ranks(number, number) / shares
        levels += number > 0
    levels = levels.where(levels > 0, math.nan)
    return value / levels, floor / levels


def _sum_of_ranks(number: Tensor, _: Tensor) -> Tensor:
    """Give 0 + 1 + ... of that many ranks."""
    return number.double() * (number - 1) / 2
