"""The clips of the fan experiment: features of each recording at two signal-to-noise ratios."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from tonotopy._errors import DataError, UsageError

TABLE = "features.parquet"
COLUMNS = ("id", "snr_db", "condition", "split", "recording")

SOURCE_CLIPS = 990
"""Of each section, as in DCASE 2022 and later; all there are where there are fewer."""
TARGET_CLIPS = 10


@dataclass(frozen=True)
class FanTable:
    """All clips.

    Args:
        frame: `id`, `snr_db`, `condition`, `split`, `recording`, and a column a feature.
        features: Names of the feature columns.
        sections: The ids, sorted.
        ratios: The two signal-to-noise ratios in dB, ascending.
        fingerprint: Of the bytes of the file.
    """

    frame: pl.DataFrame
    features: tuple[str, ...]
    sections: tuple[str, ...]
    ratios: tuple[int, int]
    fingerprint: str


@dataclass(frozen=True)
class FanClips:
    """Some clips.

    Args:
        vectors: (N, F) float32, standardised on the references.
        sections: (N,) long, places in `FanTable.sections`.
        target: (N,) bool; whether a clip is of the target domain.
        anomalous: (N,) bool.
    """

    vectors: Tensor
    sections: Tensor
    target: Tensor
    anomalous: Tensor

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def domains(self) -> list[str]:
        """`"source"` or `"target"` for each clip."""
        return ["target" if flag else "source" for flag in self.target.tolist()]


def read_fan_table(folder: Path) -> FanTable:
    """Read `features.parquet`: id, snr_db, condition, split, recording, then f000, f001, ...

    Args:
        folder: The folder that holds it.

    Raises:
        UsageError: There is no such file, or a column is missing.
        DataError: The file is damaged or holds what the experiment cannot use.
    """
    file = folder / TABLE
    if not file.is_file():
        raise UsageError(f"no {TABLE} in {folder}")
    try:
        frame = pl.read_parquet(file)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"cannot read {file}: {error}") from error
    features = tuple(sorted(n for n in frame.columns if n[0] == "f" and n[1:].isdigit()))
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing or not features:
        raise UsageError(
            f"{file} has no column {', '.join(missing or ['f000, f001, ...'])}; expected "
            f"{', '.join(COLUMNS)} and f000, f001, ..., one a feature"
        )
    if not frame.select(pl.all_horizontal(pl.col(features).is_finite().all())).item():
        raise DataError(f"{file}: a number in {features[0]} to {features[-1]} is not finite")
    ratios = sorted(frame["snr_db"].unique().to_list())
    if len(ratios) != 2:
        raise DataError(f"{file}: snr_db must have two values, source and target, got {ratios}")
    sections = tuple(sorted(frame["id"].unique().to_list()))
    _check_sections(frame, sections, ratios, file)
    fingerprint = hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()
    return FanTable(frame, features, sections, (ratios[0], ratios[1]), fingerprint)


def draw_references(table: FanTable, source_ratio: int, seed: int) -> pl.DataFrame:
    """Draw the references of every section.

    Of the normal recordings of the split `reference`, ten are references of the target domain, at
    the other ratio, and up to 990 others of the source domain; so no recording is in both.

    Args:
        table: All clips.
        source_ratio: Signal-to-noise ratio of the source domain in dB.
        seed: Of the draw.

    Returns:
        Rows of `table.frame`.
    """
    at_source = pl.col("snr_db") == source_ratio
    kept = []
    for number, section in enumerate(table.sections):
        given = table.frame.filter(pl.col("id") == section, pl.col("split") == "reference")
        target = _shuffled(given.filter(~at_source), [seed, number, 0])[:TARGET_CLIPS].to_list()
        rest = given.filter(at_source, ~pl.col("recording").is_in(target))
        source = _shuffled(rest, [seed, number, 1])[:SOURCE_CLIPS].to_list()
        chosen = pl.when(at_source).then(pl.col("recording").is_in(source))
        kept.append(given.filter(chosen.otherwise(pl.col("recording").is_in(target))))
    return pl.concat(kept)


def draw_clips(table: FanTable, source_ratio: int, seed: int) -> tuple[FanClips, FanClips]:
    """Give the references of `draw_references` and all test clips, of both ratios.

    Both are standardised on the references.
    """
    references = draw_references(table, source_ratio, seed)
    vectors = references.select(table.features).to_numpy().astype(np.float64)
    mean, deviation = vectors.mean(axis=0), vectors.std(axis=0)
    # A constant feature says nothing and stays near 0.
    deviation[deviation == 0] = 1.0
    test = table.frame.filter(pl.col("split") == "test")
    first, second = (
        _clips(table, rows, source_ratio, mean, deviation) for rows in (references, test)
    )
    return first, second


def _check_sections(
    frame: pl.DataFrame, sections: tuple[str, ...], ratios: list[int], file: Path
) -> None:
    wanted = {("reference", "normal"): TARGET_CLIPS + 2, ("test", "normal"): 1}
    wanted[("test", "anomaly")] = 1
    counts = {
        tuple(key): count
        for *key, count in frame.group_by("id", "snr_db", "split", "condition").len().iter_rows()
    }
    known = {(s, r, *kind) for s in sections for r in ratios for kind in wanted}
    other = sorted(counts.keys() - known)
    if other:
        raise DataError(
            f"{file}: unexpected rows {other[0]}; split and condition must be reference and "
            "normal, test and normal, or test and anomaly"
        )
    for section, ratio, *kind in sorted(known):
        found, least = counts.get((section, ratio, *kind), 0), wanted[(kind[0], kind[1])]
        if found < least:
            raise DataError(
                f"{file}: {section} at {ratio} dB has {found} clips of {' '.join(kind)}, needs "
                f"at least {least}"
            )


def _shuffled(frame: pl.DataFrame, seed: list[int]) -> pl.Series:
    names = frame["recording"].unique().sort()
    return names.gather(np.random.default_rng(seed).permutation(len(names)).tolist())


def _clips(
    table: FanTable,
    frame: pl.DataFrame,
    source_ratio: int,
    mean: np.ndarray[tuple[int], np.dtype[np.float64]],
    deviation: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> FanClips:
    place = {section: number for number, section in enumerate(table.sections)}
    vectors = frame.select(table.features).to_numpy().astype(np.float64)
    return FanClips(
        vectors=torch.from_numpy(((vectors - mean) / deviation).astype(np.float32)),
        sections=torch.tensor([place[section] for section in frame["id"]]),
        target=torch.tensor((frame["snr_db"] != source_ratio).to_list()),
        anomalous=torch.tensor((frame["condition"] == "anomaly").to_list()),
    )
