"""NSynth: notes of instruments; here those of acoustic ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tonotopy._errors import DataError
from tonotopy.clips import ClipTable, scan_files
from tonotopy.datasets.download import Archive
from tonotopy.datasets.public import PublicDataset

PARTS = {"train": "train", "val": "valid", "test": "test"}
"""Fold to the official name of the part."""

SOURCE = "acoustic"

_Row = tuple[str, tuple[str, str], str, str]


def load_nsynth(folder: Path) -> ClipTable:
    """Read `nsynth-train`, `nsynth-valid` and `nsynth-test`: `examples.json` and `audio/` of each.

    Labels are (family, instrument), the instrument as `flute_acoustic_013`; notes of electronic
    and synthetic instruments are left out. Folds are the official `train`, `val` and `test`; the
    group is the note, instrument and pitch, whose velocities are near-duplicates. No instrument of
    `train` is in `val` or `test`.
    """
    rows = [
        row
        for fold, part in PARTS.items()
        for row in _acoustic_notes(folder / f"nsynth-{part}" / "examples.json", fold)
    ]
    return scan_files(folder, rows)


def _acoustic_notes(table: Path, fold: str) -> Iterator[_Row]:
    for name, note in _examples(table).items():
        try:
            source = note["instrument_source_str"]
            label = (str(note["instrument_family_str"]), str(note["instrument_str"]))
            group = f"{label[1]}-{int(note['pitch']):03}"
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{table} is not the official table: note {name!r} has no proper "
                "instrument_source_str, instrument_family_str, instrument_str and pitch"
            ) from error
        if source == SOURCE:
            yield f"{table.parent.name}/audio/{name}.wav", label, fold, group


def _examples(table: Path) -> dict[str, Any]:
    try:
        examples = json.loads(table.read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON and of UTF-8
        raise DataError(f"{table} is damaged: it is no JSON ({error})") from error
    if not isinstance(examples, dict):
        raise DataError(f"{table} is not the official table: it holds no object of notes by name")
    return examples


NSYNTH = PublicDataset(
    name="nsynth",
    title="NSynth (acoustic instruments)",
    description=(
        "The notes of acoustic instruments, about a third of 305,979: 4 s at 16 kHz, families "
        "over instruments. The official split tests new instruments: compare families across it."
    ),
    licence="CC BY 4.0",
    citation=(
        "J. Engel et al., Neural Audio Synthesis of Musical Notes with WaveNet Autoencoders, "
        "ICML 2017, arXiv 1704.01279"
    ),
    homepage="https://magenta.tensorflow.org/datasets/nsynth",
    size="about 25 GB",
    layout=tuple(
        f"nsynth-{part}/{entry}" for part in PARTS.values() for entry in ("examples.json", "audio/")
    ),
    loader=load_nsynth,
    archives=tuple(
        # No checksum of these archives is known to be published.
        Archive(
            "https://storage.googleapis.com/download.magenta.tensorflow.org/datasets/nsynth/"
            f"nsynth-{part}.jsonwav.tar.gz",
            "nsynth",
            bare=True,
        )
        for part in PARTS.values()
    ),
)
