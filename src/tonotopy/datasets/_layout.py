"""Checks of official layouts: the folder, and the columns of a table in it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from tonotopy._errors import DataError, UsageError


def check_layout(folder: Path, layout: Sequence[str], name: str) -> None:
    """See whether a folder holds what the official one holds.

    Args:
        folder: What the user gave.
        layout: Files and folders (with a slash at the end) that must be in it.
        name: The data set's name, for the message.

    Raises:
        UsageError: Something is missing. The message names it, and a sub-folder that has it all.
    """
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}: expected {name} in its official layout there")
    missing = _missing(folder, layout)
    if not missing:
        return
    message = (
        f"{folder} does not look like {name}: expected {', '.join(layout)} in it, "
        f"found no {', no '.join(missing)}"
    )
    complete = [child for child in sorted(folder.glob("[!.]*")) if not _missing(child, layout)]
    raise UsageError(f"{message}; did you mean {complete[0]}?" if complete else message)


def read_rows(table: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read an official CSV table.

    Args:
        table: The file: UTF-8, commas, a header row.
        columns: The columns that are needed.

    Returns:
        A dictionary of columns to texts for every row.

    Raises:
        DataError: It is no UTF-8 text, a column is missing, or a row is short; the message names
            the line.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames or []
            missing = [name for name in columns if name not in header]
            if missing:
                raise DataError(
                    f"{table} is not the official table: it has no column {', '.join(missing)}; "
                    f"its columns are {', '.join(header)}"
                )
            rows = []
            for row in reader:
                if any(row[name] is None for name in columns):
                    raise DataError(f"{table} is damaged: line {reader.line_num} is short")
                rows.append(row)
            return rows
    except UnicodeDecodeError as error:
        raise DataError(f"{table} is not the official table: it is not UTF-8 ({error})") from error


def _missing(folder: Path, layout: Sequence[str]) -> list[str]:
    return [
        name
        for name in layout
        if not ((folder / name).is_dir() if name.endswith("/") else (folder / name).is_file())
    ]
