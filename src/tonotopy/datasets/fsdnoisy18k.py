"""FSDnoisy18k: sound events of the web, a few with verified labels, most with noisy ones."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from tonotopy._errors import DataError
from tonotopy.clips import ClipTable, scan_files
from tonotopy.datasets._layout import read_rows
from tonotopy.datasets.download import Archive
from tonotopy.datasets.public import PublicDataset

CLASSES = (
    "Acoustic_guitar",
    "Bass_guitar",
    "Clapping",
    "Coin_(dropping)",
    "Crash_cymbal",
    "Dishes_and_pots_and_pans",
    "Engine",
    "Fart",
    "Fire",
    "Fireworks",
    "Glass",
    "Hi-hat",
    "Piano",
    "Rain",
    "Slam",
    "Squeak",
    "Tearing",
    "Walk_or_footsteps",
    "Wind",
    "Writing",
)
"""The official labels in the order of their class ids."""

COUNTS = {"clean": 1_772, "noisy": 15_813, "test": 947}
"""Clips as the owners state them."""

SUBSETS = {
    "noisy": (pl.col("split") == "train") & ~pl.col("manually_verified"),
    "clean": (pl.col("split") == "train") & pl.col("manually_verified"),
    "noisy_small": pl.col("noisy_small"),
    "all": pl.col("split") == "train",
    "test": pl.col("split") == "test",
}
"""Name to the clips that belong to it; those other than `test` are of the training split."""

SPLITS = ("train", "test")
NAMED = 5
"""Files that a message names."""


class _Row(NamedTuple):
    path: str
    label: str
    split: str
    manually_verified: bool
    noisy_small: bool
    aso_id: str


def load_fsdnoisy18k(folder: Path) -> ClipTable:
    """Read `FSDnoisy18k.meta/train.csv` and `test.csv`, and the two folders of audio.

    Labels are the 20 classes by name; folds and the column `split` are the official `train` and
    `test`. Further columns: `manually_verified` and `noisy_small` (booleans; every test clip is
    verified, and none is of the small noisy subset), and `aso_id`, the class in the AudioSet
    ontology. There is no group: the table names no uploader.

    Raises:
        DataError: The tables and the folders do not belong together: a clip is missing or named
            twice, a label is unknown, a flag is neither 0 nor 1.

    Warns:
        UserWarning: There are more or fewer clips than the owners state, or audio that no table
            names.
    """
    rows = [row for split in SPLITS for row in _read_split(folder, split)]
    _check_counts(rows)
    clips = scan_files(folder, [(row.path, (row.label,), row.split, None) for row in rows])
    known = {row.path: row for row in rows}
    ordered = [known[path] for path in clips.frame["path"]]
    return clips.with_columns(
        pl.Series("split", [row.split for row in ordered], dtype=pl.String),
        pl.Series("manually_verified", [row.manually_verified for row in ordered], pl.Boolean),
        pl.Series("noisy_small", [row.noisy_small for row in ordered], pl.Boolean),
        pl.Series("aso_id", [row.aso_id for row in ordered], dtype=pl.String),
    )


def _read_split(folder: Path, split: str) -> list[_Row]:
    table = folder / "FSDnoisy18k.meta" / f"{split}.csv"
    audio = f"FSDnoisy18k.audio_{split}"
    flags = ("manually_verified", "noisy_small") if split == "train" else ()
    rows = []
    for row in read_rows(table, ("fname", "label", "aso_id", *flags)):
        if row["label"] not in CLASSES:
            raise DataError(
                f"{table} is not the official table: {row['fname']} has the label "
                f"{row['label']!r}, which is none of the 20: {', '.join(CLASSES)}"
            )
        verified, small = (_flag(row, name, table) for name in flags) if flags else (True, False)
        if verified and small:
            raise DataError(
                f"{table} is damaged: {row['fname']} is both manually_verified and noisy_small"
            )
        path = f"{audio}/{row['fname']}"
        rows.append(_Row(path, row["label"], split, verified, small, row["aso_id"]))
    _check_files(rows, folder / audio, table)
    return rows


def _flag(row: dict[str, str], name: str, table: Path) -> bool:
    if row[name] not in ("0", "1"):
        raise DataError(
            f"{table} is not the official table: {row['fname']} has {row[name]!r} for {name}, "
            "expected 0 or 1"
        )
    return row[name] == "1"


def _check_files(rows: Sequence[_Row], audio: Path, table: Path) -> None:
    """Refuse a table that names a clip twice or names clips that are not there."""
    named = Counter(Path(row.path).name for row in rows)
    repeated = [name for name, count in named.items() if count > 1]
    if repeated:
        raise DataError(f"{table} is damaged: it names {_some(repeated)} more than once")
    there = {file.name for file in audio.glob("[!.]*.wav")}
    missing = sorted(named.keys() - there)
    if missing:
        raise DataError(
            f"{table} does not match {audio}: {len(missing)} of its {len(named)} clips are not "
            f"there ({_some(missing)}); unpack {audio.name}.zip again, beside the table's folder"
        )
    further = sorted(there - named.keys())
    if further:
        warnings.warn(
            f"{len(further)} files of {audio} are not in {table} and are left out "
            f"({_some(further)})",
            stacklevel=4,
        )


def _check_counts(rows: Sequence[_Row]) -> None:
    verified = Counter(row.manually_verified for row in rows if row.split == "train")
    tested = sum(row.split == "test" for row in rows)
    found = {"clean": verified[True], "noisy": verified[False], "test": tested}
    if found != COUNTS:
        told = ", ".join(f"{found[name]:,} of {count:,} {name}" for name, count in COUNTS.items())
        warnings.warn(
            f"this is not all of FSDnoisy18k, or another version: {told} clips", stacklevel=3
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


FSDNOISY18K = PublicDataset(
    name="fsdnoisy18k",
    title="FSDnoisy18k",
    description=(
        "18,532 clips of 0.3 to 30 s, 42.5 hours, 20 classes of sound events. Training: 1,772 "
        "clips with verified labels (clean), 15,813 labelled by their uploaders' tags (noisy), of "
        "which about 60 % are wrong or incomplete; test: 947 verified clips. noisy_small is as "
        "long as clean."
    ),
    licence="CC BY 4.0; each clip CC BY or CC0",
    citation=(
        "E. Fonseca et al., Learning Sound Event Classifiers from Web Audio with Noisy Labels, "
        "ICASSP 2019, arXiv 1901.01189; doi 10.5281/zenodo.2529934"
    ),
    homepage="https://www.eduardofonseca.net/FSDnoisy18k",
    size="13.5 GB unpacked",
    layout=(
        "FSDnoisy18k.meta/train.csv",
        "FSDnoisy18k.meta/test.csv",
        "FSDnoisy18k.audio_train/",
        "FSDnoisy18k.audio_test/",
    ),
    loader=load_fsdnoisy18k,
    subsets=SUBSETS,
    archives=tuple(
        # MD5 as soundata states them for Zenodo's record 2529934.
        Archive(
            f"https://zenodo.org/records/2529934/files/FSDnoisy18k.{part}.zip",
            "FSDnoisy18k",
            md5=md5,
            bare=True,
        )
        for part, md5 in (
            ("audio_train", "34dc1d34ca44622af5bf439ceb6f0d55"),
            ("audio_test", "1ac73d70b4ef3f81900d98c261a832de"),
            ("meta", "96e27a4a63b7a2870522ddcedb5d8296"),
        )
    ),
)
