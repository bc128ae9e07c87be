"""Recordings of machines, window by window: how anomalous, and like which normal ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import torch

from tonotopy._errors import AudioError, UsageError
from tonotopy._progress import track
from tonotopy.clips import ClipTable, clip_starts, window_clips
from tonotopy.clips.table import QUARANTINE_SCHEMA
from tonotopy.detection import SCORED, Detector, decide
from tonotopy.detection.machine_model import ANY_MACHINE
from tonotopy.protocols._machine_choice import MACHINE
from tonotopy.protocols._row_files import Shards, check_writable, write_frame
from tonotopy.protocols._verdicts import flat_verdict, nearest_schema, threshold_notes
from tonotopy.protocols._window_reading import Window, gather_for, read_windows

SHARD = 64
"""Windows between two saved parts: what an interruption costs at most."""

SCHEMA: dict[str, pl.DataType] = {
    "path": pl.String(),
    "start": pl.Float64(),
    "seconds": pl.Float64(),
    "machine": pl.String(),
    "machine_known": pl.Boolean(),
    "condition": pl.String(),
    "decision": pl.String(),
    "score": pl.Float64(),
    "p_value": pl.Float64(),
    "threshold": pl.Float64(),
    "sounds_like": pl.String(),
    "confidence": pl.Float64(),
    "other_machine": pl.Boolean(),
}
FAILED: dict[str, pl.DataType] = {"reason": pl.String(), "detail": pl.String()}


@dataclass(frozen=True)
class Detection:
    """What `detect_clips` found.

    Args:
        windows: A row for every window; see `detect_clips`.
        quarantine: Files that could not be used: `path`, `reason`, `detail`.
        false_alarm_rate: That the thresholds were set for.
        notes: What a user should know about these answers, a sentence each.
    """

    windows: pl.DataFrame
    quarantine: pl.DataFrame
    false_alarm_rate: float
    notes: tuple[str, ...]


def detect_clips(
    run: str | Path,
    audio: Sequence[Path],
    *,
    machine: str | None = None,
    domain: str | None = None,
    hop: float | None = None,
    nearest: int = 3,
    out: Path | None = None,
) -> Detection:
    """Score recordings with the detector of a run.

    A recording longer than the detector's window is cut into windows. A clip is compared with the
    machine that it is of: the only one, the one that `machine` names, or what a table, file names
    and folders say (see `guess_machines`). A clip of no known machine is compared with the
    references of all.

    Args:
        run: A run of `tonotopy fit --task anomaly`.
        audio: Files, or anything that `tonotopy scan` reads.
        machine: The machine of all recordings, such as `fan/id_00`.
        domain: `source` or `target`: take its threshold, where there is one.
        hop: Seconds from the start of a window to the start of the next. Default: a window.
        nearest: Number of normal examples to name for each window; at least 1.
        out: A `.csv`, `.parquet` or `.json` file for the windows, written whole or not at all. An
            interrupted job with the same `out` goes on where it stopped.

    Returns:
        A row a window: `path`, `start` and `seconds`; `machine` that it was compared with,
        `machine_known`; `condition` (see `Condition`); `decision`, "normal", "anomaly", or
        "unknown" (see `SCORED`); `score`, `p_value`, `threshold`;
        `sounds_like`, `confidence` and `other_machine`, see `Detector.judge`; `nearest_1`,
        `nearest_1_start`, `nearest_1_cosine` and so on, the normal examples most alike.

    Raises:
        UsageError: The run has no detector, or an option is out of range.
        DataError: No file can be used.
    """
    check_writable(out)
    if nearest < 1:
        raise UsageError(f"--nearest must be at least 1, got {nearest}")
    if hop is not None and hop <= 0:
        raise UsageError(f"--hop must be positive, got {hop:g}")
    detector = Detector.load(run)
    clips = gather_for(detector, audio, machine)
    windows = window_clips(clips, detector.window_seconds, hop)
    work = partial(_judge_shard, detector, windows, domain, nearest)
    starts = range(0, len(windows), SHARD)
    if out is None:
        parts = [work(start) for start in track(starts, label="Listening", total=len(starts))]
        found = pl.concat(parts)
    else:
        shards = Shards(out, _fingerprint(detector, windows, domain, nearest))
        found = shards.collect(starts, work)
    failed = found.filter(pl.col("reason").is_not_null()).select(list(QUARANTINE_SCHEMA))
    found = found.filter(pl.col("reason").is_null()).drop(list(FAILED))
    if out is not None:
        write_frame(found, out)
        shards.remove()
    return Detection(
        found,
        pl.concat([clips.quarantine, failed]),
        detector.options.false_alarm_rate,
        _notes(detector, found, domain),
    )


def _judge_shard(
    detector: Detector, windows: ClipTable, domain: str | None, nearest: int, first: int
) -> pl.DataFrame:
    """Give the rows of some windows, `FAILED` set for those that could not be read."""
    frame = windows.frame.slice(first, SHARD)
    read = read_windows(detector, frame)
    rows: list[dict[str, Any]] = [
        _place(*place) | _state(window)
        for place, window in zip(
            zip(frame["path"], clip_starts(frame), frame["seconds"], frame[MACHINE], strict=True),
            read,
            strict=True,
        )
    ]
    for name in sorted({row["machine"] for row in rows}):
        chosen = [
            (row, window[0])
            for row, window in zip(rows, read, strict=True)
            if row["machine"] == name and not isinstance(window, AudioError) and window[1] in SCORED
        ]
        if chosen:
            waves = [torch.from_numpy(wave) for _, wave in chosen]
            machine = detector.machine(name)
            judged = detector.judge(detector.embed(waves), machine, domain, nearest)
            for (row, _), verdict in zip(chosen, judged.iter_rows(named=True), strict=True):
                row.update(flat_verdict(verdict, nearest))
                row["decision"] = decide(row["condition"], verdict["anomalous"])
    return pl.DataFrame(rows, schema={**SCHEMA, **nearest_schema(nearest), **FAILED})


def _place(path: str, start: float | None, seconds: float, machine: str | None) -> dict[str, Any]:
    return {
        "path": path,
        "start": start or 0.0,
        "seconds": seconds,
        "machine": machine or ANY_MACHINE,
        "machine_known": machine is not None,
    }


def _state(window: Window) -> dict[str, Any]:
    if isinstance(window, AudioError):
        return {"reason": window.reason, "detail": window.detail}
    return {"condition": window[1], "decision": "unknown"}


def _fingerprint(detector: Detector, windows: ClipTable, domain: str | None, nearest: int) -> str:
    """Tell one job from another: model, thresholds with their scores, windows and options."""
    thresholds = {
        name: {key: threshold.to_dict() for key, threshold in machine.thresholds.items()}
        for name, machine in detector.machines.items()
    }
    rows = windows.frame.select("path", "content", "seconds", MACHINE).rows()
    job = [detector.embedder.fingerprint, thresholds, rows, clip_starts(windows.frame)]
    text = json.dumps([*job, domain, nearest])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _notes(detector: Detector, windows: pl.DataFrame, domain: str | None) -> tuple[str, ...]:
    notes = []
    unknown = windows.filter(~pl.col("machine_known"))["path"].n_unique()
    if unknown:
        notes.append(
            f"{unknown} clips are of no machine that the run knows ({', '.join(detector.names[:9])}"
            f"): they were compared with the references of all; --machine names theirs"
        )
    for name in sorted(set(windows["machine"])):
        notes += threshold_notes(detector.machine(name), domain)
    return tuple(notes)
