"""TinySOL: ordinary notes of orchestral instruments."""

from __future__ import annotations

from pathlib import Path

from tonotopy._errors import UsageError
from tonotopy.clips import ClipTable, scan_files
from tonotopy.datasets._layout import read_rows
from tonotopy.datasets._sol import note_group, played_as
from tonotopy.datasets.download import Archive
from tonotopy.datasets.public import PublicDataset

TABLE = "TinySOL_metadata.csv"
AUDIO = "TinySOL2020"
FAMILIES = ("Brass", "Keyboards", "Strings", "Winds")


def load_tinysol(folder: Path) -> ClipTable:
    """Read `TinySOL_metadata.csv` and `TinySOL2020/`, or the families' folders beside the table.

    Labels are (family, instrument), named as in OrchideaSOL; all notes are played in the ordinary
    way and without a mute. Folds are the official five, 0 to 4, balanced by pitch and dynamics, so
    that they part takes of one note; the group is the note: instrument and pitch.
    """
    audio = _audio_folder(folder)
    rows = []
    for row in read_rows(folder / TABLE, ("Path", "Fold", "Pitch")):
        path = row["Path"]
        label = played_as(path, folder / TABLE)[:2]
        rows.append((f"{audio}{path}", label, row["Fold"], note_group(path, row["Pitch"])))
    return scan_files(folder, rows)


def _audio_folder(folder: Path) -> str:
    """Find the recordings: copies with a folder of their own and without it are both in use."""
    for audio in (f"{AUDIO}/", ""):
        if any((folder / audio / family).is_dir() for family in FAMILIES):
            return audio
    names = ", ".join(f"{family}/" for family in FAMILIES)
    raise UsageError(
        f"{folder} does not look like tinysol: expected {names} in {AUDIO}/ or beside {TABLE}; "
        "unpack TinySOL.tar.gz there"
    )


TINYSOL = PublicDataset(
    name="tinysol",
    title="TinySOL: an audio dataset of isolated musical notes",
    description=(
        "2,913 notes of 14 instruments in 4 families, played in the ordinary way; 5 folds. "
        "Report the mean over the folds."
    ),
    licence="CC BY 4.0",
    citation=(
        "C.-E. Cella et al., OrchideaSOL: a dataset of extended instrumental techniques for "
        "computer-aided orchestration, arXiv 2007.00763, 2020; doi 10.5281/zenodo.3685367"
    ),
    homepage="https://zenodo.org/records/3685367",
    size="1.0 GB",
    layout=(TABLE,),
    loader=load_tinysol,
    archives=(
        # MD5 as Zenodo states them for record 3685367.
        Archive(
            "https://zenodo.org/records/3685367/files/TinySOL.tar.gz",
            "TinySOL",
            md5="36030a7fe389da86c3419e5ee48e3b7f",
            bare=True,
        ),
        Archive(
            "https://zenodo.org/records/3685367/files/TinySOL_metadata.csv",
            "TinySOL",
            md5="a86c9bb115f69e61f2f25872e397fc4a",
            keep_as=TABLE,
        ),
    ),
)
