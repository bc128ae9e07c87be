"""Recordings for a detector: with their machines, and window by window in their condition."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tonotopy._errors import AudioError
from tonotopy.clips import ClipTable, clip_starts
from tonotopy.detection import Condition, Detector, read_window
from tonotopy.protocols._gathering import gather_clips
from tonotopy.protocols._machine_choice import MACHINE, guess_machines

DECODERS = 4
"""Threads that decode ahead; soundfile and soxr release the interpreter's lock."""

Window = tuple[NDArray[np.float32], Condition] | AudioError
Place = tuple[str, float | None, float]
"""File, start (None for all of it) and length in seconds."""


def gather_for(detector: Detector, audio: Sequence[Path], machine: str | None) -> ClipTable:
    """Give recordings with the column `machine`, null where it is none that is known.

    Args:
        detector: Where it knows one machine, all recordings are of it.
        audio: Files, or anything that `tonotopy scan` reads.
        machine: The machine of all of them; None to guess.

    Raises:
        UsageError: The detector does not know `machine`, or a source does not exist.
        DataError: No file can be used.
    """
    if machine is not None or len(detector.names) == 1:
        name = detector.machine(machine).name
        return gather_clips(audio, partial(_all_of, name), labelled=False)
    return gather_clips(audio, partial(guess_machines, known=detector.names), labelled=False)


def _all_of(machine: str, clips: ClipTable) -> pl.Series:
    return pl.Series(MACHINE, [machine] * len(clips), dtype=pl.String)


def read_windows(detector: Detector, frame: pl.DataFrame) -> list[Window]:
    """Decode windows, rows with `path`, `start` and `seconds`, several at a time.

    Returns:
        For each, samples at the model's rate and their condition, or the reason why not.
    """
    read = partial(_read, detector.embedder.sample_rate, detector.window_seconds)
    with ThreadPoolExecutor(DECODERS) as pool:
        return list(pool.map(read, _places(frame)))


def window_states(frame: pl.DataFrame, sample_rate: int, expected: float) -> list[str]:
    """Give the condition of windows, or the reason why one cannot be read; no samples are kept.

    Args:
        frame: Rows with `path`, `start` and `seconds`.
        sample_rate: Of the model, in hertz.
        expected: Seconds of the windows that it scores.
    """

    def state(place: Place) -> str:
        window = _read(sample_rate, expected, place)
        return window.reason if isinstance(window, AudioError) else window[1]

    with ThreadPoolExecutor(DECODERS) as pool:
        return list(pool.map(state, _places(frame)))


def _places(frame: pl.DataFrame) -> list[Place]:
    return list(zip(frame["path"], clip_starts(frame), frame["seconds"], strict=True))


def _read(sample_rate: int, expected: float, place: Place) -> Window:
    path, start, seconds = place
    try:
        return read_window(
            path, sample_rate=sample_rate, expected=expected, start=start, seconds=seconds
        )
    except AudioError as error:
        return error
