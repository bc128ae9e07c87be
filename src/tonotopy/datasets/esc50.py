"""ESC-50: environmental sounds."""

from __future__ import annotations

import csv
from pathlib import Path

from tonotopy._errors import DataError
from tonotopy.clips import ClipTable, scan_files
from tonotopy.datasets.download import Archive
from tonotopy.datasets.public import PublicDataset

MAJOR_GROUPS = ("animals", "natural", "human", "interior", "exterior")
"""`target // 10` of the official table."""


def load_esc50(folder: Path) -> ClipTable:
    """Read `meta/esc50.csv` and `audio/`.

    Labels are (major group, category); folds are the official five, which keep the fragments of
    one recording together; the group is the source recording. Files may be Ogg Vorbis instead of
    WAV.
    """
    rows = []
    with (folder / "meta" / "esc50.csv").open(encoding="utf-8") as table:
        for row in csv.DictReader(table):
            try:
                label = (MAJOR_GROUPS[int(row["target"]) // 10], row["category"])
                name, fold, source = row["filename"], row["fold"], row["src_file"]
            except (KeyError, IndexError, ValueError) as error:
                raise DataError(f"{table.name} is not the official table: {error}") from error
            file = Path("audio") / name
            if not (folder / file).exists() and (folder / file).with_suffix(".ogg").exists():
                file = file.with_suffix(".ogg")
            rows.append((file.as_posix(), label, fold, source))
    return scan_files(folder, rows)


ESC50 = PublicDataset(
    name="esc-50",
    title="ESC-50: Dataset for Environmental Sound Classification",
    description=(
        "2,000 clips of 5 s, 50 classes in 5 major groups, 40 clips of each class, in 5 folds "
        "that keep the clips of one source recording together. Report the mean over the folds."
    ),
    licence="CC BY-NC 3.0 (the ESC-10 part CC BY 3.0)",
    citation="K. J. Piczak, ESC: Dataset for Environmental Sound Classification, ACM MM 2015",
    homepage="https://github.com/karolpiczak/ESC-50",
    layout=("meta/esc50.csv", "audio/"),
    loader=load_esc50,
    archives=(
        Archive(
            "https://github.com/karoldvl/ESC-50/archive/master.zip",
            folder="ESC-50-master",
            md5="7771e4b9d86d0945acce719c7a59305a",
        ),
    ),
)
