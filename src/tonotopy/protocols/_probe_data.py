"""The labelled clips of a probe: their classes and their splits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tonotopy._errors import DataError, UsageError
from tonotopy.clips import ClipTable
from tonotopy.training.config import SplitOptions
from tonotopy.training.splitting import split_by

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class ProbeClips:
    """Clips that a probe learns from and is judged on.

    Args:
        clips: Only those, with the column `split`.
        labels: (N,) classes of the clips.
        classes: Names of the classes, all of which have a training clip.
        split_by: Where the split comes from, in words.
        cautions: What a reader of the accuracies should know, one sentence each.
    """

    clips: ClipTable
    labels: NDArray[np.int64]
    classes: list[str]
    split_by: str
    cautions: list[str]

    def rows(self, split: str) -> NDArray[np.int64]:
        """Give the rows of the clips of `"train"`, `"val"` or `"test"`."""
        return np.flatnonzero((self.clips.frame["split"] == split).to_numpy())


def probe_clips(clips: ClipTable, options: SplitOptions, *, seed: int) -> ProbeClips:
    """Split the clips and number their classes.

    Folds that the options name decide the split; otherwise the column `split` of the table, where
    it has one with `train` and `test`; otherwise shares are drawn. A class is a complete label of
    the table that has a training clip: clips with another label, or none, are left out.

    Args:
        clips: The table.
        options: Folds and shares.
        seed: Of the shares.

    Raises:
        UsageError: A fold does not exist, the column `split` says something else than `train`,
            `val`, `test` or `unseen`, or there is no training or test clip.
        DataError: No clip has a label, or only one class has training clips.
    """
    if not any(clips.labels):
        raise DataError(
            "no clip has a label, so there is nothing to learn: put each class in a sub-folder of "
            "its own, or name the label column when scanning"
        )
    split, origin = _split(clips, options, seed)
    leaves = clips.tree.leaf_index(clips.labels).numpy()
    used = np.isin(split.to_numpy(), SPLITS)
    cautions: list[str] = []
    unknown = int((used & (leaves < 0)).sum())
    if unknown:
        cautions.append(f"{_are(unknown, 'clip')} left out for lack of a complete label.")
    taught = np.unique(leaves[(split == "train").to_numpy() & (leaves >= 0)])
    names = clips.tree.leaf_names
    if len(taught) < 2:
        found = f"only {names[taught[0]]!r} has" if len(taught) else "none has"
        raise DataError(
            f"a probe needs training clips of at least two classes, {found} any: check the labels "
            f"and the split (from {origin})"
        )
    lost = sorted(
        {names[leaf] for leaf in leaves[used & (leaves >= 0)]} - {names[t] for t in taught}
    )
    if lost:
        shown = ", ".join(lost[:5]) + (", ..." if len(lost) > 5 else "")
        cautions.append(
            f"{_are(len(lost), 'class')} left out with all {'its' if len(lost) == 1 else 'their'} "
            f"clips, for lack of training clips: {shown}."
        )
    kept = used & np.isin(leaves, taught)
    table = clips.with_columns(split.alias("split")).filter(kept.tolist())
    if "test" not in table.frame["split"]:
        raise UsageError(
            f"no clip is kept for the test (split from {origin}): name a fold with --test_fold, or "
            "a column split with train, val and test"
        )
    cautions += _shared(table)
    labels = np.searchsorted(taught, leaves[kept])
    return ProbeClips(table, labels, [names[leaf] for leaf in taught], origin, cautions)


def _split(clips: ClipTable, options: SplitOptions, seed: int) -> tuple[pl.Series, str]:
    if options.test_fold is not None or options.val_fold is not None:
        return split_by(clips, options, seed=seed), _folds(options)
    given = clips.frame["split"] if "split" in clips.frame.columns else None
    if given is None or given.null_count() == len(given):
        return split_by(clips, options, seed=seed), f"shares drawn with seed {seed}"
    strange = set(given.drop_nulls().cast(pl.String)) - {*SPLITS, "unseen"}
    if strange:
        raise UsageError(
            f"the column split says {sorted(strange)[0]!r}: expected train, val, test or unseen, "
            "of which the last is left out"
        )
    return given.cast(pl.String), "the column split"


def _folds(options: SplitOptions) -> str:
    named = [("test", options.test_fold), ("val", options.val_fold)]
    return "folds: " + ", ".join(f"{name} {fold}" for name, fold in named if fold is not None)


def _are(number: int, thing: str) -> str:
    if number == 1:
        return f"1 {thing} is"
    return f"{number} {thing}{'es' if thing.endswith('s') else 's'} are"


def _shared(table: ClipTable) -> list[str]:
    """Say how many clips are judged whose very audio is trained on."""
    columns = [name for name in ("content", "start") if name in table.frame.columns]
    rows = list(zip(*(table.frame[name] for name in columns), table.frame["split"], strict=True))
    train = {tuple(key) for *key, split in rows if split == "train"}
    shared = Counter(split for *key, split in rows if split != "train" and tuple(key) in train)
    return [
        f"{_are(count, f'{split} clip')} of the same audio as a training clip."
        for split, count in sorted(shared.items())
    ]
