"""Waveforms of clips, one by one and in padded batches."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from tonotopy.audio import AudioCache, fit_length
from tonotopy.clips.table import ClipTable


class ClipDataset(Dataset[dict[str, Any]]):
    """The waveforms of some clips of a table, from the cache.

    Args:
        clips: The table.
        cache: Decoded audio.
        rows: Which clips, as rows of the table.
        seconds: Cut or fill every clip to this length; None gives whole clips.
        short: Fill a shorter clip with silence (`"pad"`) or repeat it (`"tile"`).
        train: Cut at random, anew in every epoch; otherwise from the middle.
        seed: Start of the random cuts, each a function of seed, epoch and row alone.
    """

    def __init__(
        self,
        clips: ClipTable,
        cache: AudioCache,
        *,
        rows: Sequence[int],
        seconds: float | None = None,
        short: Literal["pad", "tile"] = "pad",
        train: bool = False,
        seed: int = 0,
    ) -> None:
        self._paths = [clips.paths[row] for row in rows]
        self._contents = [clips.frame["content"][row] for row in rows]
        self._rows = list(rows)
        self._cache = cache
        self._frames = None if seconds is None else max(1, round(seconds * cache.sample_rate))
        self._short = short
        self._train = train
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the random cuts of an epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Give `waveform` (T,) float32, `length` (its samples before silence was added) and
        `index`, the row of the table."""
        wave = self._cache.load(self._paths[index], self._contents[index])
        length = len(wave)
        if self._frames is not None:
            wave = fit_length(wave, self._frames, self._short, offset=self._offset(index))
            length = len(wave) if self._short == "tile" else min(length, self._frames)
        # A copy: the cache is mapped read-only, and tensors may be written to.
        return {"waveform": torch.tensor(wave), "length": length, "index": self._rows[index]}

    def _offset(self, index: int) -> float:
        if not self._train:
            return 0.5
        key = f"{self._seed}/{self._epoch}/{self._rows[index]}".encode()
        return int.from_bytes(blake2b(key, digest_size=4).digest()) / 2**32


def collate_clips(items: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    """Make a batch: `waveforms` (B, T) padded with zeros, `lengths` (B,), `index` (B,)."""
    waveforms = [item["waveform"] for item in items]
    return {
        "waveforms": torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True),
        "lengths": torch.tensor([item["length"] for item in items]),
        "index": torch.tensor([item["index"] for item in items]),
    }
