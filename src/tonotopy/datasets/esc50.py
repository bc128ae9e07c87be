"""ESC-50: environmental sounds."""

from __future__ import annotations

from pathlib import Path

from tonotopy._errors import DataError
from tonotopy.clips import ClipTable, scan_files
from tonotopy.datasets._layout import read_rows
from tonotopy.datasets.download import Archive
from tonotopy.datasets.public import PublicDataset

MAJOR_GROUPS = ("animals", "natural", "human", "interior", "exterior")
"""`target // 10` of the official table."""

TABLE = "meta/esc50.csv"


def load_esc50(folder: Path) -> ClipTable:
    """Read `meta/esc50.csv` and `audio/`.

    Labels are (major group, category); folds are the official five, which keep the fragments of
    one recording together (but for 131943 and 134049: clips of two classes each, in folds 2 and
    3); the group is that recording (`src_file`). Files may be Ogg Vorbis instead of WAV.
    """
    rows = []
    for row in read_rows(folder / TABLE, ("filename", "fold", "target", "category", "src_file")):
        file = Path("audio", row["filename"])
        if not (folder / file).exists() and (folder / file).with_suffix(".ogg").exists():
            file = file.with_suffix(".ogg")
        label = (_major_group(row["target"], folder / TABLE), row["category"])
        rows.append((file.as_posix(), label, row["fold"], row["src_file"]))
    return scan_files(folder, rows)


def _major_group(target: str, table: Path) -> str:
    if not (target.isdecimal() and int(target) < 10 * len(MAJOR_GROUPS)):
        raise DataError(f"{table} is not the official table: target {target!r} is not in 0 to 49")
    return MAJOR_GROUPS[int(target) // 10]


ESC50 = PublicDataset(
    name="esc-50",
    title="ESC-50: Dataset for Environmental Sound Classification",
    description=(
        "2,000 clips of 5 s, 50 classes in 5 major groups, 40 clips of each class, in 5 folds "
        "that keep the clips of a source recording together (but for two recordings, 131943 and "
        "134049, in folds 2 and 3). Report the mean over the folds."
    ),
    licence="CC BY-NC 3.0 (the ESC-10 part CC BY 3.0)",
    citation="K. J. Piczak, ESC: Dataset for Environmental Sound Classification, ACM MM 2015",
    homepage="https://github.com/karolpiczak/ESC-50",
    size="about 600 MB",
    layout=(TABLE, "audio/"),
    loader=load_esc50,
    archives=(
        # GitHub makes this archive of a moving branch, so there is no checksum to publish.
        Archive("https://github.com/karolpiczak/ESC-50/archive/master.zip", "ESC-50-master"),
    ),
)
