"""The clips of FSDnoisy18k in the roles that the angular contrastive paper gives them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from tonotopy._errors import DataError
from tonotopy.clips import ClipTable, window_clips
from tonotopy.datasets.fsdnoisy18k import SUBSETS
from tonotopy.training import SplitOptions
from tonotopy.training.splitting import split_by

PARTS = ("noisy", "clean", "test")
"""Disjoint, and all clips together."""

VAL_FRACTION = 0.15
"""Of the training clips, where none are set apart."""

PATCH_SECONDS, SUPERVISED_PATCH_SECONDS = 1.0, 2.0


@dataclass(frozen=True)
class AclData:
    """The clips, of which `fold` is the part.

    Args:
        clips: Of `load_fsdnoisy18k`.
    """

    clips: ClipTable

    @classmethod
    def of(cls, clips: ClipTable) -> AclData:
        """Say of every clip which part it is of.

        Raises:
            DataError: A part has no clip.
        """
        known = pl.when(SUBSETS["test"]).then(pl.lit("test"))
        fold = known.when(SUBSETS["clean"]).then(pl.lit("clean")).otherwise(pl.lit("noisy"))
        found = clips.with_columns(clips.frame.select(fold.alias("fold"))["fold"])
        for part in PARTS:
            if part not in found.frame["fold"]:
                raise DataError(
                    f"{clips.root} holds no {part} clip of FSDnoisy18k: the experiment needs all "
                    "of train-noisy, train-clean and test"
                )
        return cls(found)

    @property
    def counts(self) -> dict[str, int]:
        """Clips of each part."""
        return {part: int((self.clips.frame["fold"] == part).sum()) for part in PARTS}

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits that other clips, labels or parts would change."""
        digest = hashlib.blake2b(digest_size=16)
        for row in self.clips.frame.select("content", "label", "fold").sort("content").rows():
            digest.update(repr(row).encode())
        return digest.hexdigest()

    def for_probe(self, kind: Literal["noisy", "clean"], seed: int) -> ClipTable:
        """Give the clips with the column `split` for a linear classifier or fine-tuning.

        `"noisy"` trains on all noisy clips with their noisy labels, and the clean ones choose the
        epoch; `"clean"` draws both from the clean ones, class by class.
        """
        if kind == "noisy":
            options = SplitOptions(test_fold="test", val_fold="clean")
            return self._split(self.clips, options, seed)
        kept = self.clips.filter(pl.col("fold").is_in(["clean", "test"]))
        return self._split(kept, self.drawn, seed)

    def for_supervised(self, subset: str) -> ClipTable:
        """Give all patches of a subset's clips, half of one apart, and the test clips whole."""
        train = self.clips.filter(SUBSETS[subset])
        windows = window_clips(train, SUPERVISED_PATCH_SECONDS, SUPERVISED_PATCH_SECONDS / 2)
        test = self.test.frame.with_columns(pl.lit(None, pl.Float64).alias("start"))
        return ClipTable(pl.concat([windows.frame, test.select(windows.frame.columns)]), train.root)

    @property
    def drawn(self) -> SplitOptions:
        """The options that draw validation clips from the training clips."""
        return SplitOptions(test_fold="test", val_fraction=VAL_FRACTION)

    @property
    def test(self) -> ClipTable:
        """The test clips."""
        return self.clips.filter(SUBSETS["test"])

    @property
    def clean(self) -> ClipTable:
        """The training clips with verified labels."""
        return self.clips.filter(SUBSETS["clean"])

    def write(self, clips: ClipTable, path: Path) -> Path:
        """Write a table for `fit`, once."""
        if not path.is_file():
            clips.write(path)
        return path

    def _split(self, clips: ClipTable, options: SplitOptions, seed: int) -> ClipTable:
        return clips.with_columns(split_by(clips, options, seed=seed).alias("split"))
