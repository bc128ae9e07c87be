"""Which column of a table is the path, which are labels: as told, or guessed by their names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tonotopy._errors import UsageError
from tonotopy.clips.table import CLIP_SCHEMA

PATH_NAMES = (
    "path",
    "file",
    "filename",
    "filepath",
    "file_name",
    "file_path",
    "audio",
    "audio_path",
    "audio_file",
    "audio_filename",
    "audio_filepath",
    "clip",
    "clip_path",
    "clip_name",
    "wav",
    "wav_path",
    "fname",
    "slice_file_name",
)
"""The likeliest first, as in the names of the other columns below."""

LABEL_NAMES = (
    "label",
    "labels",
    "class",
    "class_name",
    "classname",
    "class_label",
    "category",
    "species",
    "tag",
    "target",
    "class_id",
    "classid",
)

OWN_NAMES = frozenset({*CLIP_SCHEMA, "start"})
"""Columns whose meaning and type a clip table fixes; `start` is where a window begins."""

SUFFIX = "_in_table"
"""Of the name under which a further column is kept that is called like a column of our own."""


@dataclass(frozen=True)
class ColumnOptions:
    """What the user said about the columns; None where it is left to guessing."""

    path: str | None = None
    labels: Sequence[str] | None = None
    fold: str | None = None
    group: str | None = None

    @property
    def given(self) -> list[str]:
        """The names of the options that were used, as on the command line."""
        options = {
            "--path_column": self.path,
            "--label_columns": self.labels,
            "--fold_column": self.fold,
            "--group_column": self.group,
        }
        return [name for name, value in options.items() if value is not None]


@dataclass(frozen=True)
class Columns:
    """The columns to read, all of them present; `labels` from coarse to fine."""

    path: str
    labels: tuple[str, ...]
    fold: str | None
    group: str | None


def choose_columns(names: Sequence[str], options: ColumnOptions, source: str) -> Columns:
    """Choose the columns to read.

    Args:
        names: The columns that there are.
        options: What the user said.
        source: The table's name, for messages.

    Raises:
        UsageError: A column that was asked for is missing, or the path or label column cannot be
            guessed; the message lists the columns and names the option.
    """
    for name in (options.path, *(options.labels or ()), options.fold, options.group):
        if name is not None and name not in names:
            raise UsageError(f"{source} has no column {name!r}{nearest(name, names)}")
    path = options.path or _guess(names, PATH_NAMES)
    if path is None:
        raise UsageError(
            f"cannot tell which column of {source} holds the audio files: name it with "
            f"--path_column; its columns are: {', '.join(names)}"
        )
    label = _guess(names, LABEL_NAMES)
    if options.labels is None and label is None:
        raise UsageError(
            f"cannot tell which columns of {source} hold labels: name them from coarse to fine "
            f"with --label_columns ([] for no labels); its columns are: {', '.join(names)}"
        )
    return Columns(
        path,
        tuple(options.labels) if options.labels is not None else (str(label),),
        options.fold or _guess(names, ("fold",)),
        options.group or _guess(names, ("group",)),
    )


def further_columns(names: Sequence[str], columns: Columns) -> dict[str, str]:
    """Choose the names under which columns are kept that are neither path nor fold nor group.

    Columns of labels are kept beside the label path, which is made of them. A column called like
    one of our own gets the suffix `_in_table`: `seconds` is what the scan measures, whatever else
    the table holds. A column without a name, such as the index that pandas writes, is left out.

    Args:
        names: The columns that there are.
        columns: Those that were chosen.

    Returns:
        The column's name in the table to its name in a clip table, in the table's order.

    >>> further_columns(["path", "kind", "seconds"], Columns("path", ("kind",), None, None))
    {'kind': 'kind', 'seconds': 'seconds_in_table'}
    """
    taken = {columns.path, columns.fold, columns.group, *OWN_NAMES.intersection(columns.labels)}
    kept: dict[str, str] = {}
    for name in names:
        free = name
        while free in OWN_NAMES or (free != name and free in names):
            free += SUFFIX
        if name and name not in taken:
            kept[name] = free
    return kept


def _guess(names: Sequence[str], likely: Sequence[str]) -> str | None:
    by_plain_name = {re.sub(r"[\s\-_]+", "_", name.strip().lower()): name for name in names}
    return next((by_plain_name[name] for name in likely if name in by_plain_name), None)


def nearest(name: str, names: Sequence[str], what: str = "columns") -> str:
    """Give the end of a message on a name that is not among `names`: the nearest, and all."""
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"{hint}; the {what} are: {', '.join(names)}"
