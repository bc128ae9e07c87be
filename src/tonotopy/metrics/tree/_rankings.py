"""The other clips of each query in the order of their similarity, by blocks of queries.

What an order says is an expectation over the order of clips that tie, so it never depends on that
of the input. Similarities are compared as float32, as everywhere in `tonotopy.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tonotopy.labels.pairs import shared_prefix
from tonotopy.metrics._ranking import ZERO
from tonotopy.metrics.tree._clips import TreeClips

BLOCK = 2**18
"""Pairs that are looked at together: 2 MiB in float64, so that they stay in a cache."""

Weight = Callable[[Tensor, Tensor], Tensor]
"""Sum of the weights of the first p places, from (G,) numbers p and (G,) rows."""


@dataclass(frozen=True)
class TieGroups:
    """Runs of equal entries of sorted rows.

    Args:
        last: (B, M) bool: the entry is the last of its run.
    """

    last: Tensor

    @cached_property
    def rows(self) -> Tensor:
        """(G,) row of each run."""
        return torch.arange(len(self.last)).repeat_interleave(self._runs)

    @cached_property
    def places(self) -> tuple[Tensor, Tensor]:
        """(G,) entries up to the start and to the end of each run."""
        return self.ends(torch.ones_like(self.last))

    @cached_property
    def _runs(self) -> Tensor:
        return self.last.sum(dim=1)

    @cached_property
    def _index(self) -> Tensor:
        return self.last.flatten().nonzero()[:, 0]

    @cached_property
    def _first(self) -> Tensor:
        """(B,) first run of each row that has any."""
        runs = self._runs[self._runs > 0]
        return runs.cumsum(0) - runs

    def ends(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Give the (G,) sums of (B, M) values up to the start and to the end of each run."""
        kind = torch.float64 if values.is_floating_point() else torch.int32
        # Halves, squares and products of counts are exact in float64.
        stop = values.cumsum(dim=1, dtype=kind).take(self._index).double()
        start = torch.zeros_like(stop)
        start[1:] = stop[:-1]
        start[self._first] = 0
        return start, stop

    def by_row(self, values: Tensor) -> Tensor:
        """Add up (G,) values by row."""
        return torch.segment_reduce(values.double(), "sum", lengths=self._runs)

    def expected(self, gains: Tensor, counted: Tensor, weight: Weight) -> Tensor:
        """Give each row's sum of gain times weight of the place, expected over the order of ties.

        Args:
            gains: (B, M), 0 where not counted.
            counted: (B, M) bool: the others take no place.
            weight: Sum of the weights of the first places.

        Returns:
            (B,) float64.
        """
        before, after = self.places if counted.all() else self.ends(counted)
        low, high = self.ends(gains)
        weights = weight(after.long(), self.rows) - weight(before.long(), self.rows)
        # The entries of a run share their places.
        return self.by_row((high - low) * weights / (after - before).clamp_min(1))


@dataclass(frozen=True)
class Ranking:
    """The M other clips of B queries, the most similar first.

    Args:
        queries: (B,) clips.
        others: (B, M) clips.
        groups: Those that tie.
        lo: (B, M) depth down to which the two labels certainly agree.
        hi: (B, M) depth down to which they may agree.
        same: (B, M) bool: certainly one leaf.
        different: (B, M) bool: certainly two leaves.
    """

    queries: Tensor
    others: Tensor
    groups: TieGroups
    lo: Tensor
    hi: Tensor
    same: Tensor
    different: Tensor


def draw_queries(clips: TreeClips, max_queries: int | None, seed: int) -> Tensor:
    """Give the clips that ask: all, or `max_queries` drawn at random where there are more."""
    if max_queries is None or len(clips) <= max_queries:
        return torch.arange(len(clips))
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(len(clips), generator=generator)[:max_queries]


def similarities(queries: Tensor, vectors: Tensor) -> Tensor:
    """Give (B, N) float32 dot products; what rounding leaves of 0 is 0."""
    return F.hardshrink(queries @ vectors.mT, ZERO).float()


def sort_descending(scores: Tensor) -> tuple[Tensor, TieGroups]:
    """Give the order of each row, the largest first, and the runs of equal scores."""
    order = torch.from_numpy(np.argsort(-scores.numpy(), axis=1))
    ordered = scores.gather(1, order)
    last = torch.ones_like(ordered, dtype=torch.bool)
    last[:, :-1] = ordered[:, 1:] != ordered[:, :-1]
    return order, TieGroups(last)


def rankings(clips: TreeClips, queries: Tensor | None = None) -> Iterator[Ranking]:
    """Rank all other clips for each of the (Q,) queries; default: for every clip."""
    if len(clips) < 2:
        return
    if queries is None:
        queries = torch.arange(len(clips))
    for asking in torch.split(queries, max(1, BLOCK // len(clips))):
        scores = similarities(clips.vectors[asking], clips.vectors)
        # The query itself is last, and cut off.
        scores[torch.arange(len(asking)), asking] = -torch.inf
        others, groups = sort_descending(scores)
        others, groups = others[:, :-1], TieGroups(groups.last[:, :-1])
        known = shared_prefix(clips.codes[asking], clips.codes)
        lo, hi, same, perhaps = (values.gather(1, others) for values in known)
        yield Ranking(asking, others, groups, lo, hi, same, ~perhaps)


def mean_of(values: list[Tensor]) -> float:
    """Give the mean of what is defined, NaN where nothing is."""
    joined = torch.cat(values) if values else torch.empty(0, dtype=torch.float64)
    return joined[~joined.isnan()].mean().item()
