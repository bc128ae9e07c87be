"""Clips as tensors: excerpts for training, whole clips for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from tonotopy._errors import UsageError
from tonotopy.audio import AudioCache, fit_length
from tonotopy.clips.table import ClipTable
from tonotopy.clips.windows import clip_starts

CENTRE = 0.5


class ClipDataset(Dataset[dict[str, Any]]):
    """Waveforms of a table's clips, at the sample rate of a cache.

    A clip that is a window (see `window_clips`) is that stretch of its file.

    Item `i` is clip `rows[i]`: a dict of `waveform` (T,) float32, `length` T and `index`, the
    clip's row in the table. Labels stay with the table, where `index` finds them.

    Args:
        clips: The table.
        cache: Decodes each file once.
        rows: Rows of the table to use, in this order. Default: all.
        seconds: A longer clip is cropped to this. Default: clips are whole.
        short: What to do with a clip that is shorter than `seconds`: `"pad"` leaves it, so that a
            batch pads it with silence beyond its `length`; `"tile"` repeats it up to `seconds`.
        train: Crop at random, instead of from the centre. The place is a pure function of `seed`,
            the epoch (see `set_epoch`) and the row.
        seed: Start of the random places.

    Raises:
        UsageError: `seconds` is not positive, or a row is not in the table.
    """

    def __init__(
        self,
        clips: ClipTable,
        cache: AudioCache,
        *,
        rows: Sequence[int] | None = None,
        seconds: float | None = None,
        short: Literal["pad", "tile"] = "pad",
        train: bool = False,
        seed: int = 0,
    ) -> None:
        if seconds is not None and round(seconds * cache.sample_rate) < 1:
            raise UsageError(f"clips need a positive length, got {seconds} seconds")
        self.rows = list(range(len(clips)) if rows is None else rows)
        if self.rows and (min(self.rows) < 0 or max(self.rows) >= len(clips)):
            raise UsageError(f"rows must lie in 0 to {len(clips) - 1}, the rows of the table")
        self.train = train
        self._paths = clips.paths
        self._contents = clips.frame["content"].to_list()
        self._starts = clip_starts(clips.frame)
        self._seconds = clips.frame["seconds"].to_list()
        self._cache = cache
        self._frames = None if seconds is None else round(seconds * cache.sample_rate)
        self._short = short
        self._seed = seed
        self._epoch = 0

    def __len__(self) -> int:
        return len(self.rows)

    def set_epoch(self, epoch: int) -> None:
        """Choose the random places of this epoch; call it before the loader starts its workers."""
        self._epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        wave = self._excerpt(self._clip(row), row)
        # A copy: the cache's pages are read-only, and a tensor over them could be written to.
        return {"waveform": torch.from_numpy(wave.copy()), "length": len(wave), "index": row}

    def _clip(self, row: int) -> NDArray[np.float32]:
        wave, start = self._cache.load(self._paths[row], self._contents[row]), self._starts[row]
        if start is None:
            return wave
        rate = self._cache.sample_rate
        # A window that the resampled file just fails to reach still has its last sample.
        first = min(round(start * rate), len(wave) - 1)
        return wave[first : first + max(1, round(self._seconds[row] * rate))]

    def _excerpt(self, wave: NDArray[np.float32], row: int) -> NDArray[np.float32]:
        if self._frames is None or (len(wave) <= self._frames and self._short == "pad"):
            return wave
        offset = crop_offset(self._seed, self._epoch, row) if self.train else CENTRE
        return fit_length(wave, self._frames, "tile", offset=offset)


def crop_offset(seed: int, epoch: int, index: int) -> float:
    """Draw where a clip is cropped: uniform in [0, 1), a pure function of its arguments."""
    digest = blake2b(f"{seed}/{epoch}/{index}".encode(), digest_size=8).digest()
    # 53 bits fill a double's mantissa, so that 1.0 cannot come out by rounding.
    return (int.from_bytes(digest) >> 11) / (1 << 53)


def collate_clips(items: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Make a batch of clips of any lengths.

    Args:
        items: B items of a `ClipDataset`.

    Returns:
        `waveforms` (B, T) float32, zero behind the end of each clip; `lengths` (B,) and `index`
        (B,), both int64.
    """
    return {
        "waveforms": pad_sequence([item["waveform"] for item in items], batch_first=True),
        "lengths": torch.tensor([item["length"] for item in items]),
        "index": torch.tensor([item["index"] for item in items]),
    }
