"""The split that a configuration asks for."""

from __future__ import annotations

import polars as pl

from tonotopy.clips import ClipTable, split_clips
from tonotopy.training.config import SplitOptions


def split_by(clips: ClipTable, options: SplitOptions, *, seed: int, test: bool = True) -> pl.Series:
    """Assign every clip to `"train"`, `"val"`, `"test"` or `"unseen"`; see `split_clips`.

    Without `test` none is drawn for the test: there are other clips for it.
    """
    return split_clips(
        clips.frame,
        test_fold=options.test_fold if test else None,
        val_fold=options.val_fold,
        test_fraction=options.test_fraction if test else 0.0,
        val_fraction=options.val_fraction,
        by=options.by,
        unseen=options.unseen,
        seed=seed,
    )
