"""Free Spoken Digit Dataset."""

from __future__ import annotations

import re
from pathlib import Path

from tonotopy.clips import ClipTable, scan_files
from tonotopy.datasets.download import Archive
from tonotopy.datasets.public import PublicDataset

TEST_TAKES = 5
"""The official test split is each speaker's first five takes of each digit."""

_NAME = re.compile(r"^(?P<digit>\d)_(?P<speaker>[^_]+)_(?P<take>\d+)\.wav$")


def load_fsdd(folder: Path) -> ClipTable:
    """Read `recordings/{digit}_{speaker}_{take}.wav`.

    Labels are the digits; folds are the official `test` (takes 0 to 4) and `train`; the group is
    the speaker, and every speaker is in both.
    """
    rows = []
    for file in sorted((folder / "recordings").glob("*.wav")):
        parts = _NAME.match(file.name)
        if parts is not None:
            fold = "test" if int(parts["take"]) < TEST_TAKES else "train"
            rows.append((f"recordings/{file.name}", (parts["digit"],), fold, parts["speaker"]))
    return scan_files(folder, rows)


FSDD = PublicDataset(
    name="fsdd",
    title="Free Spoken Digit Dataset",
    description="3,000 clips at 8 kHz, six speakers say each of ten digits fifty times.",
    licence="CC BY-SA 4.0",
    citation="Z. Jackson et al., Free Spoken Digit Dataset v1.0.10, doi 10.5281/zenodo.1342401",
    homepage="https://github.com/Jakobovski/free-spoken-digit-dataset",
    size="about 20 MB",
    layout=("recordings/",),
    loader=load_fsdd,
    archives=(
        # GitHub makes this archive; its owners publish no checksum of it.
        Archive(
            "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip",
            "free-spoken-digit-dataset-1.0.10",
        ),
    ),
)
