"""List the rows of a CSV or Parquet table with a path column and label columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from tonotopy._errors import DataError, UsageError
from tonotopy.clips._columns import ColumnOptions, Columns, choose_columns, further_columns
from tonotopy.clips._listing import Entry, Listing, Rejected, label_path

TEXT_SUFFIXES = frozenset({".csv", ".tsv", ".txt"})
TABLE_SUFFIXES = TEXT_SUFFIXES | {".parquet"}

_SEPARATORS = (",", ";", "\t", "|")
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def list_table(table: Path, options: ColumnOptions, audio_folder: Path | None) -> Listing:
    """List the rows of `table`; paths are relative to `audio_folder`, by default to its own folder.

    Every file that is named is taken, whatever its suffix. A row that repeats path, label, fold and
    group of an earlier one is dropped; a row without a path goes to the quarantine. Further columns
    are kept as text, but for those of lists, structures or bytes.

    Raises:
        UsageError: A column is missing or cannot be guessed.
        DataError: The table cannot be read, or a row's labels go on after an empty cell; the
            message says what to do.
    """
    frame = _read_parquet(table) if table.suffix.lower() == ".parquet" else _read_text(table)
    columns = choose_columns(frame.columns, options, str(table))
    root = audio_folder or table.parent
    listing = Listing(root)
    paths, folds, groups = (
        _texts(frame, name, table) for name in (columns.path, columns.fold, columns.group)
    )
    labels = _labels(frame, columns, table)
    further = _further(frame, columns, table)
    entries: dict[Entry, None] = {}
    rows = zip(paths, labels, folds, groups, further, strict=True)
    for number, (path, label, fold, group, others) in enumerate(rows, start=1):
        if path:
            entry = Entry(_resolve(path, root), label, fold or None, group or None, others)
            entries.setdefault(entry)
        else:
            detail = f"column {columns.path!r} is empty"
            listing.rejected.append(Rejected(f"{table.name}, row {number}", "unreadable", detail))
    listing.entries = list(entries)
    return listing


def _labels(frame: pl.DataFrame, columns: Columns, table: Path) -> Iterable[tuple[str, ...]]:
    if len(columns.labels) == 1 and isinstance(frame.schema[columns.labels[0]], pl.List):
        names = frame[columns.labels[0]].cast(pl.List(pl.String)).to_list()
        return [_whole_path(row or (), at, table) for at, row in enumerate(names, start=1)]
    if not columns.labels:
        return [()] * len(frame)
    texts = [_texts(frame, name, table) for name in columns.labels]
    rows = enumerate(zip(*texts, strict=True), start=1)
    return [_whole_path(names, at, table) for at, names in rows]


def _whole_path(names: Sequence[str | None], row: int, table: Path) -> tuple[str, ...]:
    """Give the label path of a row, unless there is a finer label behind an empty one."""
    path = label_path(names)
    lost = next((name for name in names[len(path) :] if name and name.strip()), None)
    if lost is not None:
        raise DataError(
            f"{table}, row {row}: the label {lost!r} follows an empty one; write the coarser one, "
            "or name fewer --label_columns"
        )
    return path


def _further(frame: pl.DataFrame, columns: Columns, table: Path) -> Iterable[dict[str, str | None]]:
    """Give the texts of further columns, by name, for every row."""
    kept = {
        kept_as: [text or None for text in _texts(frame, name, table)]
        for name, kept_as in further_columns(frame.columns, columns).items()
        if _has_text(frame.schema[name])
    }
    return ({name: texts[row] for name, texts in kept.items()} for row in range(len(frame)))


def _has_text(dtype: pl.DataType) -> bool:
    return not (dtype.is_nested() or dtype in (pl.Binary, pl.Object, pl.Duration))


def _texts(frame: pl.DataFrame, column: str | None, table: Path) -> list[str | None]:
    """Give a column as text without surrounding blanks; nulls where there is no such column."""
    if column is None:
        return [None] * len(frame)
    dtype = frame.schema[column]
    if not _has_text(dtype):
        raise UsageError(f"column {column!r} of {table} holds {dtype}: expected text or numbers")
    return frame[column].cast(pl.String).str.strip_chars().to_list()


def _resolve(path: str, root: Path) -> str:
    """Read `\\` as a separator where the table was made on Windows and is read elsewhere."""
    if "\\" in path and not (root / path).exists():
        return path.replace("\\", "/")
    return path


def _read_parquet(table: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(table)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{table} cannot be read as Parquet: {error}") from error


def _read_text(table: Path) -> pl.DataFrame:
    """Read separated text, every column as text: labels such as `007` stay as they are."""
    text = _decode(table)
    header = text.lstrip("\r\n").split("\n", 1)[0]
    separator = max(_SEPARATORS, key=lambda mark: len(next(csv.reader([header], delimiter=mark))))
    try:
        frame = pl.read_csv(
            io.BytesIO(text.encode()), separator=separator, infer_schema=False, raise_if_empty=True
        )
    except pl.exceptions.NoDataError as error:
        raise DataError(f"{table} is empty: expected a header row and one row a clip") from error
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{table} cannot be read as CSV: {error}") from error
    return frame.rename({name: name.strip() for name in frame.columns})


def _decode(table: Path) -> str:
    try:
        data = table.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {table}: {error.strerror or error}") from error
    encodings = (name for mark, name in _BYTE_ORDER_MARKS.items() if data.startswith(mark))
    try:
        return data.decode(next(encodings, "utf-8"))
    except UnicodeDecodeError as error:
        # Guessing another encoding would misspell labels without a word.
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{table} is not UTF-8 (line {line}, byte 0x{data[error.start]:02x}): save it as "
            "'CSV UTF-8', or convert it, e.g. with `iconv -f cp1252 -t utf-8`"
        ) from error
