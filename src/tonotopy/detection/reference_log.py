"""Register new normal clips as references, undo it, and keep an account of both."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import polars as pl

from tonotopy._errors import DataError, UsageError
from tonotopy.detection.references import References
from tonotopy.detection.row_log import RowLog

KEY = ["machine", "content", "start"]
"""Clips that agree in these are the same: a recording may have several windows and machines."""


@dataclass(frozen=True)
class ReferenceChange:
    """One line of the log.

    Args:
        id: Unique name of the change.
        time: When, ISO 8601 in UTC.
        action: `"register"` or `"undo"`.
        batch: Number of the batch that came or went, 1 or more; never used twice.
        machines: Clips that came or went, by machine: those whose scores change.
        skipped: Clips that were references already, by machine.
        contents: Hashes of the clips that came or went.
        note: What the user said about it.
        model: Fingerprint of the model of the embeddings.
    """

    id: str
    time: str
    action: Literal["register", "undo"]
    batch: int
    machines: Mapping[str, int]
    skipped: Mapping[str, int]
    contents: list[str]
    note: str
    model: str


class ReferenceLog:
    """Change a file of references, and note each change in a file that only grows.

    Nothing is trained: fit scorers and thresholds to the references that are given back. Undoing
    a registration gives exactly the references, and so the scores, of before.

    The references are written first, whole or not at all, and carry the line that the log is to
    get. So the log never tells of a change that did not happen, and a line that an interruption
    prevented is added when the log is next opened. Only one program at a time may make changes.

    Args:
        path: The references, as `References.write` leaves them. The log lies beside them, under the
            same name with the suffix `.jsonl`.

    Raises:
        DataError: The references or the log are missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = path.with_suffix(".jsonl")
        self._read()

    @property
    def references(self) -> References:
        """The references as they are now."""
        return References.read(self._path)

    @property
    def changes(self) -> list[ReferenceChange]:
        """All changes since the first, in order.

        Raises:
            DataError: A line is damaged; the message names it.
        """
        if not self._log.is_file():
            return []
        found = []
        # An unfinished last line is no change: its references carry it.
        for number, line in enumerate(self._log.read_text("utf-8").split("\n")[:-1], start=1):
            try:
                found.append(ReferenceChange(**json.loads(line)))
            except (ValueError, TypeError) as error:
                raise DataError(
                    f"{self._log}, line {number}, is damaged ({error}): repair the line, or move "
                    "the file away to begin a new log"
                ) from error
        return found

    def register(self, new: References, note: str = "") -> References:
        """Add normal clips; those that are references already are left out and counted.

        Args:
            new: Clips of any machines, embedded by the model of the references; their `batch` and
                `added` are set here.
            note: Why, for whoever reads the log.

        Returns:
            All references.

        Raises:
            UsageError: Nothing would be added, or a clip has no content hash or machine.
            DataError: The embeddings are of another model, or the disk refuses.
        """
        known = self._read()
        if new.model != known.model:
            raise DataError(
                f"the new clips were embedded by model {new.model[:8]}, the references in "
                f"{self._path} by model {known.model[:8]}: embed the clips with that one"
            )
        if new.frame.select("path", "content", "machine").null_count().sum_horizontal().item():
            raise UsageError("every new reference needs a path, a content hash and a machine")
        fresh = new.frame.unique(KEY, keep="first", maintain_order=True).join(
            known.frame, on=KEY, how="anti", nulls_equal=True, maintain_order="left"
        )
        if not len(fresh):
            raise UsageError(
                f"nothing to register: all of the {len(new)} clips are references already"
            )
        batch = 1 + max([0, *known.frame["batch"], *(change.batch for change in self.changes)])
        change = _change("register", batch, fresh, known.model, note, new.frame)
        fresh = fresh.with_columns(
            pl.lit(change.time).alias("added"), pl.lit(batch, pl.Int64).alias("batch")
        )
        return self._apply(pl.concat([known.frame, fresh.select(known.frame.columns)]), change)

    def undo(self, note: str = "") -> References:
        """Take back the last registration that still counts; again, the one before.

        Args:
            note: Why, for whoever reads the log.

        Returns:
            All references that are left.

        Raises:
            UsageError: No registered clips are left.
            DataError: The disk refuses.
        """
        known = self._read()
        batch = max([0, *known.frame["batch"]])
        if batch == 0:
            raise UsageError(f"nothing to undo: {self._path} holds the clips of the training only")
        gone = known.frame.filter(pl.col("batch") == batch)
        change = _change("undo", batch, gone, known.model, note, gone)
        return self._apply(known.frame.filter(pl.col("batch") != batch), change)

    def _read(self) -> References:
        """Read the references, and add the line that an interruption kept from the log."""
        found = self.references
        if found.last_change is not None:
            last = ReferenceChange(**found.last_change)
            if last.id not in {change.id for change in self.changes}:
                self._append(last)
        return found

    def _apply(self, frame: pl.DataFrame, change: ReferenceChange) -> References:
        changed = References(frame, change.model, asdict(change))
        changed.write(self._path)
        self._append(change)
        return changed

    def _append(self, change: ReferenceChange) -> None:
        try:
            with RowLog(self._log, [field.name for field in fields(change)]) as log:
                log.write(asdict(change))
            with self._log.open("rb+") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise DataError(
                f"cannot write {self._log} ({error}): the references have changed, and the line "
                "about it is added when the log can be written again"
            ) from error


def _change(
    action: Literal["register", "undo"],
    batch: int,
    rows: pl.DataFrame,
    model: str,
    note: str,
    offered: pl.DataFrame,
) -> ReferenceChange:
    machines, all_offered = _by_machine(rows), _by_machine(offered)
    skipped = {name: count - machines.get(name, 0) for name, count in all_offered.items()}
    return ReferenceChange(
        uuid.uuid4().hex,
        datetime.now(UTC).isoformat(timespec="seconds"),
        action,
        batch,
        machines,
        {name: count for name, count in skipped.items() if count},
        rows["content"].to_list(),
        note,
        model,
    )


def _by_machine(rows: pl.DataFrame) -> dict[str, int]:
    return dict(rows.group_by("machine").len().sort("machine").rows())
