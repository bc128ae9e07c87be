"""Whether the nearest clips are of the same class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.metrics._ranking import (
    Clips,
    prepare_search,
    relevance_scores,
    vote_credit,
)


@dataclass(frozen=True)
class RetrievalScores:
    """Results of looking up each query among the gallery clips by cosine.

    Args:
        map: Mean average precision.
        map_se: Standard error of `map`: deviation over queries / sqrt(queries).
        r_precision: Mean precision of the first R answers, R = relevant clips of the query.
        precision_at_k: Mean precision of the first k answers, by k.
        queries: Queries in the means above: those that have a relevant clip in the gallery.
        gallery: Labelled clips in the gallery.
        knn_accuracy: Accuracy of the vote of the nearest neighbours, over all queries.
        k: Number of voters.
    """

    map: float
    map_se: float
    r_precision: float
    precision_at_k: dict[int, float]
    queries: int
    gallery: int
    knn_accuracy: float
    k: int


@torch.no_grad()
def retrieval_scores(
    embeddings: Tensor,
    labels: Tensor,
    *,
    gallery: Clips | None = None,
    k: int = 5,
    cutoffs: Sequence[int] = (1, 5, 10),
    max_queries: int | None = None,
    seed: int = 0,
) -> RetrievalScores:
    """Look up every clip among the others by cosine, or among the clips of a gallery.

    Relevant is what has the query's class. Clips without label neither ask nor answer, and a clip
    is never its own answer. A query without relevant clip has no average precision and is left
    out of all means but that of `knn_accuracy`, where it is wrong.

    Equal cosines are treated alike whatever their order: average precision ranks them all last,
    AP = mean over relevant p of #(relevant >= p) / #(all >= p), which is scikit-learn's
    `average_precision_score`; the precisions are expectations over their order; of the votes see
    `knn_accuracy`. So embeddings that are all equal score as chance does. A gallery with fewer
    than k clips counts the missing answers as wrong.

    Args:
        embeddings: (N, D) floats, not necessarily normalised.
        labels: (N,) class ids; negative = unknown.
        gallery: Embeddings (M, D) and class ids (M,) to search instead of the clips themselves.
        k: Number of voters. Default 5; at most as many as there are other clips.
        cutoffs: The k of precision at k. Default 1, 5, 10.
        max_queries: Draw this many of the labelled clips as queries; None asks with all. Each
            query costs a sort of the gallery, about 5 ms for 100,000 clips.
        seed: Of the draw.

    Returns:
        The scores; NaN where there is nothing to average.

    Raises:
        UsageError: Shapes do not fit, or an option is out of range.
        DataError: A labelled embedding is not finite.

    Examples:
        >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
        >>> retrieval_scores(x, torch.tensor([0, 0, 1, 1])).map
        1.0
    """
    if k < 1 or any(cutoff < 1 for cutoff in cutoffs):
        raise UsageError(f"k and cutoffs must be 1 or more, got k={k} and cutoffs={cutoffs}")
    search = prepare_search((embeddings, labels), gallery, max_queries=max_queries, seed=seed)
    voters = min(k, search.candidates)
    average: list[Tensor] = []
    r_precision: list[Tensor] = []
    precision: list[Tensor] = []
    credit: list[Tensor] = []
    for block, scores in search.blocks() if voters else ():
        credit.append(vote_credit(search, block, scores, voters))
        for values, kept in zip(
            relevance_scores(search, block, scores, cutoffs),
            (average, r_precision, precision),
            strict=True,
        ):
            kept.append(values)
    found = _joined(average)
    counted = found.isfinite()
    found = found[counted]
    at_k = _joined(precision, len(cutoffs))[counted].mean(dim=0).tolist()
    return RetrievalScores(
        map=found.mean().item(),
        map_se=found.std().item() / math.sqrt(len(found)) if len(found) > 1 else math.nan,
        r_precision=_joined(r_precision)[counted].mean().item(),
        precision_at_k=dict(zip(cutoffs, at_k, strict=True)),
        queries=len(found),
        gallery=len(search.gallery),
        knn_accuracy=_joined(credit).mean().item(),
        k=voters,
    )


@torch.no_grad()
def knn_accuracy(
    embeddings: Tensor, labels: Tensor, *, gallery: Clips | None = None, k: int = 5
) -> float:
    """Give the accuracy of classifying every clip by a vote of its k nearest other clips.

    Neighbours are nearest by cosine, of any sign. Those that tie for the last places share these
    votes. Of classes with equally many votes the one with the larger sum of cosines wins; if that
    ties too, each counts as drawn by chance.

    Args:
        embeddings: (N, D) floats, not necessarily normalised.
        labels: (N,) class ids; negative = unknown: neither classified nor a neighbour.
        gallery: Embeddings (M, D) and class ids (M,) of the neighbours instead.
        k: Number of voters. Default 5; at most as many as there are other clips.

    Returns:
        0 to 1; NaN when no labelled clip has a neighbour.

    Raises:
        UsageError: Shapes do not fit, or `k` is below 1.
        DataError: A labelled embedding is not finite.
    """
    if k < 1:
        raise UsageError(f"k must be 1 or more, got {k}")
    search = prepare_search((embeddings, labels), gallery, max_queries=None, seed=0)
    voters = min(k, search.candidates)
    blocks = search.blocks() if voters else ()
    return (
        _joined([vote_credit(search, rows, scores, voters) for rows, scores in blocks])
        .mean()
        .item()
    )


def mean_average_precision(
    embeddings: Tensor, labels: Tensor, *, gallery: Clips | None = None
) -> float:
    """Give the mean average precision; see `retrieval_scores`."""
    return retrieval_scores(embeddings, labels, gallery=gallery).map


def r_precision(embeddings: Tensor, labels: Tensor, *, gallery: Clips | None = None) -> float:
    """Give the mean R-precision; see `retrieval_scores`."""
    return retrieval_scores(embeddings, labels, gallery=gallery).r_precision


def precision_at_k(
    embeddings: Tensor, labels: Tensor, k: int, *, gallery: Clips | None = None
) -> float:
    """Give the mean precision of the first `k` answers; see `retrieval_scores`."""
    return retrieval_scores(embeddings, labels, gallery=gallery, cutoffs=(k,)).precision_at_k[k]


def _joined(parts: list[Tensor], width: int | None = None) -> Tensor:
    if parts:
        return torch.cat(parts)
    return torch.empty((0,) if width is None else (0, width), dtype=torch.float64)
