"""Data of any layout to a `ClipTable`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tonotopy._errors import DataError, UsageError
from tonotopy.clips._checking import check_files
from tonotopy.clips._columns import ColumnOptions
from tonotopy.clips._folder import list_folder
from tonotopy.clips._huggingface import is_hugging_face_folder, list_hugging_face
from tonotopy.clips._listing import Entry, Listing, label_path
from tonotopy.clips._tabular import TABLE_SUFFIXES, list_table
from tonotopy.clips.table import ClipTable, is_clip_table


def scan(
    data: Path | str,
    *,
    path_column: str | None = None,
    label_columns: Sequence[str] | str | None = None,
    fold_column: str | None = None,
    group_column: str | None = None,
    audio_folder: Path | None = None,
    extract_to: Path | None = None,
) -> ClipTable:
    """List the clips of `data` with their labels, and decode each once to see that it is usable.

    A file that cannot be used never stops a scan: it is listed in the quarantine with its reason
    (`"empty"`, `"corrupt"`, `"zero-length"`, `"NaN"` or `"unreadable"`).

    Args:
        data: One of

            - a folder; the nested sub-folders on the way to a WAV, FLAC, OGG or MP3 file are its
              label from coarse to fine. Hidden files and folders are skipped;
            - a CSV or Parquet table with a column of paths and columns of labels. CSV is UTF-8 or
              has a byte order mark; commas, semicolons, tabs or bars separate. An empty label
              ends the label path of its row, and none may follow it. Further columns are kept as
              text, one called like a column of a clip table as `NAME_in_table`;
            - a Hugging Face data set saved by `save_to_disk`; the names of splits become folds,
              and further columns are kept as with a table;
            - the table that an earlier scan wrote: it is read, and not scanned again.
        path_column: Column of paths, or the audio column of a Hugging Face data set. Default:
            guessed by its name.
        label_columns: Columns of labels, coarse to fine; `[]` for none. Default: guessed, one.
        fold_column: Column of given folds. Default: `fold`, if there is one.
        group_column: Column of what must stay together in a split. Default: `group`, if there is
            one.
        audio_folder: What the paths of a table are relative to. Default: the table's folder.
        extract_to: Where the files go whose bytes a Hugging Face data set holds. Default: a folder
            of its own in `$TONOTOPY_CACHE` or `~/.cache/tonotopy`.

    Returns:
        The clips, sorted by path.

    Raises:
        UsageError: `data` does not exist or is of no known kind, a column is missing or cannot be
            guessed, or an option does not go with this kind of data.
        DataError: There is not one usable clip, or the table is damaged or has a row whose labels
            go on after an empty one.
        MissingExtraError: Hugging Face's library is needed and not installed.
    """
    data = Path(data)
    labels = [label_columns] if isinstance(label_columns, str) else label_columns
    options = ColumnOptions(path_column, labels, fold_column, group_column)
    if not data.exists():
        raise UsageError(f"no such file or folder: {data}")
    if data.suffix.lower() == ".parquet" and data.is_file() and is_clip_table(data):
        _refuse(options.given, "the table of an earlier scan", data)
        return _read_table(data)
    return _check(_list(data.absolute(), options, audio_folder, extract_to), data)


def scan_files(
    root: Path | str, files: Iterable[tuple[str, Sequence[str], str | None, str | None]]
) -> ClipTable:
    """Decode files that are known already, with labels, and make their table.

    Args:
        root: The folder that paths are relative to.
        files: `(path, label from coarse to fine, fold, group)` of each.

    Returns:
        The clips, sorted by path; files that cannot be used are in its quarantine.

    Raises:
        DataError: There is not one usable clip.
    """
    root = Path(root)
    entries = [Entry(path, label_path(label), fold, group) for path, label, fold, group in files]
    return _check(Listing(root.absolute(), entries), root)


def load_clips(data: Path | str, *, labelled: bool = True) -> ClipTable:
    """Give the clips of `data`: anything that `scan` reads, with all columns guessed.

    Args:
        data: As `scan`.
        labelled: Whether labels are needed. Without, a table is read in which no column seems to
            hold any.

    Raises:
        UsageError: As `scan`.
        DataError: As `scan`.
    """
    try:
        return scan(data)
    except UsageError:
        if labelled or Path(data).suffix.lower() not in TABLE_SUFFIXES:
            raise
        return scan(data, label_columns=[])  # what else is wrong with it is an error again


def _check(listing: Listing, data: Path) -> ClipTable:
    table = check_files(listing)
    if not len(table):
        raise DataError(_nothing_usable(data, table))
    return table


def _list(
    data: Path, options: ColumnOptions, audio_folder: Path | None, extract_to: Path | None
) -> Listing:
    is_hugging_face = is_hugging_face_folder(data)
    is_table = data.is_file() and data.suffix.lower() in TABLE_SUFFIXES
    if audio_folder is not None and not is_table:
        _refuse(["--audio_folder"], "no table", data)
    if extract_to is not None and not is_hugging_face:
        _refuse(["--extract_to"], "no Hugging Face data set", data)
    if is_hugging_face:
        return list_hugging_face(data, options, extract_to)
    if is_table:
        return list_table(data, options, audio_folder.absolute() if audio_folder else None)
    if data.is_dir():
        _refuse(options.given, "a folder, whose sub-folders are the labels", data)
        return list_folder(data)
    raise UsageError(
        f"{data} is no kind of data that can be scanned: expected a folder of audio, a CSV or "
        "Parquet table, or a Hugging Face data set saved on disk"
    )


def _refuse(options: Sequence[str], kind: str, data: Path) -> None:
    if options:
        raise UsageError(f"{data} is {kind}: {', '.join(options)} cannot be used with it")


def _read_table(path: Path) -> ClipTable:
    table = ClipTable.read(path)
    if not table.root.is_dir():
        raise DataError(
            f"the audio of {path} was in {table.root}, which is not there now: bring it back, or "
            "scan it again where it is"
        )
    return table


def _nothing_usable(data: Path, table: ClipTable) -> str:
    found = []
    if len(table.quarantine):
        reasons = Counter(table.quarantine["reason"]).most_common()
        path, reason, detail = table.quarantine.row(0)
        counts = ", ".join(f"{count} {name}" for name, count in reasons)
        found.append(f"{counts} (the first: {path}: {reason}, {detail})")
    if table.ignored:
        counts = ", ".join(f"{count} {suffix}" for suffix, count in table.ignored.items())
        found.append(f"files of other kinds ({counts})")
    message = (
        f"no usable audio in {data}: expected WAV, FLAC, OGG or MP3 files, found "
        f"{' and '.join(found) or 'nothing'}"
    )
    if data.is_file():
        message += f"; its paths are taken relative to {table.root}, --audio_folder changes that"
    return message
