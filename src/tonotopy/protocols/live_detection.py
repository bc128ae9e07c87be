"""A live stream of raw audio: judged as it comes, for as long as it comes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.detection import (
    AlarmLogic,
    ByteQueue,
    Detector,
    Judge,
    PcmFormat,
    PcmReader,
    RowLog,
    StreamDetector,
    WindowScore,
)
from tonotopy.detection.machine_model import MachineModel
from tonotopy.detection.pcm import BinaryStream
from tonotopy.detection.row_log import SUFFIXES
from tonotopy.protocols._drift_monitors import monitor_of, own_confidence
from tonotopy.protocols._verdicts import threshold_notes

COLUMNS = (
    "start",
    "seconds",
    "time",
    "condition",
    "decision",
    "score",
    "p_value",
    "threshold",
    "smoothed",
    "alarm",
    "event",
)


@dataclass(frozen=True)
class StreamOptions:
    """What a stream of raw samples is, and when it alarms.

    Args:
        rate: Sample rate in hertz; raw samples do not say it, so it must be given.
        format: Of a sample, little-endian: s16le, s24le, s32le (signed integers) or f32le.
        channels: Interleaved channels; they are mixed to one.
        hop: Seconds from the start of a window to the start of the next. Default: half a window.
        gap: A stream that says nothing for this many seconds is missing.
        votes: M/N: an alarm is raised when m of the last n windows are anomalous.
        release: An alarm is cleared when at most this many of the last n windows are anomalous.
        smoothing: Time constant in seconds of the moving average that scores go through before
            they are compared with the threshold; 0 for none.
        cool_down: After the end of an alarm, none is raised for so many seconds.
        state: A JSON file from which a restarted detector goes on.
    """

    rate: int | None = None
    format: PcmFormat = "s16le"
    channels: int = 1
    hop: float | None = None
    gap: float = 5.0
    votes: str = "3/5"
    release: int = 1
    smoothing: float = 10.0
    cool_down: float = 0.0
    state: Path | None = None


def detect_stream(
    run: str | Path,
    stream: BinaryStream,
    options: StreamOptions,
    *,
    machine: str | None = None,
    domain: str | None = None,
    nearest: int = 3,
    out: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Judge a stream to its end, or until the process is interrupted.

    Args:
        run: A run of `tonotopy fit --task anomaly`.
        stream: A binary stream without a buffer.
        options: What it is, and when it alarms.
        machine: The machine that it hears; needed where the run knows several.
        domain: `source` or `target`: take its threshold, where there is one.
        nearest: Number of normal examples to name for each window; at least 1.
        out: A `.csv` or `.jsonl` file that every row is appended to; see `StreamDetector.run`, with
            `nearest_1`, `nearest_1_cosine` and so on.
        tell: Gets a sentence when an alarm or the condition of the sensor changes.

    Returns:
        Totals over all restarts: `windows`, `anomalous`, `unusable`, `alarms`; `seconds` of the
        stream; `alarm`, whether one is on; `drift`, a report of `DriftMonitor`, or None; `notes`.

    Raises:
        UsageError: An option is out of range, or the state is of another detector.
        DataError: The stream or the disk fails.
    """
    if nearest < 1:
        raise UsageError(f"--nearest must be at least 1, got {nearest}")
    if out is not None and out.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--out {out}: the log of a stream ends in {' or '.join(SUFFIXES)}")
    if options.rate is None:
        raise UsageError("--rate is needed: raw samples do not say how many a second they are")
    detector = Detector.load(run)
    known = detector.machine(machine)
    notes = threshold_notes(known, domain)
    for note in notes:
        tell(note)
    running = _stream_detector(detector, known, domain, nearest, options, options.rate)
    reader = PcmReader(
        ByteQueue(stream),
        sample_rate=options.rate,
        target_rate=detector.embedder.sample_rate,
        pcm_format=options.format,
        channels=options.channels,
        gap_seconds=options.gap,
        start=running.position,
    )
    columns = [*COLUMNS, *_nearest_columns(nearest)]
    news = _News(tell)
    with (
        RowLog(out, columns) if out is not None else nullcontext() as log,
        closing(running.run(reader)) as rows,
    ):
        try:
            for row in rows:
                news.hear(row)
                if log is not None:
                    log.write(_flat(row, nearest))
        except KeyboardInterrupt:
            tell("stopped")
    return {
        **running.counts,
        "seconds": running.position,
        "alarm": running.alarms.active,
        "drift": running.drift and running.drift.report().to_dict(),
        "notes": notes,
    }


def _stream_detector(
    detector: Detector,
    machine: MachineModel,
    domain: str | None,
    nearest: int,
    options: StreamOptions,
    rate: int,
) -> StreamDetector:
    hop = detector.window_seconds / 2 if options.hop is None else options.hop
    m, n = _votes(options.votes)
    alarms = AlarmLogic(
        m=m,
        n=n,
        m_off=options.release,
        smoothing_seconds=options.smoothing,
        vote_seconds=n * hop,
        cool_down_seconds=options.cool_down,
    )
    threshold = json.dumps(machine.threshold(domain).to_dict())
    return StreamDetector(
        judge_of(detector, machine, domain, nearest),
        sample_rate=detector.embedder.sample_rate,
        window_seconds=detector.window_seconds,
        hop_seconds=hop,
        alarms=alarms,
        low_rate=rate < detector.embedder.sample_rate,
        drift=monitor_of(detector, machine, domain),
        state=options.state,
        identity={
            "model": detector.embedder.fingerprint,
            "machine": machine.name,
            "threshold": hashlib.blake2b(threshold.encode(), digest_size=16).hexdigest(),
        },
    )


def judge_of(detector: Detector, machine: MachineModel, domain: str | None, nearest: int) -> Judge:
    """Give the function that scores a window (T,) of a machine."""

    @torch.inference_mode()
    def judge(window: Tensor) -> WindowScore:
        embeddings = detector.embed([window])
        found = detector.judge(embeddings, machine, domain, nearest).row(0, named=True)
        sure = own_confidence(detector, machine, embeddings)
        return WindowScore(
            score=found["score"],
            p_value=found["p_value"],
            threshold=found["threshold"],
            nearest=tuple(zip(found["nearest"], found["nearest_cosine"], strict=True)),
            embedding=embeddings[0],
            confidence=None if sure is None else float(sure[0]),
        )

    return judge


def _votes(text: str) -> tuple[int, int]:
    m, slash, n = text.partition("/")
    if not (slash and m.isdecimal() and n.isdecimal()):
        raise UsageError(f"--votes {text}: expected M/N, such as 3/5")
    return int(m), int(n)


def _nearest_columns(nearest: int) -> list[str]:
    ranks = range(1, nearest + 1)
    return [name for rank in ranks for name in (f"nearest_{rank}", f"nearest_{rank}_cosine")]


def _flat(row: dict[str, Any], nearest: int) -> dict[str, Any]:
    flat = {name: row[name] for name in COLUMNS} | dict.fromkeys(_nearest_columns(nearest))
    for rank, (name, cosine) in enumerate(row["nearest"][:nearest], start=1):
        flat[f"nearest_{rank}"], flat[f"nearest_{rank}_cosine"] = name, cosine
    return flat


class _News:
    """Tell what changes: alarms, and the condition of the sensor."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._condition = "usable"

    def hear(self, row: dict[str, Any]) -> None:
        at = f"{row['time']} ({row['start']:.1f} s)"
        if row["condition"] != self._condition:
            self._condition = row["condition"]
            self._tell(f"{at}: the signal is {self._condition}")
        if row["event"] == "raised":
            like = f", most like {row['nearest'][0][0]}" if row["nearest"] else ""
            self._tell(
                f"{at}: ALARM, score {row['smoothed']:.4g} above {row['threshold']:.4g}{like}"
            )
        elif row["event"] == "cleared":
            self._tell(f"{at}: alarm cleared")
