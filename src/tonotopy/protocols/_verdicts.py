"""What a detector says of a window, as columns of a table, and what to know before trusting it."""

from __future__ import annotations

from typing import Any

import polars as pl

from tonotopy.detection.machine_model import MachineModel


def flat_verdict(verdict: dict[str, Any], nearest: int) -> dict[str, Any]:
    """Give a row of `Detector.judge` as columns of a table, its lists taken apart."""
    row = {name: verdict[name] for name in ("score", "p_value", "threshold")}
    row |= {name: verdict[name] for name in ("sounds_like", "confidence", "other_machine")}
    examples = zip(
        verdict["nearest"], verdict["nearest_start"], verdict["nearest_cosine"], strict=True
    )
    for rank, (path, start, cosine) in enumerate(list(examples)[:nearest], start=1):
        row[f"nearest_{rank}"] = path
        row[f"nearest_{rank}_start"] = start
        row[f"nearest_{rank}_cosine"] = cosine
    return row


def nearest_schema(nearest: int) -> dict[str, pl.DataType]:
    """Give the columns that `flat_verdict` makes of the nearest normal examples."""
    schema: dict[str, pl.DataType] = {}
    for rank in range(1, nearest + 1):
        schema[f"nearest_{rank}"] = pl.String()
        schema[f"nearest_{rank}_start"] = pl.Float64()
        schema[f"nearest_{rank}_cosine"] = pl.Float64()
    return schema


def threshold_notes(machine: MachineModel, domain: str | None) -> list[str]:
    """Say what a user must know of a machine's threshold before trusting it."""
    notes = []
    if domain is not None and domain not in machine.thresholds:
        notes.append(
            f"{machine.name} has no threshold for the domain {domain!r} (too few clips to "
            "calibrate one): that for all domains is used"
        )
    threshold = machine.threshold(domain)
    if threshold.never_alarms:
        notes.append(f"{machine.name}: {threshold.guarantee}")
    return notes
