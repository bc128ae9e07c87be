"""Files, folders and tables that a command line names, as one table of clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import polars as pl

from tonotopy._errors import DataError
from tonotopy.clips import ClipTable, load_clips, scan_files
from tonotopy.clips.table import QUARANTINE_SCHEMA

TABLES = (".csv", ".parquet")
COMMON = ("content", "label", "seconds", "sample_rate", "channels", "fold")

MakeColumn = Callable[[ClipTable], pl.Series]


def gather_clips(audio: Sequence[Path], *columns: MakeColumn, labelled: bool = True) -> ClipTable:
    """Give one table, with absolute paths, of files and of what folders and tables list.

    A source of which nothing can be used is quarantined, unless all are.

    Args:
        audio: Files, or anything that `tonotopy scan` reads.
        columns: Each makes a further column from the clips of one source.
        labelled: A table must have columns of labels.

    Raises:
        UsageError: A source does not exist, or is of no known kind.
        DataError: No file can be used.
    """
    files = [path for path in audio if path.is_file() and path.suffix.lower() not in TABLES]
    rows = [(path.resolve().as_posix(), (), None, None) for path in files]
    sources = {
        path: partial(load_clips, path, labelled=labelled) for path in audio if path not in files
    }
    if files:
        sources[files[0]] = partial(scan_files, Path.cwd(), rows)
    tables, failed = [], []
    for path, load in sources.items():
        try:
            tables.append(load())
        except DataError as error:
            if len(sources) == 1:
                raise
            failed.append((str(path), "nothing usable", str(error)))
    if not tables:
        raise DataError("; ".join(message for _, _, message in failed))
    unusable = pl.DataFrame(failed, schema=QUARANTINE_SCHEMA, orient="row")
    quarantine = pl.concat([*(table.quarantine for table in tables), unusable])
    frames = [_common(table, [make(table) for make in columns]) for table in tables]
    return ClipTable(pl.concat(frames), Path.cwd(), quarantine)


def _common(table: ClipTable, further: Sequence[pl.Series]) -> pl.DataFrame:
    """Give what all tables have, with absolute paths."""
    return table.frame.select(COMMON).with_columns(
        pl.Series("path", [str(path.resolve()) for path in table.paths], dtype=pl.String),
        pl.lit(None, dtype=pl.String).alias("group"),
        *further,
    )
