"""A log that grows on disk and not in memory: a row at a time to CSV or JSON Lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from tonotopy._errors import UsageError
from tonotopy._files import finite

SUFFIXES = (".csv", ".jsonl")


class RowLog:
    """Append rows to a file, each at once and whole; a log that exists is continued.

    The rest of a row that a power cut has left is taken away.

    Args:
        path: A `.csv` or `.jsonl` file. Missing parent folders are made.
        columns: Keys of every row, in the order of the file.

    Raises:
        UsageError: The name ends in neither, or the file has other columns.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with RowLog(Path(folder) / "log.csv", ["start", "decision"]) as log:
        ...         log.write({"start": 0.0, "decision": "normal"})
        ...     (Path(folder) / "log.csv").read_text().split()
        ['start,decision', '0.0,normal']
    """

    def __init__(self, path: Path | str, columns: list[str]) -> None:
        self._path = Path(path)
        self._columns = columns
        self._csv = self._path.suffix.lower() == ".csv"
        if self._path.suffix.lower() not in SUFFIXES:
            raise UsageError(f"{path}: a log's name must end in {' or '.join(SUFFIXES)}")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        _drop_unfinished_row(self._path)
        self._check_columns()
        self._file = self._path.open("a", encoding="utf-8", newline="")
        if self._csv and self._file.tell() == 0:
            self._append(columns)

    def _check_columns(self) -> None:
        if not self._path.is_file() or self._path.stat().st_size == 0:
            return
        with self._path.open(encoding="utf-8", newline="") as file:
            first = file.readline()
        found = next(csv.reader([first])) if self._csv else list(json.loads(first))
        if found != self._columns:
            raise UsageError(
                f"{self._path} is a log with other columns ({', '.join(found)}): name another file"
            )

    def write(self, row: Mapping[str, Any]) -> None:
        """Append a row and hand it to the operating system."""
        values = finite({name: row[name] for name in self._columns})
        if self._csv:
            self._append(list(values.values()))
        else:
            self._file.write(json.dumps(values, ensure_ascii=False) + "\n")
            self._file.flush()

    def _append(self, values: list[Any]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(values)
        self._file.write(line.getvalue())
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> RowLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _drop_unfinished_row(path: Path, block: int = 4096) -> None:
    if not path.is_file():
        return
    with path.open("rb+") as file:
        end = file.seek(0, io.SEEK_END)
        while end:
            start = max(0, end - block)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                file.truncate(start + newline + 1)
                return
            end = start
        file.truncate(0)
