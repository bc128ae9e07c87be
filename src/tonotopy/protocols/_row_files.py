"""Tables of results as CSV, Parquet or JSON, and jobs whose finished parts survive."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from tonotopy._errors import UsageError
from tonotopy._files import atomic_path, write_json, write_text
from tonotopy._progress import track

WRITERS = (".csv", ".parquet", ".json")


def check_writable(out: Path | None) -> None:
    """See before the work whether `write_frame` knows a kind of file.

    Raises:
        UsageError: It does not.
    """
    if out is not None and out.suffix.lower() not in WRITERS:
        raise UsageError(f"--out {out}: expected a name that ends in {', '.join(WRITERS)}")


def write_frame(frame: pl.DataFrame, out: Path) -> None:
    """Write a table as the suffix of `out` says, whole or not at all."""
    if out.suffix.lower() == ".json":
        write_json(out, frame.to_dicts())
        return
    with atomic_path(out) as temporary:
        if out.suffix.lower() == ".csv":
            frame.write_csv(temporary)
        else:
            frame.write_parquet(temporary)


class Shards:
    """Parts of a table that is made bit by bit, in a hidden folder beside the file to be.

    Args:
        out: The file to be.
        fingerprint: Of the job: parts of another job are thrown away.
    """

    def __init__(self, out: Path, fingerprint: str) -> None:
        self._folder = out.with_name(f".{out.stem}.shards")
        mark = self._folder / "job"
        known = mark.is_file() and mark.read_text(encoding="utf-8") == fingerprint
        if self._folder.exists() and not known:
            shutil.rmtree(self._folder)
        write_text(mark, fingerprint)

    def collect(self, keys: Sequence[int], make: Callable[[int], pl.DataFrame]) -> pl.DataFrame:
        """Make what is not yet there, and put all parts together in the order of `keys`."""
        paths = [self._folder / f"{key:09d}.parquet" for key in keys]
        parts = list(zip(keys, paths, strict=True))
        for key, path in track(parts, label="Listening", total=len(parts)):
            if not path.is_file():
                with atomic_path(path) as temporary:
                    make(key).write_parquet(temporary)
        return pl.concat(pl.read_parquet(path) for path in paths)

    def remove(self) -> None:
        """Throw the parts away."""
        shutil.rmtree(self._folder)
