"""List the clips of a CSV or Parquet table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tonotopy._errors import DataError, UsageError
from tonotopy.clips._listing import Entry, Listing, label_path

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".parquet"})
PATH_NAMES = (
    "path",
    "file",
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "audio",
    "clip",
    "wav",
)
LABEL_NAMES = ("label", "labels", "class", "category", "species", "target", "tag")


def list_table(
    table: Path,
    *,
    path_column: str | None,
    label_columns: Sequence[str] | None,
    fold_column: str | None,
    group_column: str | None,
) -> Listing:
    """List the rows of a table; paths are relative to its folder.

    Raises:
        UsageError: A column that was named does not exist, or none can be guessed.
        DataError: The table cannot be read.
    """
    frame = _read(table)
    columns = frame.columns
    path = _column(columns, path_column, PATH_NAMES, "path_column", table)
    labels = _label_columns(columns, label_columns, table)
    fold = _optional(columns, fold_column, "fold", "fold_column", table)
    group = _optional(columns, group_column, "group", "group_column", table)

    listing = Listing(table.parent)
    missing = [""] * len(frame)
    values = {
        name: frame[column].cast(pl.String).to_list() if column else missing
        for name, column in (("path", path), ("fold", fold), ("group", group))
    }
    paths = zip(*(frame[column].cast(pl.String).to_list() for column in labels), strict=True)
    for row, names in enumerate(paths):
        listing.entries.append(
            Entry(
                values["path"][row] or "",
                label_path(names),
                values["fold"][row] or None,
                values["group"][row] or None,
            )
        )
    return listing


def _read(table: Path) -> pl.DataFrame:
    try:
        if table.suffix.lower() == ".parquet":
            return pl.read_parquet(table)
        text = table.read_bytes().decode("utf-8-sig")
        header = text.split("\n", 1)[0]
        separator = max((",", ";", "\t"), key=header.count)
        # Text throughout: "007" is a name, not the number 7.
        return pl.read_csv(text.encode(), separator=separator, infer_schema=False)
    except UnicodeDecodeError as error:
        raise DataError(f"{table} is not UTF-8 text: save it with that encoding") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"cannot read the table {table}: {error}") from error


def _column(
    columns: list[str], named: str | None, guesses: Sequence[str], option: str, table: Path
) -> str:
    if named is not None:
        if named not in columns:
            raise UsageError(
                f"--{option}: {table} has no column {named!r}; it has {', '.join(columns)}"
            )
        return named
    by_lower = {column.lower(): column for column in columns}
    for guess in guesses:
        if guess in by_lower:
            return by_lower[guess]
    raise UsageError(f"name the column with --{option}: {table} has {', '.join(columns)}")


def _label_columns(columns: list[str], named: Sequence[str] | None, table: Path) -> list[str]:
    if named:
        return [_column(columns, name, (), "label_columns", table) for name in named]
    return [_column(columns, None, LABEL_NAMES, "label_columns", table)]


def _optional(
    columns: list[str], named: str | None, default: str, option: str, table: Path
) -> str | None:
    if named is not None:
        return _column(columns, named, (), option, table)
    return default if default in columns else None
