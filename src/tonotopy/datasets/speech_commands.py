"""Speech Commands v2: single spoken words."""

from __future__ import annotations

from pathlib import Path

from tonotopy.clips import ClipTable, scan_files
from tonotopy.datasets.download import Archive
from tonotopy.datasets.public import PublicDataset

NOISE = "_background_noise_"
LISTS = {"val": "validation_list.txt", "test": "testing_list.txt"}


def load_speech_commands(folder: Path) -> ClipTable:
    """Read the folders of words and the official lists.

    Labels are the words; folds are `val` and `test` after `validation_list.txt` and
    `testing_list.txt`, and `train` for all other clips; the group is the speaker (the hash before
    `_nohash_`). Background noise is left out.
    """
    folds = {
        path: fold
        for fold, name in LISTS.items()
        for path in (folder / name).read_text(encoding="utf-8").split()
    }
    found = (file.relative_to(folder) for file in folder.glob("*/*.wav"))
    clips = {path.as_posix() for path in found if not path.parts[0].startswith((".", NOISE))}
    rows = []
    for path in sorted(clips | folds.keys()):  # a clip that is listed and missing must be reported
        word, name = path.split("/", 1)
        rows.append((path, (word,), folds.get(path, "train"), name.split("_nohash_")[0]))
    return scan_files(folder, rows)


SPEECH_COMMANDS = PublicDataset(
    name="speech-commands",
    title="Speech Commands v0.02",
    description=(
        "105,829 clips of 1 s or less, 35 words; the official lists keep a speaker in one split."
    ),
    licence="CC BY 4.0",
    citation=(
        "P. Warden, Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition, "
        "arXiv 1804.03209, 2018"
    ),
    homepage="https://arxiv.org/abs/1804.03209",
    size="2.4 GB",
    layout=tuple(LISTS.values()),
    loader=load_speech_commands,
    archives=(
        # SHA-256 as TensorFlow Datasets, of the same owners, states it.
        Archive(
            "https://storage.googleapis.com/download.tensorflow.org/data/"
            "speech_commands_v0.02.tar.gz",
            "speech_commands_v0.02",
            sha256="af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
            bare=True,
        ),
    ),
)
