"""UrbanSound8K: city sounds."""

from __future__ import annotations

import csv
from pathlib import Path

from tonotopy._errors import DataError
from tonotopy.clips import ClipTable, scan_files
from tonotopy.datasets.download import Archive
from tonotopy.datasets.public import PublicDataset


def load_urbansound8k(folder: Path) -> ClipTable:
    """Read `metadata/UrbanSound8K.csv` and `audio/fold1` to `audio/fold10`.

    Labels are the ten classes; folds are the official ten; the group is the Freesound recording
    that a clip was cut from.
    """
    rows = []
    with (folder / "metadata" / "UrbanSound8K.csv").open(encoding="utf-8") as table:
        for row in csv.DictReader(table):
            try:
                path = f"audio/fold{row['fold']}/{row['slice_file_name']}"
                rows.append((path, (row["class"],), row["fold"], row["fsID"]))
            except KeyError as error:
                raise DataError(f"{table.name} is not the official table: no {error}") from error
    return scan_files(folder, rows)


URBANSOUND8K = PublicDataset(
    name="urbansound8k",
    title="UrbanSound8K",
    description=(
        "8,732 clips of 4 s or less, 10 classes of city sounds, in 10 folds. Use the folds as they "
        "are: clips of one recording lie in one fold."
    ),
    licence="CC BY-NC 4.0",
    citation=(
        "J. Salamon, C. Jacoby, J. P. Bello, A Dataset and Taxonomy for Urban Sound Research, "
        "ACM MM 2014"
    ),
    homepage="https://urbansounddataset.weebly.com/urbansound8k.html",
    layout=("metadata/UrbanSound8K.csv", "audio/"),
    loader=load_urbansound8k,
    archives=(
        Archive(
            "https://zenodo.org/record/1203745/files/UrbanSound8K.tar.gz",
            folder="UrbanSound8K",
            md5="9aa69802bbf37fb986f71ec1483a196e",
        ),
    ),
)
