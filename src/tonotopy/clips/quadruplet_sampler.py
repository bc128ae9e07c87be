"""Batches of clips with their kin of every degree, for losses that compare ranks of pairs."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.clips._clip_ranges import ROOT, ClipRanges
from tonotopy.clips.samplers import BatchSampler
from tonotopy.labels import LabelTree

Span = tuple[int, int]


class QuadrupletBatchSampler(BatchSampler):
    """Batches of anchors, each followed by one clip of every degree of kinship, near to far.

    In a tree of two levels these are quadruplets a, p+, p-, n: p+ of the same leaf as a, p- of
    another leaf below the same parent, n from elsewhere; in other trees there is one clip for each
    level at which the anchor's kin part from it. So every batch has pairs of every rank. Levels at
    which no kin of the anchor part, as in a chain of only children, have no clip; anchors are
    clips, known to their leaf, that have kin of the most degrees. A partially labelled clip serves
    as kin where the degree is certain.

    Each draw takes a clip that the epoch has not used, at random; where all those of a degree are
    used up, any of them. There are as many groups in an epoch as the labelled clips fill, so that
    each is used about once. Without such groups, see `ShuffledBatchSampler`.
    Source: Nolasco, Stowell, "Rank-based loss for learning hierarchical representations", ICASSP
    2022, after the order of the training tables that the authors released.

    Args:
        codes: (N, L) codes of the clips; partial labels and clips without a label may be among
            them; the latter are left out.
        tree: The tree of the codes.
        quadruplets: Anchors in a batch.
        seed: Start of all draws.
        rank: Number of this process.
        world_size: Number of processes.

    Raises:
        UsageError: No clip known to its leaf has any kin, `quadruplets` is not positive, the codes
            are not of the tree, or no clip has a label.

    Attributes:
        group_size: An anchor and its kin; 4 in a tree of two levels.
    """

    def __init__(
        self,
        codes: Tensor,
        tree: LabelTree,
        *,
        quadruplets: int = 3,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(seed, rank, world_size)
        if quadruplets <= 0:
            raise UsageError(f"quadruplets must be positive, got {quadruplets}")
        self._ranges = ClipRanges(codes, tree)
        kin = {leaf: _kin(self._ranges, leaf) for leaf in tree.leaves if self._ranges.size(leaf)}
        degrees = max(map(len, kin.values()), default=0)
        if degrees == 0:
            raise UsageError(
                "no clip that is known to its leaf has another to be compared with: groups of kin "
                "need two labelled clips"
            )
        self._labels, self._first = np.unique(
            self._ranges.deepest[self._ranges.order], return_index=True
        )
        self._kin = {
            leaf: [self._labels_in(spans) for spans in parts]
            for leaf, parts in kin.items()
            if len(parts) == degrees
        }
        self._anchors = np.searchsorted(self._labels, list(self._kin))
        self.group_size = 1 + degrees
        self._quadruplets = quadruplets

    def _batches_in_epoch(self) -> int:
        labelled = len(self._ranges) - self._ranges.own_size(ROOT)
        return math.ceil(labelled / (self.group_size * self._quadruplets))

    def _draw_epoch(self, random: np.random.Generator) -> list[list[int]]:
        unused = _Unused(np.split(self._ranges.order, self._first[1:]), random)
        batches = []
        for _ in range(self._batches_in_epoch()):
            groups = [self._draw_group(unused) for _ in range(self._quadruplets)]
            batches.append([clip for group in groups for clip in group])
        return batches

    def _draw_group(self, unused: _Unused) -> list[int]:
        anchor = unused.draw(self._anchors)
        parts = self._kin[int(self._ranges.deepest[anchor])]
        return [anchor, *(unused.draw(labels, besides=anchor) for labels in parts)]

    def _labels_in(self, spans: list[Span]) -> np.ndarray:
        """Give the labels, numbered among those that occur, of ranges of places."""
        return np.concatenate([np.arange(*np.searchsorted(self._first, span)) for span in spans])


class _Unused:
    """The clips of every label that occurs, in random order, which are used up one by one."""

    def __init__(self, clips: list[np.ndarray], random: np.random.Generator) -> None:
        self._random = random
        self._clips = [random.permutation(same) for same in clips]
        self._size = np.array([len(same) for same in clips])
        self._left = self._size.copy()

    def draw(self, labels: np.ndarray, besides: int = -1) -> int:
        """Draw a clip of some labels, unused if there is one, and use it up."""
        counts = self._left if self._left[labels].any() else self._size
        total = np.cumsum(counts[labels])
        while True:
            place = self._random.integers(total[-1])
            label = labels[np.searchsorted(total, place, side="right")]
            if counts is self._left:
                self._left[label] -= 1
                place = self._left[label]
            else:
                place = self._random.integers(self._size[label])
            clip = int(self._clips[label][place])
            if clip != besides:
                return clip


def _kin(ranges: ClipRanges, leaf: int) -> list[list[Span]]:
    """Give the places of a leaf's kin, from its own clips to those that share but the root."""
    start, stop = ranges.start, ranges.stop
    degrees = [[(int(start[leaf]), int(stop[leaf]))]] if ranges.size(leaf) > 1 else []
    node = leaf
    while node != ROOT:
        parent = ranges.tree.parent(node)
        # The parent's own clips may turn out to be of any degree.
        before = int(ranges.own_stop[parent]), int(start[node])
        after = int(stop[node]), int(stop[parent])
        spans = [span for span in (before, after) if span[0] < span[1]]
        degrees += [spans] if spans else []
        node = parent
    return degrees
