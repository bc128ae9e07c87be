"""Whether clips are ordered as their leaves stand in the tree: NDCG with graded relevance."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.labels import LabelTree
from tonotopy.metrics.tree._affinity import Affinity, PairAffinity
from tonotopy.metrics.tree._clips import Similarity, TreeClips, check_choice, tree_clips
from tonotopy.metrics.tree._rankings import (
    Ranking,
    TieGroups,
    mean_of,
    rankings,
    similarities,
    sort_descending,
)

Mode = Literal["per_query", "pooled"]

POOLED_CLIPS = 4096
"""The most clips whose pairs are put into one order: some 700 MiB."""


@torch.no_grad()
def tree_ndcg(
    embeddings: Tensor,
    codes: Tensor,
    tree: LabelTree,
    *,
    mode: Mode = "per_query",
    similarity: Similarity = "cosine",
    affinity: Affinity = "max",
) -> float:
    """Give the normalised discounted cumulative gain of looking up each clip among the others.

    DCG(i) = sum over ranks r of aff(i, r) / log2(r + 1), NDCG = DCG / that of the best order;
    linear gain, all other clips, tied ones share their mean gain (scikit-learn's `ndcg_score`).
    A pair whose affinity the labels leave open takes no rank in the query's list. Queries without
    any affinity above 0 are left out of the mean. 1 means that every clip has its own leaf first,
    then its siblings, and so on; the value of a random order is high, so compare, do not judge.

    Tian et al., "Hybrid Losses for Hierarchical Embedding Learning", ICASSP 2025.

    Args:
        embeddings: (N, D) floats, not necessarily normalised.
        codes: (N, L) codes of `tree.encode`, partial ones allowed; clips of which nothing is known
            neither ask nor answer.
        tree: The tree.
        mode: "per_query" is the mean over queries; "pooled" puts the pairs of all queries into one
            order, as the authors' evaluation does, for at most 4,096 clips.
        similarity: "cosine", or "dot" products of the embeddings as they are, as the authors'
            evaluation does.
        affinity: "max" is 1 - max(up, down) / height of the tree, with `up` and `down` the edges
            of the two leaves to their lowest common ancestor; "sum" is 1 - (up + down) / diameter.

    Returns:
        0 to 1; NaN where there is nothing to rank.

    Raises:
        UsageError: Shapes or options do not fit, or there are too many clips for "pooled".
        DataError: A labelled embedding is not finite.

    Examples:
        >>> tree = LabelTree([("a", "x"), ("a", "y"), ("b", "z")])
        >>> codes = tree.encode([("a", "x"), ("a", "x"), ("a", "y"), ("b", "z")])
        >>> z = torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.4], [0.0, 1.0]])
        >>> tree_ndcg(z, codes, tree)
        1.0
    """
    check_choice("mode", mode, Mode)
    check_choice("affinity", affinity, Affinity)
    clips = tree_clips(embeddings, codes, tree, similarity)
    relevance = PairAffinity(clips, affinity)
    if mode == "pooled":
        return _pooled(clips, relevance)
    return mean_of([ndcg_rows(ranking, relevance) for ranking in rankings(clips)])


def ndcg_rows(ranking: Ranking, relevance: PairAffinity) -> Tensor:
    """Give the (B,) NDCG of each query, NaN where no affinity is above 0."""
    return _ndcg(ranking.groups, *relevance.of(ranking))


def _ndcg(groups: TieGroups, gains: Tensor, certain: Tensor) -> Tensor:
    places = torch.arange(2, gains.shape[1] + 2, dtype=torch.float64)
    discount = places.log2_().reciprocal_()
    total = torch.cat([torch.zeros(1, dtype=torch.float64), discount.cumsum(0)])
    found = groups.expected(gains, certain, lambda places, _: total[places])
    best = gains.sort(dim=1, descending=True).values @ discount
    return found / best.where(best > 0, math.nan)


def _pooled(clips: TreeClips, relevance: PairAffinity) -> float:
    if len(clips) > POOLED_CLIPS:
        raise UsageError(
            f"mode='pooled' puts all pairs of at most {POOLED_CLIPS} clips into one order, got "
            f"{len(clips)}: draw a sample, or use mode='per_query'"
        )
    scores, gains, certain = [], [], []
    for ranking in rankings(clips):
        found = similarities(clips.vectors[ranking.queries], clips.vectors)
        scores.append(found.gather(1, ranking.others).flatten())
        values, known = relevance.of(ranking)
        gains.append(values.flatten())
        certain.append(known.flatten())
    if not scores:
        return math.nan
    order, groups = sort_descending(torch.cat(scores)[None])
    ordered = (torch.cat(parts)[None].gather(1, order) for parts in (gains, certain))
    return _ndcg(groups, *ordered).item()
