"""Speech Commands v2: single spoken words."""

from __future__ import annotations

from pathlib import Path

from tonotopy.clips import ClipTable, scan_files
from tonotopy.datasets.download import Archive
from tonotopy.datasets.public import PublicDataset

NOISE = "_background_noise_"


def load_speech_commands(folder: Path) -> ClipTable:
    """Read the folders of words and the official lists.

    Folds are `train`, `val` and `test` after `validation_list.txt` and `testing_list.txt`; the
    group is the speaker. Background noise is left out.
    """
    listed = {
        name: set((folder / f"{file}_list.txt").read_text(encoding="utf-8").split())
        for name, file in (("val", "validation"), ("test", "testing"))
    }
    rows = []
    for file in sorted(folder.glob("*/*.wav")):
        word = file.parent.name
        if word == NOISE or word.startswith("."):
            continue
        path = f"{word}/{file.name}"
        fold = next((name for name, files in listed.items() if path in files), "train")
        rows.append((path, (word,), fold, file.name.split("_nohash_")[0]))
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
    layout=("validation_list.txt", "testing_list.txt"),
    loader=load_speech_commands,
    archives=(
        Archive(
            "https://storage.googleapis.com/download.tensorflow.org/data/"
            "speech_commands_v0.02.tar.gz",
            folder="speech_commands_v0.02",
            sha256="af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
            into="speech_commands_v0.02",
        ),
    ),
)
