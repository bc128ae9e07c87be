"""Do recordings still sound like those that a detector was calibrated on?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor

from tonotopy._errors import AudioError, UsageError
from tonotopy._progress import track
from tonotopy.clips import ClipTable, window_clips
from tonotopy.detection import Detector, DriftMonitor, MachineModel, sensitivity
from tonotopy.protocols._drift_monitors import monitor_of, own_confidence
from tonotopy.protocols._machine_choice import MACHINE
from tonotopy.protocols._verdicts import threshold_notes
from tonotopy.protocols._window_reading import gather_for, read_windows

SHARD = 64
"""Windows in memory at once."""

SENSITIVITY_WINDOWS = 20
"""Accepted windows of each machine that are made louder, softer, faster and slower."""


@dataclass
class _Heard:
    """What has been heard of one machine."""

    monitor: DriftMonitor | None
    examples: list[Tensor] = field(default_factory=list)
    windows: int = 0
    unusable: int = 0


def measure_drift(
    run: str | Path,
    audio: Sequence[Path],
    *,
    machine: str | None = None,
    domain: str | None = None,
) -> dict[str, Any]:
    """Compare recordings with the calibration of a run's detector, machine by machine.

    Windows do not overlap. Only usable ones count: what is silent, missing or clipped is no normal
    operation, whatever it scores.

    Args:
        run: A run of `tonotopy fit --task anomaly`.
        audio: Files, or anything that `tonotopy scan` reads.
        machine: The machine of all recordings. Default: the only one, or what names and folders
            say.
        domain: `source` or `target`: take its threshold, where there is one.

    Returns:
        `machines`: by name `windows`, `unusable`, `drift` (the fields of `DriftReport`; None where
        the calibration has too few scores) and `sensitivity` (rows of `sensitivity`, None without
        accepted windows); `quarantined`; `notes`.

    Raises:
        UsageError: The run has no detector, or knows none of the machines.
        DataError: No file can be used.
    """
    detector = Detector.load(run)
    clips = gather_for(detector, audio, machine)
    windows = window_clips(clips, detector.window_seconds)
    known = windows.filter(pl.col(MACHINE).is_not_null())
    if not len(known):
        raise UsageError(
            f"none of the {len(clips)} clips is of a machine that the run knows: name it with "
            f"--machine, one of {', '.join(detector.names[:20])}"
        )
    failed: list[dict[str, str]] = []
    machines, notes = {}, []
    for name in sorted(known.frame[MACHINE].unique()):
        model = detector.machine(name)
        notes += threshold_notes(model, domain)
        own = known.filter(pl.col(MACHINE) == name)
        heard = _listen(detector, model, own, domain, failed)
        if heard.monitor is None:
            notes.append(f"{name}: too few calibration scores to measure drift: add normal clips")
        machines[name] = _about(detector, model, heard, domain)
    if unknown := len(set(windows.paths) - set(known.paths)):
        notes.append(f"{unknown} clips are of no machine that the run knows, and were left out")
    quarantined = [*clips.quarantine.to_dicts(), *failed]
    return {"machines": machines, "quarantined": quarantined, "notes": notes}


def _listen(
    detector: Detector,
    machine: MachineModel,
    windows: ClipTable,
    domain: str | None,
    failed: list[dict[str, str]],
) -> _Heard:
    heard = _Heard(monitor_of(detector, machine, domain))
    stride = max(1, len(windows) // SENSITIVITY_WINDOWS)
    starts = range(0, len(windows), SHARD)
    for start in track(starts, label=f"Listening to {machine.name}", total=len(starts)):
        frame = windows.frame.slice(start, SHARD)
        usable = []
        for path, window in zip(frame["path"], read_windows(detector, frame), strict=True):
            if isinstance(window, AudioError):
                failed.append({"path": path, "reason": window.reason, "detail": window.detail})
            elif window[1] == "usable":
                usable.append(torch.from_numpy(window[0]))
        heard.windows += len(frame)
        heard.unusable += len(frame) - len(usable)
        if usable:
            _take(detector, machine, usable, domain, heard, stride)
    return heard


def _take(
    detector: Detector,
    machine: MachineModel,
    waves: list[Tensor],
    domain: str | None,
    heard: _Heard,
    stride: int,
) -> None:
    embeddings = detector.embed(waves)
    scores = machine.score(embeddings)
    sure = own_confidence(detector, machine, embeddings)
    for row, rejected in enumerate(machine.threshold(domain).exceeded(scores).tolist()):
        if rejected:
            if heard.monitor is not None:
                heard.monitor.reject()
            continue
        if heard.monitor is not None:
            confidence = None if sure is None else float(sure[row])
            heard.monitor.add(float(scores[row]), embeddings[row], confidence)
        if row % stride == 0 and len(heard.examples) < SENSITIVITY_WINDOWS:
            heard.examples.append(waves[row])


def _about(
    detector: Detector, machine: MachineModel, heard: _Heard, domain: str | None
) -> dict[str, Any]:
    table = None
    if heard.examples:
        table = sensitivity(
            heard.examples,
            lambda waves: machine.score(detector.embed(waves)),
            machine.threshold(domain).value,
        ).to_dicts()
    return {
        "windows": heard.windows,
        "unusable": heard.unusable,
        "drift": None if heard.monitor is None else heard.monitor.report().to_dict(),
        "sensitivity": table,
    }
