"""How good the first answers are: precision at k, adaptive, and by place in the tree."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.labels import LabelTree
from tonotopy.metrics.tree._affinity import PairAffinity
from tonotopy.metrics.tree._clips import TreeClips, tree_clips
from tonotopy.metrics.tree._rankings import Ranking, mean_of, rankings


@torch.no_grad()
def precision_at_k(embeddings: Tensor, codes: Tensor, tree: LabelTree, *, k: int = 5) -> float:
    """Give the mean share of the query's leaf among the k most similar other clips.

    A query without another clip of its leaf scores 0 and stays in the mean, so the highest value
    that can be reached depends on the sizes of the leaves; see `adaptive_precision_at_k`. Queries
    whose leaf is not known are left out, and clips that may or may not be of it take no place.
    Ties are an expectation over their order. Missing answers are wrong.

    Args:
        embeddings: (N, D) floats, not necessarily normalised.
        codes: (N, L) codes of `tree.encode`, partial ones allowed.
        tree: The tree.
        k: Answers that count. Default 5.

    Returns:
        0 to 1; NaN where nothing can be asked.

    Raises:
        UsageError: Shapes do not fit, or k is below 1.
        DataError: A labelled embedding is not finite.
    """
    _check_cutoff(k)
    clips = tree_clips(embeddings, codes, tree)
    return mean_of([precision_rows(ranking, clips, k)[0] for ranking in rankings(clips)])


@torch.no_grad()
def adaptive_precision_at_k(
    embeddings: Tensor, codes: Tensor, tree: LabelTree, *, k: int = 5
) -> float:
    """Give the mean precision of the first min(R, k) answers, R = other clips of the query's leaf.

    1 can always be reached. Queries with R = 0 are left out; the rest is as in `precision_at_k`.

    Args:
        embeddings: (N, D) floats, not necessarily normalised.
        codes: (N, L) codes of `tree.encode`, partial ones allowed.
        tree: The tree.
        k: The most answers that count. Default 5.

    Returns:
        0 to 1; NaN where nothing can be asked.

    Raises:
        UsageError: Shapes do not fit, or k is below 1.
        DataError: A labelled embedding is not finite.
    """
    _check_cutoff(k)
    clips = tree_clips(embeddings, codes, tree)
    return mean_of([precision_rows(ranking, clips, k)[1] for ranking in rankings(clips)])


@torch.no_grad()
def hierarchical_precision_at_k(
    embeddings: Tensor, codes: Tensor, tree: LabelTree, *, k: int = 5
) -> float:
    """Give the mean affinity of the first k answers over the most that k clips could have.

    The affinity is 1 - max(up, down) / height of the tree; see `tree_ndcg`, as also for partial
    labels, ties and queries without any affinity above 0.

    Barz and Denzler, "Hierarchy-Based Image Embeddings for Semantic Image Retrieval", WACV 2019.

    Args:
        embeddings: (N, D) floats, not necessarily normalised.
        codes: (N, L) codes of `tree.encode`, partial ones allowed.
        tree: The tree.
        k: Answers that count. Default 5.

    Returns:
        0 to 1; NaN where nothing can be asked.

    Raises:
        UsageError: Shapes do not fit, or k is below 1.
        DataError: A labelled embedding is not finite.
    """
    _check_cutoff(k)
    clips = tree_clips(embeddings, codes, tree)
    relevance = PairAffinity(clips, "max")
    return mean_of(
        [hierarchical_precision_rows(ranking, relevance, k) for ranking in rankings(clips)]
    )


def precision_rows(ranking: Ranking, clips: TreeClips, k: int) -> tuple[Tensor, Tensor]:
    """Give (B,) precision at k and adaptive precision at k, NaN for queries left out."""
    counted = ranking.same | ranking.different
    asked = clips.complete[ranking.queries]
    plain = ranking.groups.expected(ranking.same, counted, lambda n, _: n.clamp_max(k)) / k
    cutoff = ranking.same.sum(dim=1).clamp_max(k)
    adaptive = ranking.groups.expected(
        ranking.same, counted, lambda n, rows: torch.minimum(n, cutoff[rows])
    )
    return plain.where(asked, math.nan), adaptive / cutoff.where(asked & (cutoff > 0), math.nan)


def hierarchical_precision_rows(ranking: Ranking, relevance: PairAffinity, k: int) -> Tensor:
    """Give the (B,) hierarchical precision at k, NaN where no affinity is above 0."""
    gains, certain = relevance.of(ranking)
    found = ranking.groups.expected(gains, certain, lambda n, _: n.clamp_max(k))
    best = gains.topk(min(k, gains.shape[1]), dim=1).values.sum(dim=1)
    return found / best.where(best > 0, math.nan)


def _check_cutoff(k: int) -> None:
    if k < 1:
        raise UsageError(f"k must be 1 or more, got {k}")
