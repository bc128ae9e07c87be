"""Batches that descend a label tree, so that clips of every degree of kinship meet."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.clips._clip_ranges import ROOT, ClipRanges
from tonotopy.clips._tree_plan import OWN, NodePlan, levels_present, plan_descent
from tonotopy.clips._turns import deal_turns, even_turns
from tonotopy.clips.samplers import BatchSampler
from tonotopy.labels import LabelTree

USUAL_BATCH = 32

Draws = list[tuple[np.ndarray, np.ndarray]]
"""Numbers of batches, and the clips that they get."""


class TreeBatchSampler(BatchSampler):
    """Batches of a few families, a few instruments of each, a few techniques of each, and so on.

    In random batches of a fine taxonomy hardly two clips are of one leaf. Here every batch has
    pairs of every kind that the clips have at all: of one leaf, and parting at each level, as far
    as half a batch suffices to add what its descent has missed.

    A batch is parted among the chosen children of the root, the part of each among its chosen
    children, down to the clips. A node with fewer children than asked gives each of them more, and
    a leaf above the last level takes what would have been below it. Clips known to an inner node
    and no further are members of this node: beside its children they take one part, in as many
    visits as follows from their number. Clips without a label are members of the root.

    All batches have `prod(branching) * clips_per_leaf` different clips, or all clips where there
    are fewer; what a small leaf lacks is made up for by clips from anywhere. Every clip occurs at
    least once an epoch. Children take turns, so that an epoch is as long as the largest need, and
    clips of small nodes occur more often.

    Args:
        codes: (N, L) codes of the clips; partial labels and clips without a label may be among
            them.
        tree: The tree of the codes.
        branching: Children to take of each node, from the root down; one at levels beyond. Default:
            two below the top, one at levels where no node has two, and at the top as many, two at
            least, as make a batch of 32.
        clips_per_leaf: Clips of each leaf on the last level.
        seed: Start of all draws.
        rank: Number of this process.
        world_size: Number of processes.

    Raises:
        UsageError: A number is not positive, `branching` is longer than the tree is deep, the codes
            are not of the tree, or no clip has a label.

    Examples:
        >>> tree = LabelTree([("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")])
        >>> codes = tree.encode([("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")] * 3)
        >>> sampler = TreeBatchSampler(codes, tree, branching=(2, 2), clips_per_leaf=2)
        >>> [sorted(clip % 4 for clip in batch) for batch in sampler]
        [[0, 0, 1, 1, 2, 2, 3, 3], [0, 0, 1, 1, 2, 2, 3, 3]]
    """

    def __init__(
        self,
        codes: Tensor,
        tree: LabelTree,
        *,
        branching: Sequence[int] | None = None,
        clips_per_leaf: int = 2,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(seed, rank, world_size)
        if clips_per_leaf <= 0 or min(branching or (1,)) <= 0:
            raise UsageError(
                f"branching and clips_per_leaf must be positive, got {branching} and "
                f"{clips_per_leaf}"
            )
        self._ranges = ClipRanges(codes, tree)
        if branching is None:
            branching = _usual_branching(self._ranges, clips_per_leaf)
        if len(branching) > tree.num_levels:
            raise UsageError(
                f"branching {tuple(branching)} is for {len(branching)} levels, the tree has "
                f"{tree.num_levels}: give one number a level, from the top down"
            )
        self.branching = tuple(branching)
        self.batch_size = min(math.prod(branching) * clips_per_leaf, len(self._ranges))
        self._levels = levels_present(self._ranges)
        self._descended, self._plans = self._fit()
        certain = self._plans[ROOT].certain
        self._missable = sorted(self._levels.keys() - certain)

    def _fit(self) -> tuple[int, dict[int, NodePlan]]:
        """Leave room in each batch for a pair of every level that its descent may miss."""
        reserved = 0
        while True:
            descended = self.batch_size - reserved
            plans = plan_descent(self._ranges, self.branching, descended)
            missable = self._levels.keys() - plans[ROOT].certain
            needed = min(2 * len(missable), self.batch_size // 2)
            if needed <= reserved:
                return descended, plans
            reserved = needed

    def _batches_in_epoch(self) -> int:
        return self._plans[ROOT].required

    def _draw_epoch(self, random: np.random.Generator) -> list[list[int]]:
        table = self._descend(random)
        lacking = np.stack(
            [self._lacks(table, level) for level in self._missable]
            or [np.zeros(len(table), dtype=bool)]
        ).T
        spare = _Spare(random.permutation(len(self._ranges)))
        batches: list[list[int]] = table.tolist()
        short = (table < 0).any(axis=1) | lacking.any(axis=1) | (table.shape[1] < self.batch_size)
        for number in np.flatnonzero(short).tolist():
            batch = dict.fromkeys(clip for clip in batches[number] if clip >= 0)
            for place in np.flatnonzero(lacking[number]).tolist():
                pair = self._draw_pair(self._missable[place], random)
                if len(batch.keys() | pair) <= self.batch_size:
                    batch.update(dict.fromkeys(pair))
            batches[number] = spare.fill(batch, self.batch_size)
        return batches

    def _descend(self, random: np.random.Generator) -> np.ndarray:
        """Give (batches, descended) clips, -1 where small leaves leave gaps."""
        number = self._batches_in_epoch()
        visits = {ROOT: (np.arange(number), np.full(number, self._descended))}
        draws: Draws = []
        for node in self._ranges.nodes():
            draws += self._visit(node, *visits.pop(node), visits, random)
        batch = np.concatenate([numbers for numbers, _ in draws])
        clips = np.concatenate([clips for _, clips in draws])
        order = np.argsort(batch, kind="stable")
        batch, clips = batch[order], clips[order]
        table = np.full((number, self._descended), -1)
        table[batch, np.arange(len(batch)) - np.searchsorted(batch, batch)] = clips
        return table

    def _visit(
        self,
        node: int,
        batch: np.ndarray,
        share: np.ndarray,
        visits: dict[int, tuple[np.ndarray, np.ndarray]],
        random: np.random.Generator,
    ) -> Draws:
        """Pass the shares of a node on to its children, and draw from its own clips."""
        plan = self._plans[node]
        if not plan.candidates:
            return [self._draw_own(node, batch, share, random)]
        needs = [
            plan.own_required if child == OWN else self._plans[child].required
            for child in plan.candidates
        ]
        turns = even_turns(np.array(needs), len(batch), plan.seats, random)
        chosen = deal_turns(turns, plan.seats, random)
        with_own = self._visits_with_own(node, len(batch), random)
        parts = _split(share, plan.seats, with_own, random)
        draws = []
        if with_own.any():
            draws.append(self._draw_own(node, batch[with_own], parts[with_own, -1], random))
        order = np.argsort(chosen, axis=None, kind="stable")
        for child, places in zip(
            plan.candidates, np.split(order, np.cumsum(turns)[:-1]), strict=True
        ):
            row, seat = np.divmod(places, plan.seats)
            if child == OWN:
                draws.append(self._draw_own(node, batch[row], parts[row, seat], random))
            else:
                visits[child] = batch[row], parts[row, seat]
        return draws

    def _visits_with_own(self, node: int, number: int, random: np.random.Generator) -> np.ndarray:
        """Choose the visits in which a node's own clips have a seat, after their number."""
        plan = self._plans[node]
        present = np.zeros(number, dtype=bool)
        if plan.own_seat:
            own = self._ranges.own_size(node) / self._ranges.size(node)
            usual = round(number * own * (plan.seats + 1))
            present[: min(max(usual, plan.own_required), number)] = True
        return random.permutation(present)

    def _draw_own(
        self, node: int, batch: np.ndarray, share: np.ndarray, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Deal a node's own clips out, over and over in one random order."""
        clips = random.permutation(self._ranges.own(node))
        # Any few that follow each other in the order are different ones, around its end too.
        share = np.minimum(share, len(clips))
        return np.repeat(batch, share), np.resize(clips, share.sum())

    def _lacks(self, table: np.ndarray, level: int) -> np.ndarray:
        """Say of each batch whether no two of its clips certainly share just this many levels."""
        codes, deepest = self._ranges.codes, self._ranges.deepest
        if level == self._ranges.tree.num_levels:
            leaves = np.isin(deepest, self._ranges.tree.leaves)
            leaf = np.where((table >= 0) & leaves[table], deepest[table], -1)
            return np.asarray(_distinct(leaf) == (leaf >= 0).sum(axis=1))
        child = np.where(table >= 0, codes[table, level], -1)
        parent = np.zeros_like(child) if level == 0 else codes[table, level - 1]
        parents = _distinct(np.where(child >= 0, parent, -1))
        return np.asarray(_distinct(child) <= parents)

    def _draw_pair(self, level: int, random: np.random.Generator) -> set[int]:
        """Draw two clips that share just this many levels."""
        nodes = self._levels[level]
        node = nodes[random.integers(len(nodes))]
        if level == self._ranges.tree.num_levels:
            pair = random.choice(self._ranges.own(node), 2, replace=False)
            return set(pair.tolist())
        children = random.choice(self._ranges.children[node], 2, replace=False)
        places = random.integers(self._ranges.start[children], self._ranges.stop[children])
        return set(self._ranges.order[places].tolist())


class _Spare:
    """Clips from anywhere, in random order, over and over."""

    def __init__(self, clips: np.ndarray) -> None:
        self._clips: list[int] = clips.tolist()
        self._next = 0

    def fill(self, batch: dict[int, None], size: int) -> list[int]:
        while len(batch) < size:
            batch[self._clips[self._next]] = None
            self._next = (self._next + 1) % len(self._clips)
        return list(batch)


def _split(
    share: np.ndarray, seats: int, extra: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Part (V,) shares evenly among seats, and one more where `extra`; odd clips go anywhere."""
    taken = (seats + extra)[:, None]
    whole, odd = np.divmod(share[:, None], taken)
    turned = (np.arange(seats + 1) + random.integers(taken)) % taken
    return np.asarray(whole + (turned < odd))


def _distinct(values: np.ndarray) -> np.ndarray:
    """Count the different values of 0 and above in each row."""
    ordered = np.sort(values, axis=1)
    new = np.diff(ordered, axis=1, prepend=-1) > 0
    return np.asarray((new & (ordered >= 0)).sum(axis=1))


def _usual_branching(ranges: ClipRanges, clips_per_leaf: int) -> tuple[int, ...]:
    widest = [1] * ranges.tree.num_levels
    for node in ranges.nodes():
        if ranges.children[node]:
            depth = ranges.tree.depth(node)
            widest[depth] = max(widest[depth], len(ranges.children[node]))
    below = [min(width, 2) for width in widest[1:]]
    return max(2, USUAL_BATCH // (math.prod(below) * clips_per_leaf)), *below
