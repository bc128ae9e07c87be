"""Cosines of queries with a gallery by blocks, and what their order says about each query.

Cosines are computed in float64 and compared as float32, so that two clips with the same embedding
tie whatever the rounding of the matrix product; what rounding leaves of a cosine of 0 is 0. Ties
never depend on the order of the clips.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.metrics._validation import labelled_rows, to_units

BLOCK = 2**23
"""Cosines at once: 64 MiB in float64, and as much again for their order."""

ZERO = 1e-12
"""Cosines up to this size are 0: float32 would keep apart what is rounding of float64."""

SAME = 1e-9
"""Votes and sums of cosines closer than this are equal."""

Clips = tuple[Tensor, Tensor]
"""(N, D) embeddings and (N,) class ids, negative = unknown."""


@dataclass(frozen=True)
class Search:
    """Labelled queries and the labelled gallery they are looked up in, both ordered by class.

    Args:
        queries: (Q, D) float64 unit vectors.
        query_class: (Q,) position of the class among those of the gallery; -1 = not there.
        own: (Q,) row of the query itself in the gallery; None when it is not part of it.
        gallery: (M, D) float64 unit vectors.
        gallery_class: (M,) positions of the classes.
        sizes: (G,) clips of each class in the gallery.
    """

    queries: Tensor
    query_class: Tensor
    own: Tensor | None
    gallery: Tensor
    gallery_class: Tensor
    sizes: Tensor

    @property
    def candidates(self) -> int:
        """Gallery clips that one query is compared with."""
        return max(len(self.gallery) - (self.own is not None), 0)

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Give rows of queries and their (rows, M) float32 cosines; the query itself is -inf."""
        rows = max(1, BLOCK // max(len(self.gallery), 1))
        for start in range(0, len(self.queries), rows):
            block = slice(start, min(start + rows, len(self.queries)))
            scores = F.hardshrink(self.queries[block] @ self.gallery.mT, ZERO).float()
            if self.own is not None:
                scores[torch.arange(len(scores)), self.own[block]] = -torch.inf
            yield block, scores


def prepare_search(
    clips: Clips, gallery: Clips | None, *, max_queries: int | None, seed: int
) -> Search:
    """Drop what has no label, order by class, and draw the queries.

    Args:
        clips: The queries; also the gallery when there is none.
        gallery: Other clips to look the queries up in.
        max_queries: Draw this many queries at random where there are more; None keeps all.
        seed: Of the draw.

    Raises:
        UsageError: Shapes do not fit.
        DataError: A labelled embedding is not finite.
    """
    if max_queries is not None and max_queries < 1:
        raise UsageError(f"max_queries must be at least 1, got {max_queries}")
    embeddings, labels = labelled_rows(*clips)
    stored, stored_labels = (embeddings, labels) if gallery is None else labelled_rows(*gallery)
    if stored.shape[1] != embeddings.shape[1]:
        raise UsageError(
            f"queries have {embeddings.shape[1]} dimensions, the gallery has {stored.shape[1]}: "
            "both must come from the same model"
        )
    order = stored_labels.argsort(stable=True)
    classes, gallery_class, sizes = torch.unique_consecutive(
        stored_labels[order], return_inverse=True, return_counts=True
    )
    chosen = torch.arange(len(labels))
    if max_queries is not None and len(labels) > max_queries:
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(labels), generator=generator)[:max_queries]
    query_class = _positions(classes, labels[chosen])
    by_class = query_class.argsort(stable=True)
    chosen, query_class = chosen[by_class], query_class[by_class]
    return Search(
        queries=to_units(embeddings[chosen]),
        query_class=query_class,
        own=order.argsort()[chosen] if gallery is None else None,
        gallery=to_units(stored[order]),
        gallery_class=gallery_class,
        sizes=sizes,
    )


def _positions(classes: Tensor, labels: Tensor) -> Tensor:
    """Give the position of each label in the ascending `classes`, -1 where it is not there."""
    if not len(classes):
        return torch.full_like(labels, -1)
    position = torch.searchsorted(classes, labels).clamp_max(len(classes) - 1)
    return torch.where(classes[position] == labels, position, -1)


def vote_credit(search: Search, block: slice, scores: Tensor, k: int) -> Tensor:
    """Give the chance that a vote of the k nearest names the class of each query.

    Neighbours that tie for the last places share those votes. Of classes with equally many votes
    the one with the larger sum of cosines wins; if that ties too, one is drawn.

    Args:
        search: The search.
        block: Rows of queries.
        scores: Their (rows, M) cosines.
        k: Voters, 1 to `search.candidates`.

    Returns:
        (rows,) float64, 0 or 1 but for exact ties.
    """
    last = scores.topk(k, dim=1).values[:, -1:]
    row, column = (scores >= last).nonzero(as_tuple=True)
    cosine = scores[row, column]
    tied = cosine == last[row, 0]
    above = torch.bincount(row[~tied], minlength=len(scores))
    share = (k - above).double() / torch.bincount(row[tied], minlength=len(scores))
    weight = torch.where(tied, share[row], 1.0)

    place = (row, search.gallery_class[column])
    votes = torch.zeros(len(scores), len(search.sizes), dtype=torch.float64)
    sums = torch.zeros_like(votes)
    votes.index_put_(place, weight, accumulate=True)
    sums.index_put_(place, weight * cosine, accumulate=True)
    leading = votes >= votes.amax(dim=1, keepdim=True) - SAME
    sums = sums.masked_fill(~leading, -torch.inf)
    winners = sums >= sums.amax(dim=1, keepdim=True) - SAME
    truth = search.query_class[block]
    right = winners.gather(1, truth.clamp_min(0)[:, None])[:, 0] & (truth >= 0)
    return right / winners.sum(dim=1, dtype=torch.float64)


def relevance_scores(
    search: Search, block: slice, scores: Tensor, cutoffs: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Give average precision, R-precision and precision at cutoffs of each query.

    Args:
        search: The search.
        block: Rows of queries.
        scores: Their (rows, M) cosines.
        cutoffs: Each 1 or more.

    Returns:
        (rows,), (rows,) and (rows, cutoffs) float64; NaN where the gallery has no other clip of
        the query's class.
    """
    average = torch.full((len(scores),), torch.nan, dtype=torch.float64)
    r_precision = average.clone()
    precision = torch.full((len(scores), len(cutoffs)), torch.nan, dtype=torch.float64)
    # numpy's vectorised sort takes a quarter of the time of torch's.
    ordered = torch.from_numpy(np.sort(scores.numpy(), axis=1))
    ends = search.sizes.cumsum(0)
    classes, runs = torch.unique_consecutive(search.query_class[block], return_counts=True)
    start = 0
    for label, run in zip(classes.tolist(), runs.tolist(), strict=True):
        rows = slice(start, start + run)
        start += run
        size = int(search.sizes[label])
        relevant = size - (search.own is not None)
        if label < 0 or relevant == 0:
            continue
        columns = slice(int(ends[label]) - size, int(ends[label]))
        positives = torch.from_numpy(np.sort(scores[rows, columns].numpy(), axis=1))
        average[rows] = _average_precision(ordered[rows], positives, relevant)
        r_precision[rows] = _hits(ordered[rows], positives, search, relevant) / relevant
        for index, cutoff in enumerate(cutoffs):
            hits = _hits(ordered[rows], positives, search, cutoff)
            precision[rows, index] = hits / cutoff
    return average, r_precision, precision


def _average_precision(ordered: Tensor, positives: Tensor, relevant: int) -> Tensor:
    """Give the mean over relevant clips p of #(relevant >= p) / #(all >= p).

    The -inf of the query itself is never counted: it is below all, and left out of the mean.
    """
    cosines = positives[:, -relevant:].contiguous()
    precision = _at_least(positives, cosines).double() / _at_least(ordered, cosines)
    return precision.mean(dim=1)


def _hits(ordered: Tensor, positives: Tensor, search: Search, k: int) -> Tensor:
    """Give the expected number of relevant clips among the first k when ties are shuffled."""
    k = min(k, search.candidates)
    last = ordered[:, -k, None].contiguous()
    above = ordered.shape[1] - torch.searchsorted(ordered, last, right=True)
    relevant_above = positives.shape[1] - torch.searchsorted(positives, last, right=True)
    tied = _at_least(ordered, last) - above
    relevant_tied = _at_least(positives, last) - relevant_above
    return (relevant_above + (k - above) * relevant_tied.double() / tied)[:, 0]


def _at_least(ordered: Tensor, values: Tensor) -> Tensor:
    """Count the entries of each ascending row that are as large as each value."""
    return ordered.shape[1] - torch.searchsorted(ordered, values)
