"""Batches for training: where an epoch is resumed in its middle, the rest of it follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import lightning
from torch.utils.data import DataLoader

from tonotopy.clips import BatchSampler, ClipDataset, collate_clips

Batch = dict[str, Any]


class ResumableLoader(DataLoader[Batch]):
    """A loader whose n-th batch depends only on seed, epoch, n and rank.

    Args:
        dataset: Training clips.
        sampler: Lists of indices; a pure function of its seed, epoch and rank.
        epoch: Gives the number of the epoch that starts.
        workers: Loader processes; 0 loads in this process.
    """

    def __init__(
        self,
        dataset: ClipDataset,
        sampler: BatchSampler,
        *,
        epoch: Callable[[], int],
        workers: int = 0,
    ) -> None:
        super().__init__(
            dataset, batch_sampler=sampler, collate_fn=collate_clips, num_workers=workers
        )
        self._clips = dataset
        self._batches = sampler
        self._current_epoch = epoch
        self._served = 0
        self._skip = 0

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # a generator suffices
        epoch = self._current_epoch()
        self._clips.set_epoch(epoch)
        self._batches.load_state_dict({"epoch": epoch, "batch": self._skip})
        self._served, self._skip = self._skip, 0
        for batch in super().__iter__():
            # Counted here, not in the sampler, which worker processes read ahead of the training.
            self._served += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Say how many batches of this epoch were served."""
        return {"batch": self._served}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next epoch start after the batches that were served already."""
        self._skip = state["batch"]


class ClipDataModule(lightning.LightningDataModule):
    """Loaders over the training and validation clips of a table.

    Args:
        train: Training clips, in random excerpts.
        val: Validation clips; None where there are none.
        sampler: Makes the training batches when called with `rank` and `world_size`.
        val_batch_size: Clips in a validation batch.
        workers: Loader processes of each loader.
    """

    def __init__(
        self,
        train: ClipDataset,
        val: ClipDataset | None,
        sampler: Callable[..., BatchSampler],
        *,
        val_batch_size: int = 32,
        workers: int = 0,
    ) -> None:
        super().__init__()
        self._train = train
        self._val = val
        self._sampler = sampler
        self._val_batch_size = val_batch_size
        self._workers = workers

    @property
    def has_val(self) -> bool:
        """Whether there are validation clips."""
        return self._val is not None

    @property
    def val_rows(self) -> list[int]:
        """Rows of the table whose clips validate."""
        return [] if self._val is None else self._val.rows

    @property
    def steps_per_epoch(self) -> int:
        """Training batches of one rank in an epoch."""
        return len(self._batches())

    def epoch_batches(self, epoch: int) -> list[list[int]]:
        """Give all training batches of an epoch, of all ranks."""
        return self._batches().epoch_batches(epoch)

    def train_dataloader(self) -> ResumableLoader:
        """Give this rank's training batches."""
        trainer = self._running_trainer()
        return ResumableLoader(
            self._train,
            self._batches(),
            epoch=lambda: trainer.current_epoch,
            workers=self._workers,
        )

    def val_dataloader(self) -> DataLoader[Batch] | Sequence[Any]:
        """Give the validation clips, the same on every rank."""
        if self._val is None:
            return []
        return DataLoader(
            self._val,
            batch_size=self._val_batch_size,
            collate_fn=collate_clips,
            num_workers=self._workers,
        )

    def _batches(self) -> BatchSampler:
        trainer = self._running_trainer()
        return self._sampler(rank=trainer.global_rank, world_size=trainer.world_size)

    def _running_trainer(self) -> lightning.Trainer:
        assert self.trainer is not None, "loaders are made by a Trainer"
        return self.trainer
