"""Active triplets of a batch, counted pair by pair without listing a triplet.

A hinge max(0, m + d(a, p) - d(a, n)) is piecewise linear: its sum over all triplets is that of m
over the active ones, plus every distance times a whole number, the active triplets in which it is
the positive one less those in which it is the negative one. Those numbers are the exact gradient.
For one anchor and the negatives that share h levels with it, sorted positives and one binary
search for each negative give all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tonotopy.labels import PairRelations

BLOCK = 2**21
"""Pairs of anchor and negative that are looked at together."""


Margin = Tensor | float


class TripletCounts(NamedTuple):
    """What the triplets of a batch add up to, a scalar each but for `slope`.

    Attributes:
        slope: (N, N), d(sum of hinges) / d(distance); row = anchor.
        margins: Sum of the margins of the active triplets, float64.
        active: Triplets whose hinge is above 0, float64.
        triplets: Valid triplets, float64.
    """

    slope: Tensor
    margins: Tensor
    active: Tensor
    triplets: Tensor


def active_counts(
    positives: Tensor,
    negatives: Tensor,
    is_positive: Tensor,
    is_negative: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Count, for each distance of R anchors, the active triplets that it is part of.

    Args:
        positives: (R, P) distances plus margin.
        negatives: (R, M) distances.
        is_positive: (R, P) bool, which of them are positives of the anchor.
        is_negative: (R, M) bool. Default: all are.

    Returns:
        (R, P) number of negatives nearer than each positive, and (R, M) number of positives
        farther than each negative; 0 where masked.
    """
    keys, order = positives.masked_fill(~is_positive, -torch.inf).sort(dim=1)
    rank = torch.searchsorted(keys, negatives.contiguous(), right=True)
    farther = positives.shape[1] - rank
    if is_negative is None:
        counted = torch.ones((), dtype=torch.long, device=rank.device).expand_as(rank)
    else:
        farther, counted = farther * is_negative, is_negative.long()
    # A positive at place r is active for the negatives whose rank is r or less.
    histogram = torch.zeros(len(keys), keys.shape[1] + 1, dtype=torch.long, device=keys.device)
    histogram.scatter_add_(1, rank, counted)
    nearer = torch.zeros_like(order).scatter_(1, order, histogram.cumsum(dim=1)[:, :-1])
    return nearer * is_positive, farther


def count_by_masks(
    d: Tensor, relations: PairRelations, margin: Margin, *, adjacent: bool
) -> TripletCounts:
    """Count over all pairs at once, level by level: any relations, fixed shapes.

    Args:
        d: (N, N) distances, detached.
        relations: Of the N clips; H levels.
        margin: One for all triplets; or (H + 1, H + 1), that of a positive that shares row and a
            negative that shares column levels with the anchor.
        adjacent: Whether a negative meets only the positives of the next level that the anchor
            has in the batch.
    """
    lo, hi = relations.bounds()
    itself = torch.eye(len(d), dtype=torch.bool, device=d.device)
    slope = torch.zeros_like(d)
    sums = d.new_zeros(3, dtype=torch.float64)
    for h in range(relations.num_levels):
        is_negative = (hi == h) & ~itself
        is_positive = _positives(lo, h, adjacent, itself)
        added = _margin_at(margin, lo, h)
        nearer, farther = active_counts(d + added, d, is_positive, is_negative)
        slope += nearer - farther
        triplets = is_positive.sum(dim=1, dtype=torch.float64) @ is_negative.sum(dim=1).double()
        sums = sums + _sums(nearer, added, triplets)
    return TripletCounts(slope, *sums)


def count_by_groups(d: Tensor, codes: Tensor, margin: Margin, *, adjacent: bool) -> TripletCounts:
    """Count node by node of the label tree, in no more space than the result.

    Sorted by label, the clips below a node lie together: they are the positives of each other, and
    the rest of the clips below its parent their negatives. So only clips of one node are sorted.

    Args:
        d: (N, N) distances, detached, of clips in the order of `codes`.
        codes: (N, L) codes in lexicographic order.
        margin: As in `count_by_masks`.
        adjacent: As in `count_by_masks`.
    """
    slope = torch.zeros_like(d)
    sums = d.new_zeros(3, dtype=torch.float64)
    relations = PairRelations.from_labels(codes)
    itself = torch.eye(len(d), dtype=torch.bool, device=d.device)
    levels_matter = adjacent or isinstance(margin, Tensor)
    for h, parent, node in _groups(codes.cpu().numpy()):
        left, right = slice(parent.start, node.start), slice(node.stop, parent.stop)
        size = max(1, BLOCK // (parent.stop - parent.start))
        for start in range(node.start, node.stop, size):
            rows = slice(start, min(start + size, node.stop))
            is_positive, added = ~itself[rows, node], margin
            if levels_matter:
                lo, _ = relations.bounds(rows, node)
                is_positive = _positives(lo, h, adjacent, itself[rows, node])
                added = _margin_at(margin, lo, h)
            far = torch.cat([d[rows, left], d[rows, right]], dim=1)
            nearer, farther = active_counts(d[rows, node] + added, far, is_positive)
            slope[rows, node] += nearer
            slope[rows, left] -= farther[:, : left.stop - left.start]
            slope[rows, right] -= farther[:, left.stop - left.start :]
            sums += _sums(nearer, added, is_positive.sum() * far.shape[1])
    return TripletCounts(slope, *sums)


def _positives(lo: Tensor, h: int, adjacent: bool, itself: Tensor) -> Tensor:
    is_positive = (lo > h) & ~itself
    if adjacent and lo.numel():
        beyond = torch.iinfo(lo.dtype).max
        next_level = lo.masked_fill(~is_positive, beyond).amin(dim=1, keepdim=True)
        is_positive = is_positive & (lo == next_level)
    return is_positive


def _margin_at(margin: Margin, lo: Tensor, h: int) -> Margin:
    return margin[:, h][lo.long()] if isinstance(margin, Tensor) else margin


def _sums(nearer: Tensor, margin: Margin, triplets: Tensor) -> Tensor:
    """Give margins of the active triplets, their number, and that of all."""
    active = nearer.sum().double()
    if isinstance(margin, Tensor):
        margins = (nearer * margin).sum(dtype=torch.float64)
    else:
        margins = margin * active
    return torch.stack([margins, active, triplets.double()])


def _groups(codes: np.ndarray) -> Iterator[tuple[int, slice, slice]]:
    """Give levels shared with the negatives, the clips below a parent, and those below its node."""
    parents = [slice(0, len(codes))] if len(codes) else []
    for h in range(codes.shape[1]):
        nodes: list[slice] = []
        for parent in parents:
            column = codes[parent, h]
            starts = parent.start + np.flatnonzero(np.r_[True, column[1:] != column[:-1]])
            edges = [*starts.tolist(), parent.stop]
            # Unknown and absent levels have negative codes and stand first.
            runs = [slice(a, b) for a, b in pairwise(edges) if codes[a, h] >= 0]
            if len(runs) > 1:
                known = slice(runs[0].start, parent.stop)
                yield from ((h, known, run) for run in runs if run.stop - run.start > 1)
            nodes += runs
        parents = nodes
