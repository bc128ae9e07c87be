"""Find the clips of a source, open every one, and set aside what cannot be used."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from tonotopy._errors import AudioError, DataError, UsageError
from tonotopy._progress import track
from tonotopy.audio import content_hash, decode, probe
from tonotopy.clips._folder import list_folder
from tonotopy.clips._huggingface import is_huggingface_folder, list_huggingface
from tonotopy.clips._listing import Entry, Listing, Rejected
from tonotopy.clips._tabular import TABLE_SUFFIXES, list_table
from tonotopy.clips.table import CLIP_SCHEMA, QUARANTINE_SCHEMA, ClipTable, is_clip_table


def scan(
    data: Path | str,
    *,
    path_column: str | None = None,
    label_columns: Sequence[str] | None = None,
    fold_column: str | None = None,
    group_column: str | None = None,
) -> ClipTable:
    """List the clips of a source and decode each once.

    Args:
        data: A folder whose nested sub-folders are labels, a CSV or Parquet table, or a Hugging
            Face data set saved on disk.
        path_column: Column of audio files; guessed by its name when None.
        label_columns: Columns of labels, coarse to fine; guessed when None. An empty cell ends a
            label.
        fold_column: Column of given folds; `fold`, if there is one, when None.
        group_column: Column of what a split must keep together; `group` when None.

    Returns:
        The clips, sorted by path, and the files that cannot be used in `quarantine`.

    Raises:
        UsageError: There is nothing at `data`, or columns cannot be found.
        DataError: No clip can be used.
    """
    data = Path(data)
    columns = {
        "path_column": path_column,
        "label_columns": label_columns,
        "fold_column": fold_column,
        "group_column": group_column,
    }
    if data.is_dir() and is_huggingface_folder(data):
        listing = list_huggingface(data, **columns)  # type: ignore[arg-type]  # one dict, four types
    elif data.is_dir():
        listing = list_folder(data)
    elif data.suffix.lower() in TABLE_SUFFIXES and data.is_file():
        listing = list_table(data, **columns)  # type: ignore[arg-type]  # one dict, four types
    else:
        raise UsageError(
            f"cannot read {data}: expected a folder of audio, a table "
            f"({', '.join(sorted(TABLE_SUFFIXES))}) or a saved Hugging Face data set"
        )
    return open_clips(listing, data)


def load_clips(data: Path | str) -> ClipTable:
    """Read the table of an earlier scan, or scan."""
    data = Path(data)
    if data.is_file() and data.suffix == ".parquet" and is_clip_table(data):
        return ClipTable.read(data)
    return scan(data)


def scan_files(
    root: Path, rows: Iterable[tuple[str, Sequence[str], str | None, str | None]]
) -> ClipTable:
    """Open files that are named one by one, as a data set's own lists do.

    Args:
        root: The folder that paths are relative to.
        rows: Path, label, fold and group of each clip.

    Raises:
        DataError: No clip can be used.
    """
    entries = [Entry(path, tuple(label), fold, group) for path, label, fold, group in rows]
    return open_clips(Listing(root, entries), root)


def open_clips(listing: Listing, source: Path) -> ClipTable:
    """Decode every listed file and make the table.

    Raises:
        DataError: No clip can be used; the message says why.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        opened = pool.map(partial(_open, listing.root), listing.entries)
        results = list(track(opened, label="Scanning", total=len(listing.entries)))
    rejected = listing.rejected + [item for item in results if isinstance(item, Rejected)]
    rows = [item for item in results if not isinstance(item, Rejected)]
    quarantine = pl.DataFrame(
        [(item.path, item.reason, item.detail) for item in rejected],
        schema=QUARANTINE_SCHEMA,
        orient="row",
    )
    if not rows:
        raise DataError(_nothing(source, quarantine))
    frame = pl.DataFrame(rows, schema=CLIP_SCHEMA, orient="row").sort("path", maintain_order=True)
    return ClipTable(frame, listing.root.absolute(), quarantine, listing.ignored)


def _open(root: Path, entry: Entry) -> tuple[Any, ...] | Rejected:
    path = root / entry.path
    try:
        info = probe(path)
        decode(path, info.sample_rate)
        content = content_hash(path)
    except AudioError as error:
        return Rejected(entry.path, error.reason, error.detail)
    return (
        entry.path,
        content,
        list(entry.label),
        info.seconds,
        info.sample_rate,
        info.channels,
        entry.fold,
        entry.group,
    )


def _nothing(source: Path, quarantine: pl.DataFrame) -> str:
    if not len(quarantine):
        return (
            f"{source} holds no audio: expected WAV, FLAC, OGG or MP3 files, in sub-folders that "
            "are their labels"
        )
    path, reason, detail = quarantine.row(0)
    return (
        f"none of the {len(quarantine)} audio files in {source} can be used; the first is {path}: "
        f"{reason} ({detail})"
    )
