"""Whether clips that share more of their labels are more similar: triplet accuracy."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy.labels import LabelTree
from tonotopy.metrics.tree._clips import tree_clips
from tonotopy.metrics.tree._rankings import Ranking, rankings


@torch.no_grad()
def triplet_accuracy(embeddings: Tensor, codes: Tensor, tree: LabelTree) -> float:
    """Give the share of triplets whose positive is more similar to the anchor than its negative.

    A triplet (a, p, n) is valid if the lowest common ancestor of a and p is certainly deeper than
    that of a and n; it is right if cos(a, p) > cos(a, n), half right if the two are equal. No
    triplet is listed: one sort an anchor and a running count a level count them all.

    Args:
        embeddings: (N, D) floats, not necessarily normalised.
        codes: (N, L) codes of `tree.encode`, partial ones allowed.
        tree: The tree.

    Returns:
        0 to 1, 0.5 for embeddings that are all equal; NaN without a valid triplet.

    Raises:
        UsageError: Shapes do not fit.
        DataError: A labelled embedding is not finite.
    """
    clips = tree_clips(embeddings, codes, tree)
    return share_right([triplet_rows(ranking, tree.num_levels) for ranking in rankings(clips)])


def share_right(counts: list[tuple[Tensor, Tensor]]) -> float:
    """Give right over all triplets, NaN without any."""
    right = sum((part.sum() for part, _ in counts), torch.zeros((), dtype=torch.float64))
    valid = sum((part.sum() for _, part in counts), torch.zeros((), dtype=torch.float64))
    return (right / valid).item()


def triplet_rows(ranking: Ranking, num_levels: int) -> tuple[Tensor, Tensor]:
    """Give (B,) float64 numbers of right and of valid triplets of each anchor."""
    right = torch.zeros(len(ranking.queries), dtype=torch.float64)
    valid = torch.zeros_like(right)
    for level in range(1, num_levels + 1):
        positive, negative = ranking.lo == level, ranking.hi < level
        low, high = ranking.groups.ends(positive)
        before, after = ranking.groups.ends(negative)
        negatives = negative.sum(dim=1)
        # Negatives after the run are less similar; those in it tie.
        beaten = negatives[ranking.groups.rows] - (before + after) / 2
        right += ranking.groups.by_row((high - low) * beaten)
        valid += positive.sum(dim=1, dtype=torch.float64) * negatives
    return right, valid
