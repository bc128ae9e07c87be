"""OrchideaSOL: extended playing techniques of orchestral instruments."""

from __future__ import annotations

from pathlib import Path

from tonotopy.clips import ClipTable, scan_files
from tonotopy.datasets._layout import read_rows
from tonotopy.datasets._sol import note_group, played_as
from tonotopy.datasets.public import PublicDataset

TABLE = "OrchideaSOL_metadata.csv"
AUDIO = "OrchideaSOL2020"
PITCHED = "Pitch ID (if applicable)"


def load_orchideasol(folder: Path) -> ClipTable:
    """Read `OrchideaSOL_metadata.csv` and `OrchideaSOL2020/`.

    Labels are (family, instrument, mute, technique), from the folders: `Bass_Tuba+sordina` is the
    instrument `Bass_Tuba` with the mute `sordina`; the mute is `open` where the folder names none.
    Folds are the official five, 0 to 4, balanced by pitch and dynamics, so that they part takes of
    one note; the group is the note: instrument, mute, technique and pitch. Sounds without pitch
    have no group.
    """
    rows = []
    for row in read_rows(folder / TABLE, ("Path", "Fold", "Pitch", PITCHED)):
        path = row["Path"]
        group = note_group(path, row["Pitch"] if row[PITCHED] else "")
        rows.append((f"{AUDIO}/{path}", played_as(path, folder / TABLE), row["Fold"], group))
    return scan_files(folder, rows)


ORCHIDEASOL = PublicDataset(
    name="orchideasol",
    title="OrchideaSOL: a dataset of extended instrumental techniques",
    description=(
        "13,265 notes in a tree of 5 families, 16 instruments, 35 instruments with or without a "
        "mute, and 197 techniques under these, of up to 689 clips; 5 folds."
    ),
    licence="Recordings by the terms of the Ircam Forum; the table CC BY 4.0",
    citation=(
        "C.-E. Cella et al., OrchideaSOL: a dataset of extended instrumental techniques for "
        "computer-aided orchestration, arXiv 2007.00763, 2020"
    ),
    homepage="https://forum.ircam.fr/projects/detail/orchideasol/",
    size="13,265 recordings of 2 to 10 s",
    layout=(TABLE, f"{AUDIO}/"),
    loader=load_orchideasol,
    # No checksum of the recordings is known to be published. The MD5 is that of the table in
    # Zenodo's record 3740399; an older table, with the same clips in other folds, is about too.
    request=(
        "Get the recordings with a free account at "
        "https://forum.ircam.fr/projects/detail/orchideasol/ and unpack them; put "
        "https://zenodo.org/records/3740399/files/OrchideaSOL_metadata.csv (md5 "
        "a917eedb9e2ec8875cbc691a14c98069) beside the folder OrchideaSOL2020, and load the folder "
        "that holds both."
    ),
)
