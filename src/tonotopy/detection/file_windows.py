"""A window of a file as the model hears it, and what it is fit for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from tonotopy._errors import AudioError
from tonotopy.audio import decode
from tonotopy.detection.conditions import Condition, FaultCounter, Faults, window_condition

BLOCK_SAMPLES = 2**20
"""Read at once, over all channels."""


def read_window(
    path: Path | str,
    *,
    sample_rate: int,
    expected: float,
    start: float | None = None,
    seconds: float | None = None,
) -> tuple[NDArray[np.float32], Condition]:
    """Decode a window of a file and look at its condition in the file's own samples.

    Args:
        path: The file.
        sample_rate: Of the model, in hertz.
        expected: Seconds that the model listens to.
        start: Where the window begins, in seconds; None for the whole file.
        seconds: Its length; with `start` only.

    Returns:
        (T,) float32 mono, and its condition.

    Raises:
        AudioError: The file cannot be used.
    """
    length = None if start is None else seconds
    wave = decode(path, sample_rate, start=start or 0.0, seconds=length)
    faults, rate = _faults(path, start or 0.0, length)
    return wave, window_condition(
        wave, faults, expected=round(expected * sample_rate), low_rate=rate < sample_rate
    )


def _faults(path: Path | str, start: float, seconds: float | None) -> tuple[Faults, int]:
    try:
        with soundfile.SoundFile(path) as file:
            left = file.frames if seconds is None else round(seconds * file.samplerate)
            file.seek(round(start * file.samplerate))
            counter, faults = FaultCounter(file.samplerate), Faults()
            while left > 0:
                frames = min(left, max(1, BLOCK_SAMPLES // file.channels))
                block = file.read(frames, dtype="float32", always_2d=True)
                if not len(block):
                    break
                faults += counter.count(block)
                left -= len(block)
            return faults, file.samplerate
    except soundfile.LibsndfileError as error:
        raise AudioError(path, "corrupt", error.error_string) from error
