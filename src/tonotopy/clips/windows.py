"""Long recordings as windows: each a clip of its own, with its place in the file."""

from __future__ import annotations

import math

import polars as pl

from tonotopy._errors import UsageError
from tonotopy.clips.table import ClipTable

START = "start"
"""Column of a table of windows: seconds into the file; null where a clip is its whole file."""

LEAST_REST = 0.5
"""A rest shorter than this share of a window is left out; a longer one gets a last window, which
ends with the file and overlaps the one before."""


def window_starts(seconds: float, window: float, hop: float | None = None) -> list[float]:
    """Give where the windows of a recording start.

    Args:
        seconds: Duration of the recording.
        window: Length of a window in seconds.
        hop: Seconds from one start to the next. Default: `window`.

    Returns:
        At least one start; the first is 0. A recording that is shorter than a window has one.

    Raises:
        UsageError: `window` or `hop` is not positive.

    Examples:
        >>> window_starts(34.0, 10.0), window_starts(37.0, 10.0), window_starts(3.0, 10.0)
        ([0.0, 10.0, 20.0], [0.0, 10.0, 20.0, 27.0], [0.0])
    """
    hop = window if hop is None else hop
    if window <= 0 or hop <= 0:
        raise UsageError(f"windows need a positive length and hop, got {window} and {hop} seconds")
    count = max(1, math.floor((seconds - window) / hop + 1e-9) + 1)
    starts = [index * hop for index in range(count)]
    if seconds - (starts[-1] + window) >= LEAST_REST * window:
        starts.append(seconds - window)
    return starts


def window_clips(clips: ClipTable, window: float, hop: float | None = None) -> ClipTable:
    """Replace recordings that are longer than a window by their windows.

    Args:
        clips: A table of whole files.
        window: Length of a window in seconds.
        hop: Seconds from the start of a window to the start of the next. Default: `window`.

    Returns:
        A table with the column `start`; `seconds` of a window is `window`. The windows of one file
        share all other columns, `content` too, so that a split keeps them together.
    """
    starts = [window_starts(seconds, window, hop) for seconds in clips.frame["seconds"]]
    parts: list[list[float | None]] = [
        list(found) if len(found) > 1 else [None] for found in starts
    ]
    frame = clips.frame.with_columns(
        pl.Series(START, parts, dtype=pl.List(pl.Float64)),
    ).explode(START)
    length = pl.when(pl.col(START).is_null()).then(pl.col("seconds")).otherwise(window)
    return ClipTable(
        frame.with_columns(length.alias("seconds")), clips.root, clips.quarantine, clips.ignored
    )


def clip_starts(frame: pl.DataFrame) -> list[float | None]:
    """Give the start of every clip of a table, None where it is its whole file."""
    if START not in frame.columns:
        return [None] * len(frame)
    starts: list[float | None] = frame[START].to_list()
    return starts
