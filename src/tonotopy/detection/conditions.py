"""Is a window fit to be judged at all: the states of a sensor's signal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Condition = Literal["usable", "clipped", "low rate", "silent", "too short", "missing", "not finite"]
"""What a window is fit for.

usable      nothing is wrong
clipped     overdriven, which changes the sound, and which loud faults do
low rate    sampled at less than the model's rate: the upper band is empty
silent      there is a signal, but nobody could hear it
too short   less than half of what the model listens to
missing     the sensor delivers nothing, or holds one value
not finite  the samples hold NaN or infinity
"""

Decision = Literal["normal", "anomaly", "unknown"]

SCORED: frozenset[Condition] = frozenset({"usable", "clipped", "low rate"})
"""Windows in these conditions are scored, and above the threshold they are anomalies. Up to it only
a usable window is "normal": what was overdriven or cut off may have hidden a fault. All others are
"unknown"."""

SILENT_DBFS = -80.0
"""Root mean square, without the mean, relative to full scale (a square wave of amplitude 1).

The rounding noise of 16-bit samples lies at -101, a quiet room before a cheap microphone at -60:
what is below -80 comes of a closed gain or a torn cable, not of a machine.
"""

FULL_SCALE = 0.999
"""Amplitude from which a converter is at its end; the largest 16-bit sample is 0.99997."""

CLIPPED_RUN = 3
"""Equal samples in a row, at full scale, that make a flat top rather than a peak."""

CLIPPED_SHARE = 1e-3
"""Share of a window's samples in flat tops from which it is clipped: 10 ms in 10 s."""

HELD_SECONDS = 0.05
"""Equal samples for this long are no sound: real signals change, if only by their noise."""

HELD_SHARE = 0.1
"""Share of a window without signal from which it is missing: 1 s in 10 s."""

SHORTEST_SHARE = 0.5
"""Share of the model's window below which a clip is too short to be judged."""


@dataclass(frozen=True)
class Faults:
    """Counts over a stretch of a signal at its own rate; those of adjoining stretches add up.

    Args:
        samples: Samples of one channel.
        clipped: Those in flat tops at full scale, in the channel that has most.
        held: Those where all channels have held their values for `HELD_SECONDS`.
        not_finite: Those that are NaN or infinite in any channel.
    """

    samples: int = 0
    clipped: int = 0
    held: int = 0
    not_finite: int = 0

    def __add__(self, other: Faults) -> Faults:
        return Faults(
            self.samples + other.samples,
            self.clipped + other.clipped,
            self.held + other.held,
            self.not_finite + other.not_finite,
        )


class FaultCounter:
    """Count the faults of a signal that comes in blocks of any size.

    It looks at the signal as the sensor gave it: mixing and resampling hide flat tops.

    Args:
        sample_rate: Of the signal, in hertz.
    """

    def __init__(self, sample_rate: int) -> None:
        self._hold = max(1, round(HELD_SECONDS * sample_rate))
        self._last: NDArray[np.floating] | None = None
        self._ages: NDArray[np.int64] | None = None
        self._age = 0

    def count(self, samples: NDArray[np.floating]) -> Faults:
        """Count the faults of the next samples (T, channels).

        A run of equal samples counts from the one on that makes it a fault, so a run over several
        blocks is found, too.
        """
        if not len(samples):
            return Faults()
        if self._last is None or self._ages is None:
            self._last = np.full(samples.shape[1], np.nan, samples.dtype)
            self._ages = np.zeros(samples.shape[1], np.int64)
        before = np.concatenate([self._last[None], samples[:-1]])
        equal = samples == before
        ages = _ages(equal, self._ages)
        age = _ages(equal.all(axis=1, keepdims=True), np.array([self._age]))
        flat = (np.abs(samples) >= FULL_SCALE) & (ages >= CLIPPED_RUN - 1)
        self._last, self._ages, self._age = samples[-1].copy(), ages[-1].copy(), int(age[-1, 0])
        return Faults(
            samples=len(samples),
            clipped=int(flat.sum(axis=0).max()),
            held=int((age >= self._hold - 1).sum()),
            not_finite=int((~np.isfinite(samples)).any(axis=1).sum()),
        )


def window_condition(
    window: NDArray[np.floating], faults: Faults, *, expected: int, low_rate: bool = False
) -> Condition:
    """Name the condition of a window; of several faults the gravest.

    Args:
        window: (T,) mono, as the model hears it.
        faults: Counted over the same stretch of the original signal.
        expected: Samples that the model listens to.
        low_rate: The original signal has a lower sample rate than the model.
    """
    if faults.not_finite or not np.isfinite(window).all():
        return "not finite"
    if len(window) < SHORTEST_SHARE * expected:
        return "too short"
    if faults.held >= HELD_SHARE * max(1, faults.samples):
        return "missing"
    if level_dbfs(window) < SILENT_DBFS:
        return "silent"
    if faults.clipped >= CLIPPED_SHARE * max(1, faults.samples):
        return "clipped"
    return "low rate" if low_rate else "usable"


def decide(condition: Condition, anomalous: bool | None) -> Decision:
    """Give the decision on a window.

    Args:
        condition: Of the signal.
        anomalous: Whether its score exceeds the threshold; None where there is no score.
    """
    if anomalous:
        return "anomaly"
    return "normal" if condition == "usable" and anomalous is not None else "unknown"


def level_dbfs(window: NDArray[np.floating]) -> float:
    """Give the root mean square of a window (T,) about its mean, in dB; -inf for a constant."""
    spread = float(np.std(window, dtype=np.float64)) if len(window) else 0.0
    return 20 * float(np.log10(spread)) if spread else -np.inf


def _ages(equal: NDArray[np.bool_], before: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the equal samples before each sample of (T, channels), from `before` (channels,) on."""
    position = np.arange(1, len(equal) + 1)[:, None]
    changed = np.maximum.accumulate(np.where(equal, 0, position), axis=0)
    return np.where(changed == 0, before + position, position - changed)
