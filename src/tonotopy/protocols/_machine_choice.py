"""Which of a detector's machines a clip is of."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePath

import polars as pl

from tonotopy._errors import DataError, UsageError
from tonotopy.clips import ClipTable, add_machines

MACHINE = "machine"


def guess_machines(clips: ClipTable, *, known: Collection[str]) -> pl.Series:
    """Give each clip's machine, null where it is none that is known.

    What the columns of a table, the scheme of DCASE names, MIMII folders or label folders say
    comes first (see `add_machines`), then the deepest folders above the file that are called like
    a machine that is known: `new/fan/id_00/a.wav` is of `fan/id_00`.

    Raises:
        DataError: Names contradict each other.
    """
    try:
        said = _quietly(clips)
    except (DataError, UsageError) as error:
        raise DataError(f"{error}; or name the machine of all clips with --machine") from error
    return pl.Series(
        MACHINE,
        [
            name if name in known else _by_folder(path, known)
            for name, path in zip(said, clips.paths, strict=True)
        ],
        dtype=pl.String,
    )


def _quietly(clips: ClipTable) -> list[str]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nothing tells the machine is what is asked here
        machines: list[str] = add_machines(clips).frame[MACHINE].to_list()
    return machines


def _by_folder(path: PurePath, known: Collection[str]) -> str | None:
    folders = path.parts[:-1]
    for end in range(len(folders), 0, -1):
        for length in range(end, 0, -1):
            name = "/".join(folders[end - length : end])
            if name in known:
                return name
    return None
