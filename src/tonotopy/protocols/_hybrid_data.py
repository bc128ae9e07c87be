"""The clips of a trial: classes that are hidden, labels that are taken away, the first second."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
import polars as pl
import soundfile

from tonotopy._errors import UsageError
from tonotopy._files import atomic_path
from tonotopy._progress import track
from tonotopy.audio import content_hash, decode
from tonotopy.clips import ClipTable
from tonotopy.labels import LabelPath, display_name
from tonotopy.training import SplitOptions
from tonotopy.training.splitting import split_by

CLASS_FOLDS = 5
CLASS_SEED = 2024
"""The authors'. Their folds also follow the order of the directory, which no seed can repeat."""

SAMPLE_RATE = 44100


def hidden_classes(clips: ClipTable, fold: int, *, min_clips: int) -> list[str]:
    """Name the leaves that a class fold hides, and those that are always hidden.

    Args:
        clips: All clips.
        fold: 0 to 4; -1 hides small leaves alone.
        min_clips: A leaf with fewer clips is always hidden.

    Raises:
        UsageError: There is no such fold.
    """
    if not -1 <= fold < CLASS_FOLDS:
        raise UsageError(f"class folds are 0 to {CLASS_FOLDS - 1}, or -1 to hide none, got {fold}")
    counts = Counter(clips.labels)
    leaves = [clips.tree.path(leaf) for leaf in clips.tree.leaves]
    small = [path for path in leaves if counts[path] < min_clips]
    large = [path for path in leaves if counts[path] >= min_clips]
    order = np.random.default_rng(CLASS_SEED).permutation(len(large))
    shuffled = [large[index] for index in order]
    chosen = [path for at, path in enumerate(shuffled) if at * CLASS_FOLDS // len(large) == fold]
    return [display_name(path) for path in sorted([*small, *chosen])]


def trial_clips(
    clips: ClipTable, split: SplitOptions, hidden: Sequence[str], *, missing: float, seed: int
) -> ClipTable:
    """Write the split into the folds, and take finest labels of training clips away.

    Args:
        clips: All clips.
        split: How visible clips are split; by folds of the data, or by shares.
        hidden: Labels whose clips are kept apart.
        missing: Share of training clips that lose their finest label; one clip of every class
            keeps it.
        seed: Of the clips that lose it.

    Returns:
        The clips with `"train"`, `"val"`, `"test"` and `"unseen"` as folds.

    Raises:
        UsageError: The share is not in [0, 1), or the split cannot be made.
    """
    check_share(missing)
    # The same clips are tested with every seed.
    folds = split_by(clips, replace(split, unseen=list(hidden)), seed=0)
    for name in ("test", "val"):
        if name not in folds:
            raise UsageError(
                f"the split leaves no {name} clip: classes are too small for its shares; give "
                "larger ones, or folds, as `split` in --config"
            )
    labels = _take_away(clips, folds.to_list(), missing, seed)
    return clips.with_columns(
        folds.alias("fold"), pl.Series("label", labels, dtype=pl.List(pl.String))
    )


def check_share(missing: float) -> None:
    """Refuse a share of missing labels that is not in [0, 1)."""
    if not 0.0 <= missing < 1.0:
        raise UsageError(f"the share of missing labels must be in [0, 1), got {missing}")


def _take_away(clips: ClipTable, folds: list[str], missing: float, seed: int) -> list[LabelPath]:
    labels = list(clips.labels)
    members: dict[LabelPath, list[int]] = defaultdict(list)
    for row, fold in enumerate(folds):
        if fold == "train":
            members[labels[row]].append(row)
    content = clips.frame["content"].to_list()
    for path, rows in members.items():
        rows.sort(key=lambda row: blake2b(f"{seed}/{content[row]}".encode()).digest())
        for row in rows[: min(round(missing * len(rows)), len(rows) - 1)]:
            labels[row] = path[:-1]
    return labels


def first_second(clips: ClipTable, folder: Path) -> ClipTable:
    """Copy the first second of every clip at 44.1 kHz, silence behind those that are shorter.

    Args:
        clips: The clips.
        folder: Where the copies are put, as FLAC; those that are there already are kept.
    """
    rows = zip(clips.paths, clips.frame["content"], strict=True)
    for path, content in track(rows, label="First seconds", total=len(clips)):
        copy = folder / f"{content}.flac"
        if not copy.is_file():
            wave = decode(path, SAMPLE_RATE)[:SAMPLE_RATE]
            padded = np.zeros(SAMPLE_RATE, dtype=np.float32)
            padded[: len(wave)] = wave
            with atomic_path(copy) as temporary:
                # A peak above one, which a decoder may give, would be clipped.
                scale = max(1.0, float(np.abs(padded).max()))
                soundfile.write(temporary, padded / scale, SAMPLE_RATE, format="FLAC")
    names = [f"{content}.flac" for content in clips.frame["content"]]
    frame = clips.frame.with_columns(
        pl.Series("path", names),
        pl.Series("content", [content_hash(folder / name) for name in names]),
        pl.lit(1.0).alias("seconds"),
        pl.lit(SAMPLE_RATE, dtype=pl.Int64).alias("sample_rate"),
        pl.lit(1, dtype=pl.Int64).alias("channels"),
    )
    return replace(clips, frame=frame, root=folder.absolute())
