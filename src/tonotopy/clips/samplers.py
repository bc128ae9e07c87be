"""Batches of clips whose content depends on seed, epoch, number and rank alone."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from tonotopy._errors import UsageError


class BatchSampler(Sampler[list[int]], ABC):
    """Lists of indices, the same number on every rank, resumable at any batch.

    Args:
        seed: Start of all draws.
        rank: Number of this process.
        world_size: Number of processes; they get different batches of the same epoch.
    """

    def __init__(self, seed: int, rank: int, world_size: int) -> None:
        if not 0 <= rank < world_size:
            raise UsageError(f"rank must be from 0 to {world_size - 1}, got {rank}")
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self._epoch = 0
        self._batch = 0

    @abstractmethod
    def _draw_epoch(self, random: np.random.Generator) -> list[list[int]]:
        """Make all batches of an epoch, of all ranks."""

    @abstractmethod
    def _batches_in_epoch(self) -> int:
        """Count the batches of an epoch, of all ranks, before they are shared out."""

    def __len__(self) -> int:
        """Batches of one rank in an epoch."""
        return math.ceil(self._batches_in_epoch() / self.world_size)

    def epoch_batches(self, epoch: int) -> list[list[int]]:
        """Give all batches of an epoch, of all ranks, whatever was served already."""
        return self._draw_epoch(np.random.default_rng([self.seed, epoch]))

    def __iter__(self) -> Iterator[list[int]]:
        """Yield this rank's batches of the epoch, after those that were served already."""
        batches = self.epoch_batches(self._epoch)
        # Every rank must take part in every step: the last round is filled from the first.
        places = range(self.rank, len(self) * self.world_size, self.world_size)
        mine = [batches[place % len(batches)] for place in places]
        while self._batch < len(mine):
            self._batch += 1
            yield mine[self._batch - 1]
        self._epoch, self._batch = self._epoch + 1, 0

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch; nothing happens if it has begun already."""
        if epoch != self._epoch:
            self._epoch, self._batch = epoch, 0

    def state_dict(self) -> dict[str, int]:
        """Say where in which epoch the sampler is."""
        return {"epoch": self._epoch, "batch": self._batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to where another sampler was."""
        self._epoch, self._batch = state["epoch"], state["batch"]


class PKBatchSampler(BatchSampler):
    """Batches of P classes with K clips each, so that every batch has pairs of both kinds.

    Every clip occurs at least once an epoch. A class with fewer than K clips repeats some; classes
    take turns, so that large ones occur more often. Where there are fewer than P classes, a batch
    holds them all.

    Args:
        labels: Class of each clip; clips with a negative label are left out.
        classes_per_batch: P.
        clips_per_class: K.
        seed: Start of all draws.
        rank: Number of this process.
        world_size: Number of processes.

    Raises:
        UsageError: P or K is not positive, or no clip has a label.
    """

    def __init__(
        self,
        labels: Sequence[int],
        *,
        classes_per_batch: int,
        clips_per_class: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(seed, rank, world_size)
        if classes_per_batch <= 0 or clips_per_class <= 0:
            raise UsageError(
                f"a batch needs at least one class and one clip of each, got "
                f"{classes_per_batch} x {clips_per_class}"
            )
        members: dict[int, list[int]] = defaultdict(list)
        for index, label in enumerate(labels):
            if label >= 0:
                members[label].append(index)
        if not members:
            raise UsageError("no clip has a label: batches by class need labelled clips")
        self._members = {label: np.array(members[label]) for label in sorted(members)}
        self._classes = min(classes_per_batch, len(members))
        self._clips = clips_per_class

    def _batches_in_epoch(self) -> int:
        groups = [math.ceil(len(clips) / self._clips) for clips in self._members.values()]
        # A batch takes a class once: the largest class, too, sets the number of batches.
        return max(math.ceil(sum(groups) / self._classes), max(groups))

    def _draw_epoch(self, random: np.random.Generator) -> list[list[int]]:
        count = self._batches_in_epoch()
        waiting = {label: self._groups(label, random) for label in self._members}
        batches = [self._draw_batch(waiting, random) for _ in range(count)]
        return [batches[position] for position in random.permutation(count)]

    def _draw_batch(
        self, waiting: dict[int, list[list[int]]], random: np.random.Generator
    ) -> list[int]:
        """Take the classes with most groups waiting, in random order among equals."""
        labels = [int(label) for label in random.permutation(list(waiting))]
        labels.sort(key=lambda label: -len(waiting[label]))
        batch: list[int] = []
        for label in labels[: self._classes]:
            if not waiting[label]:
                waiting[label] = self._groups(label, random)[:1]
            batch += waiting[label].pop()
        return batch

    def _groups(self, label: int, random: np.random.Generator) -> list[list[int]]:
        """Deal a class's clips out in groups of K; the last is filled from the first."""
        shuffled = random.permutation(self._members[label])
        total = math.ceil(len(shuffled) / self._clips) * self._clips
        groups: list[list[int]] = np.resize(shuffled, total).reshape(-1, self._clips).tolist()
        return groups


class ShuffledBatchSampler(BatchSampler):
    """All clips in random order, for losses that need no pairs.

    Args:
        num_clips: Number of clips.
        batch_size: Clips in a batch; the last batch of an epoch may be smaller. A clip that would
            be left alone joins the batch before: normalisation needs two.
        seed: Start of all draws.
        rank: Number of this process.
        world_size: Number of processes.

    Raises:
        UsageError: There is no clip, or `batch_size` is not positive.
    """

    def __init__(
        self, num_clips: int, *, batch_size: int, seed: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__(seed, rank, world_size)
        if num_clips <= 0 or batch_size <= 0:
            raise UsageError(f"expected clips and a batch size, got {num_clips} and {batch_size}")
        self._num_clips = num_clips
        self._batch_size = batch_size
        self._one_is_left = num_clips > batch_size > 1 and num_clips % batch_size == 1

    def _batches_in_epoch(self) -> int:
        return math.ceil(self._num_clips / self._batch_size) - self._one_is_left

    def _draw_epoch(self, random: np.random.Generator) -> list[list[int]]:
        order: list[int] = random.permutation(self._num_clips).tolist()
        size = self._batch_size
        batches = [order[at : at + size] for at in range(0, len(order), size)]
        if self._one_is_left:
            alone = batches.pop()
            batches[-1] += alone
        return batches
