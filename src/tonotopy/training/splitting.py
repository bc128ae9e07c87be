"""The split that a configuration asks for."""

from __future__ import annotations

import polars as pl

from tonotopy.clips import ClipTable, split_clips
from tonotopy.training.config import SplitOptions


def split_by(clips: ClipTable, options: SplitOptions, *, seed: int) -> pl.Series:
    """Assign every clip to `"train"`, `"val"`, `"test"` or `"unseen"`; see `split_clips`."""
    return split_clips(
        clips.frame,
        test_fold=options.test_fold,
        val_fold=options.val_fold,
        test_fraction=options.test_fraction,
        val_fraction=options.val_fraction,
        by=options.by,
        unseen=options.unseen,
        seed=seed,
    )
