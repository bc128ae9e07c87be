"""What is normal now: add recordings to a detector's references, or take them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
import torch

from tonotopy._errors import AudioError, DataError, UsageError
from tonotopy._progress import track
from tonotopy.clips import ClipTable, window_clips
from tonotopy.clips.table import QUARANTINE_SCHEMA
from tonotopy.detection import (
    FOLDER,
    Detector,
    ReferenceChange,
    ReferenceLog,
    References,
)
from tonotopy.detection.detector import REFERENCES_FILE
from tonotopy.protocols._window_reading import gather_for, read_windows
from tonotopy.protocols.machine_scores import update_run

Domain = Literal["source", "target"]

SHARD = 256
"""Windows that are held in memory at once."""


@dataclass(frozen=True)
class NormalChange:
    """What was changed, and which thresholds moved by it.

    Args:
        change: The line of the log.
        before: Machine to its threshold before.
        after: Machine to its threshold after.
        quarantine: Files that could not be used: `path`, `reason`, `detail`.
    """

    change: ReferenceChange
    before: dict[str, float]
    after: dict[str, float]
    quarantine: pl.DataFrame


def add_normals(
    run: Path,
    audio: Sequence[Path],
    *,
    command: str,
    machine: str | None = None,
    domain: Domain | None = "target",
    note: str = "",
) -> NormalChange:
    """Register recordings as normal; nothing is trained, thresholds are calibrated anew.

    Args:
        run: A run with a detector.
        audio: Files, or anything that `tonotopy scan` reads.
        command: What the user typed.
        machine: Whose they are. Default: the only one there is, or what file names say.
        domain: Their domain: `"target"`, every clip a reference of its own also for k-means.
        note: Why, for the log.

    Raises:
        UsageError: The run has no detector, the machine of a file is not known, or all clips are
            references already.
        DataError: No file can be used.
    """
    detector = Detector.load(run)
    clips = window_clips(gather_for(detector, audio, machine), detector.window_seconds)
    strange = clips.filter(pl.col("machine").is_null())
    if len(strange):
        raise UsageError(
            f"{len(strange)} recordings are of no machine that is known, such as "
            f"{strange.paths[0]}: name it with --machine ({', '.join(detector.names[:10])})"
        )
    rows, unusable = _embed_usable(detector, clips)
    quarantine = pl.concat([clips.quarantine, unusable])
    if rows.is_empty():
        _, reason, detail = quarantine.row(0)
        raise DataError(
            f"nothing can be normal here: {len(quarantine)} windows or files cannot be used (the "
            f"first: {reason}, {detail})"
        )
    rows = rows.with_columns(
        pl.lit(domain, dtype=pl.String).alias("domain"),
        pl.lit(None, dtype=pl.String).alias("attributes"),
    )
    log = _log(run)
    known = log.register(References.from_frame(rows, detector.embedder), note)
    return _refit(run, detector, known, log, command, quarantine)


def _embed_usable(detector: Detector, clips: ClipTable) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Embed the windows whose signal can be judged; silence must not become normal.

    Returns:
        Their rows with `embedding`, and the others as a quarantine.
    """
    rows, bad = [], []
    for at in track(range(0, len(clips), SHARD), label="Embedding"):
        frame = clips.frame.slice(at, SHARD)
        read = read_windows(detector, frame)
        usable = [not isinstance(one, AudioError) and one[1] == "usable" for one in read]
        waves = [torch.from_numpy(one[0]) for one in read if not isinstance(one, AudioError)]
        states = [one[1] for one in read if not isinstance(one, AudioError)]
        waves = [wave for wave, state in zip(waves, states, strict=True) if state == "usable"]
        dim = detector.embedder.embedding_dim
        vectors = detector.embed(waves) if waves else torch.empty(0, dim)
        embedding = pl.Series("embedding", vectors.numpy(), dtype=pl.Array(pl.Float32, dim))
        rows.append(frame.filter(pl.Series(usable)).with_columns(embedding))
        for path, one in zip(frame["path"], read, strict=True):
            if isinstance(one, AudioError):
                bad.append((path, one.reason, one.detail))
            elif one[1] != "usable":
                bad.append((path, one[1], "such a window is never normal"))
    return pl.concat(rows), pl.DataFrame(bad, schema=QUARANTINE_SCHEMA, orient="row")


def undo_normals(run: Path, *, command: str, note: str = "") -> NormalChange:
    """Take back the recordings that were registered last; again, those before.

    Raises:
        UsageError: The run has no detector, or nothing was registered.
    """
    detector = Detector.load(run)
    log = _log(run)
    known = log.undo(note)
    empty = pl.DataFrame(schema=QUARANTINE_SCHEMA)
    return _refit(run, detector, known, log, command, empty)


def list_changes(run: Path) -> list[ReferenceChange]:
    """Give all changes of a detector's references, in order.

    Raises:
        UsageError: The run has no detector.
    """
    Detector.load(run)
    return _log(run).changes


def _log(run: Path) -> ReferenceLog:
    return ReferenceLog(run / FOLDER / REFERENCES_FILE)


def _refit(
    run: Path,
    old: Detector,
    known: References,
    log: ReferenceLog,
    command: str,
    quarantine: pl.DataFrame,
) -> NormalChange:
    new = Detector.fit(old.embedder, known, old.held_out, old.options, old.classes)
    new.save(run)
    update_run(run, new, command=command)
    change = log.changes[-1]
    before, after = (
        {name: detector.machine(name).threshold().value for name in change.machines}
        for detector in (old, new)
    )
    return NormalChange(change, before, after, quarantine)
