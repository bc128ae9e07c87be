"""The table of clips: one row a clip, labels as paths from coarse to fine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import polars as pl

from tonotopy._errors import DataError, UsageError
from tonotopy._files import atomic_path
from tonotopy.labels import LabelTree

CLIP_SCHEMA = {
    "path": pl.String(),
    "content": pl.String(),
    "label": pl.List(pl.String()),
    "seconds": pl.Float64(),
    "sample_rate": pl.Int64(),
    "channels": pl.Int64(),
    "fold": pl.String(),
    "group": pl.String(),
}
"""The columns that every clip table has; there may be others after them."""

QUARANTINE_SCHEMA = {"path": pl.String(), "reason": pl.String(), "detail": pl.String()}

_METADATA_KEY = "tonotopy.clips"
_FORMAT = 1


@dataclass(frozen=True)
class ClipTable:
    """Clips with their labels, and the files that could not be used.

    Args:
        frame: One row a clip. `path` is POSIX and relative to `root` (or absolute, where the clip
            lies elsewhere), `content` the hash of the file's bytes, `label` the path of names from
            coarse to fine (it may stop early or be empty), `seconds`, `sample_rate` in Hz,
            `channels`; `fold` and `group` may be null. Further columns are kept; those that a scan
            found in a table are text, null where a cell was empty.
        root: The folder that paths are relative to.
        quarantine: Files that cannot be used: `path`, a short `reason`, and the `detail`.
        ignored: File name suffix to the number of files that are not audio.

    Raises:
        UsageError: A column is missing or has the wrong type; the message names it.
    """

    frame: pl.DataFrame
    root: Path
    quarantine: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=QUARANTINE_SCHEMA))
    ignored: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_columns(self.frame, CLIP_SCHEMA, "clips")
        _check_columns(self.quarantine, QUARANTINE_SCHEMA, "quarantine")

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def paths(self) -> list[Path]:
        """The files, as absolute paths where `root` is absolute."""
        return [self.root / path for path in self.frame["path"]]

    @cached_property
    def labels(self) -> list[tuple[str, ...]]:
        """The label of every clip, from coarse to fine; `()` where it has none."""
        return [tuple(label) for label in self.frame["label"].to_list()]

    @cached_property
    def tree(self) -> LabelTree:
        """The tree of the labels of these clips (a filtered table may have a smaller one)."""
        return LabelTree.from_paths([label for label in self.labels if label])

    def filter(self, mask: pl.Expr | pl.Series | Sequence[bool]) -> ClipTable:
        """Keep the clips where `mask` is true; the quarantine stays as it is.

        Args:
            mask: A boolean for every clip, or an expression over the columns such as
                `pl.col("split") == "train"`.
        """
        keep = mask if isinstance(mask, pl.Expr | pl.Series) else pl.Series(mask, dtype=pl.Boolean)
        return replace(self, frame=self.frame.filter(keep))

    def with_columns(self, *columns: pl.Series) -> ClipTable:
        """Add or replace columns, each as long as the table."""
        return replace(self, frame=self.frame.with_columns(*columns))

    def write(self, path: Path | str) -> None:
        """Write everything to one Parquet file, whole or not at all.

        Raises:
            DataError: The disk refuses.
        """
        about = {
            "format": _FORMAT,
            "root": str(self.root.absolute()),
            "quarantine": self.quarantine.rows(),
            "ignored": dict(self.ignored),
        }
        with atomic_path(path) as temporary:
            self.frame.write_parquet(temporary, metadata={_METADATA_KEY: json.dumps(about)})

    @classmethod
    def read(cls, path: Path | str) -> ClipTable:
        """Read a table that `write` wrote; the audio itself need not be there.

        Raises:
            UsageError: There is no such file.
            DataError: The file is damaged, was not written by `write`, or is from a newer version.
        """
        path = Path(path)
        if not path.is_file():
            raise UsageError(f"no clip table at {path}: make one with `tonotopy scan`")
        text = _metadata(path).get(_METADATA_KEY)
        if text is None:
            raise DataError(
                f"{path} is a Parquet file, but not a clip table: make one with `tonotopy scan`"
            )
        about = json.loads(text)
        if about["format"] > _FORMAT:
            raise DataError(
                f"{path} was written by a newer version of tonotopy (clip table format "
                f"{about['format']}, this version reads {_FORMAT}): update tonotopy or scan again"
            )
        quarantine = pl.DataFrame(about["quarantine"], schema=QUARANTINE_SCHEMA, orient="row")
        return cls(pl.read_parquet(path), Path(about["root"]), quarantine, about["ignored"])


def is_clip_table(path: Path) -> bool:
    """Tell whether a file was written by `ClipTable.write`.

    Raises:
        DataError: The file is not Parquet, or damaged.
    """
    return _METADATA_KEY in _metadata(path)


def _metadata(path: Path) -> dict[str, str]:
    try:
        return pl.read_parquet_metadata(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error


def _check_columns(frame: pl.DataFrame, schema: Mapping[str, pl.DataType], what: str) -> None:
    for name, dtype in schema.items():
        if name not in frame.columns:
            raise UsageError(
                f"the table of {what} has no column {name!r}; it needs {', '.join(schema)}"
            )
        if frame.schema[name] != dtype:
            raise UsageError(
                f"column {name!r} of the table of {what} must be {dtype}, got {frame.schema[name]}"
            )
