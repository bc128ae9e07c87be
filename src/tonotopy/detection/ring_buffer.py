"""Windows of a stream that never ends, in memory that never grows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tonotopy._errors import UsageError


class RingBuffer:
    """Cut a stream of samples into windows of equal length at equal distances.

    It holds the last `window` samples and nothing else.

    Args:
        window: Samples in a window.
        hop: Samples from the start of a window to the start of the next; windows overlap where it
            is smaller than `window`, and leave samples out where it is larger.

    Examples:
        >>> ring = RingBuffer(window=4, hop=2)
        >>> [(start, cut.tolist()) for start, cut in ring.push(np.arange(7.0))]
        [(0, [0.0, 1.0, 2.0, 3.0]), (2, [2.0, 3.0, 4.0, 5.0])]
    """

    def __init__(self, window: int, hop: int) -> None:
        if window < 1 or hop < 1:
            raise UsageError(f"window and hop need at least one sample, got {window} and {hop}")
        self.window = window
        self.hop = hop
        self._ring = np.zeros(window, np.float32)
        self.clear()

    def clear(self) -> None:
        """Forget all samples; positions count from 0 again."""
        self.pushed = 0
        self._due = self.window  # samples pushed when the next window is complete

    def push(self, samples: NDArray[np.floating]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Take samples (T,), any number of them, and yield each window that they complete.

        Samples are taken as the windows are consumed: exhaust the iterator before the next push.

        Yields:
            The window's first sample, counted since the start or the last `clear`, and a copy of
            its samples (window,).
        """
        at = 0
        while at < len(samples):
            part = samples[at : at + self._due - self.pushed]
            self._write(part)
            at += len(part)
            if self.pushed == self._due:
                self._due += self.hop
                yield self.pushed - self.window, np.roll(self._ring, -(self.pushed % self.window))

    def _write(self, samples: NDArray[np.floating]) -> None:
        kept = samples[-self.window :]  # of a hop longer than a window
        start = (self.pushed + len(samples) - len(kept)) % self.window
        first = min(len(kept), self.window - start)
        self._ring[start : start + first] = kept[:first]
        self._ring[: len(kept) - first] = kept[first:]
        self.pushed += len(samples)
