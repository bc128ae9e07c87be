"""UrbanSound8K: city sounds."""

from __future__ import annotations

from pathlib import Path

from tonotopy.clips import ClipTable, scan_files
from tonotopy.datasets._layout import read_rows
from tonotopy.datasets.download import Archive
from tonotopy.datasets.public import PublicDataset

TABLE = "metadata/UrbanSound8K.csv"


def load_urbansound8k(folder: Path) -> ClipTable:
    """Read `metadata/UrbanSound8K.csv` and `audio/fold1` to `audio/fold10`.

    Labels are the ten classes; folds are the official ten; the group is the Freesound recording
    that a clip was cut from (`fsID`).
    """
    rows = [
        (
            f"audio/fold{row['fold']}/{row['slice_file_name']}",
            (row["class"],),
            row["fold"],
            row["fsID"],
        )
        for row in read_rows(folder / TABLE, ("slice_file_name", "fsID", "fold", "class"))
    ]
    return scan_files(folder, rows)


URBANSOUND8K = PublicDataset(
    name="urbansound8k",
    title="UrbanSound8K",
    description=(
        "8,732 clips of 4 s or less, 10 classes of city sounds, in 10 folds. Use the folds as they "
        "are: clips of one recording lie in one fold."
    ),
    licence="CC BY-NC (3.0 by its authors' page, 4.0 on Zenodo)",
    citation=(
        "J. Salamon, C. Jacoby, J. P. Bello, A Dataset and Taxonomy for Urban Sound Research, "
        "ACM MM 2014"
    ),
    homepage="https://urbansounddataset.weebly.com/urbansound8k.html",
    size="about 6 GB",
    layout=(TABLE, "audio/"),
    loader=load_urbansound8k,
    archives=(
        # MD5 as Zenodo states it for record 1203745.
        Archive(
            "https://zenodo.org/records/1203745/files/UrbanSound8K.tar.gz",
            "UrbanSound8K",
            md5="9aa69802bbf37fb986f71ec1483a196e",
        ),
    ),
)
