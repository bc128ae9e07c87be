"""Epochs of triplets that are balanced over the nodes of a label tree."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.clips._clip_ranges import ClipRanges
from tonotopy.clips.samplers import BatchSampler
from tonotopy.labels import LabelTree

Slot = tuple[int, int, int]


class TreeTripletSampler(BatchSampler):
    """Triplets drawn anew for each epoch, the same number at every fork of the label tree.

    At each node r with two children or more, every ordered pair of children (c+, c-) gives

        one triplet with anchor and positive from c+, if c+ has one child with clips or none;
        else one for each ordered pair of children of c+, the anchor from one, the positive from
            the other;

    and the negative from c-. So the lowest common ancestor of anchor and negative is r, that of
    anchor and positive is c+ or below. A draw is uniform over the clips at or below its node, which
    may be known to it and no further; clips without a label take no part, and neither does a child
    with a single clip where two are needed. The triplets of an epoch follow from the tree alone.
    Source: Tian, Lattner, McFee, Saitis, "Hybrid Losses for Hierarchical Embedding Learning",
    ICASSP 2025, by its authors' code.

    A batch holds the clips of B triplets: B anchors, then their positives, then their negatives.
    A clip may occur more than once. Triplets that fill no batch are left out.

    Args:
        codes: (N, L) codes of the clips; partial labels and clips without a label may be among
            them.
        tree: The tree of the codes.
        triplets_per_batch: B.
        seed: Start of all draws.
        rank: Number of this process.
        world_size: Number of processes.

    Raises:
        UsageError: The labels make fewer triplets than a batch takes, `triplets_per_batch` is not
            positive, the codes are not of the tree, or no clip has a label.

    Attributes:
        num_triplets: Triplets of an epoch, with those that fill no batch.
    """

    def __init__(
        self,
        codes: Tensor,
        tree: LabelTree,
        *,
        triplets_per_batch: int = 32,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(seed, rank, world_size)
        if triplets_per_batch <= 0:
            raise UsageError(f"triplets_per_batch must be positive, got {triplets_per_batch}")
        self._ranges = ClipRanges(codes, tree)
        self._slots = np.array(_slots(self._ranges)).reshape(-1, 3)
        self._triplets_per_batch = triplets_per_batch
        self.num_triplets = len(self._slots)
        if self.num_triplets < triplets_per_batch:
            raise UsageError(
                f"the labels make {self.num_triplets} triplets an epoch, too few for "
                f"triplets_per_batch={triplets_per_batch}: lower it, or take TreeBatchSampler"
            )

    def slot_counts(self) -> list[int]:
        """Count, for each node, the slots of this epoch's triplets that a clip of it takes.

        The counts that `node_class_weights` and its siblings take. Slots of triplets that fill no
        batch count, too.
        """
        triplets = self._draw_triplets(self._random())
        nodes = self._ranges.codes[triplets.ravel()]
        counts = np.bincount(nodes[nodes >= 0], minlength=self._ranges.tree.num_nodes)
        return [int(count) for count in counts]

    def _random(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, self._epoch])

    def _batches_in_epoch(self) -> int:
        return self.num_triplets // self._triplets_per_batch

    def _draw_epoch(self, random: np.random.Generator) -> list[list[int]]:
        used = self._batches_in_epoch() * self._triplets_per_batch
        triplets = random.permutation(self._draw_triplets(random))[:used]
        # Batch by batch, all anchors before all positives before all negatives.
        stacked = triplets.reshape(-1, self._triplets_per_batch, 3).transpose(0, 2, 1)
        batches: list[list[int]] = stacked.reshape(len(stacked), -1).tolist()
        return batches

    def _draw_triplets(self, random: np.random.Generator) -> np.ndarray:
        """Draw (T, 3) anchors, positives and negatives."""
        start, stop = self._ranges.start[self._slots], self._ranges.stop[self._slots]
        one_node = self._slots[:, 0] == self._slots[:, 1]
        # Two different clips of one node: the second of one fewer, those from the first on moved.
        stop[:, 1] -= one_node
        places = random.integers(start, stop)
        places[:, 1] += one_node & (places[:, 1] >= places[:, 0])
        return np.asarray(self._ranges.order[places])


def _slots(ranges: ClipRanges) -> list[Slot]:
    """Give the nodes that anchor, positive and negative of every triplet come from."""
    slots: list[Slot] = []
    for node in ranges.nodes():
        children = ranges.children[node]
        for positive, negative in permutations(children, 2):
            parts = ranges.children[positive]
            if len(parts) > 1:
                slots += [(anchor, other, negative) for anchor, other in permutations(parts, 2)]
            elif ranges.size(positive) > 1:
                slots.append((positive, positive, negative))
    return slots
