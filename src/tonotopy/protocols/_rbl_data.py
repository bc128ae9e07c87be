"""The clips of the rank-based loss experiment: vectors, labels of two levels, given splits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy.geometry import unit_vectors
from tonotopy.labels import LabelTree, PairRelations

TABLE = "embeddings.parquet"
ABOUT = "tonotopy.rbl"
"""Key of the table's metadata under which it may say what its vectors are."""

SPLITS = ("train", "val", "test")
UNSEEN = "unseen"
COLUMNS = ("name", "split", "fine", "coarse")


@dataclass(frozen=True)
class LabelledVectors:
    """The clips of a split, in the order of the file.

    Args:
        vectors: (N, D) float64, standardised on the training clips, not normalised.
        codes: (N, 2) coarse class and fine class of each clip; a fine class belongs to one coarse
            class.
    """

    vectors: Tensor
    codes: Tensor

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def units(self) -> Tensor:
        """The vectors at length one."""
        return unit_vectors(self.vectors)

    @cached_property
    def levels(self) -> Tensor:
        """(N, N) levels that two clips share: 2 for one fine class, 1 for one coarse class."""
        return shared_levels(self.codes)


@dataclass(frozen=True)
class SplitVectors:
    """All clips of the experiment.

    Args:
        splits: `train`, `val`, `test`, and `unseen` where there are clips of fine classes that are
            not trained on.
        tree: Coarse and fine classes.
        about: What the vectors are, in a sentence without its full stop.
        fingerprint: Of the bytes of the file.
    """

    splits: Mapping[str, LabelledVectors]
    tree: LabelTree
    about: str
    fingerprint: str

    @property
    def tested(self) -> tuple[str, ...]:
        """The splits that are reported."""
        return ("test", UNSEEN) if UNSEEN in self.splits else ("test",)


def shared_levels(codes: Tensor) -> Tensor:
    """Give (N, N) levels, 0 to 2, that two clips share."""
    return PairRelations.from_labels(codes).bounds()[0].long()


def read_vectors(folder: Path) -> SplitVectors:
    """Read `embeddings.parquet`: name, split, fine, coarse, then one column a dimension.

    The vectors are taken as they are; they must have been standardised on the training clips.

    Args:
        folder: The folder that holds it.

    Raises:
        UsageError: There is no such file, or a column is missing.
        DataError: The file is damaged, a number is not finite, a split is missing or too small to
            be measured, or train lacks a class that val or test has.
    """
    file = folder / TABLE
    if not file.is_file():
        raise UsageError(f"no {TABLE} in {folder}")
    try:
        frame = pl.read_parquet(file)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"cannot read {file}: {error}") from error
    missing = [name for name in COLUMNS if name not in frame.columns]
    features = [name for name in frame.columns if name[0] == "e" and name[1:].isdigit()]
    if missing or not features:
        lacking = ", ".join(missing or ["e000, e001, ..."])
        raise UsageError(
            f"{file} has no column {lacking}; expected {', '.join(COLUMNS)} and e000, e001, ..., "
            "one a dimension"
        )
    if frame.select(pl.col(*COLUMNS).null_count()).sum_horizontal().item():
        raise DataError(f"{file}: a name, split or label is empty; every clip needs all of them")
    vectors = torch.from_numpy(frame.select(features).to_numpy().astype(np.float64))
    if not vectors.isfinite().all():
        raise DataError(f"{file}: a number in {features[0]} to {features[-1]} is not finite")
    paths = list(zip(frame["coarse"].cast(str), frame["fine"].cast(str), strict=True))
    tree = LabelTree.from_paths(paths)
    codes, split = tree.encode(paths), frame["split"].to_numpy()
    splits = {
        name: LabelledVectors(vectors[split == name], codes[split == name])
        for name in (*SPLITS, UNSEEN)
        if (split == name).any()
    }
    _check_splits(splits, tree, file)
    fingerprint = hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()
    about = pl.read_parquet_metadata(file).get(ABOUT, f"Vectors as given in {file}")
    return SplitVectors(splits, tree, about, fingerprint)


def _check_splits(splits: Mapping[str, LabelledVectors], tree: LabelTree, file: Path) -> None:
    for name in SPLITS:
        if name not in splits:
            raise DataError(f"{file}: no clip has the split {name!r}; expected {', '.join(SPLITS)}")
    for name, clips in splits.items():
        for level, column in zip(("coarse", "fine"), clips.codes.T, strict=True):
            if not 2 <= len(column.unique()) < len(clips):
                raise DataError(
                    f"{file}: the split {name!r} has {len(clips)} clips of {len(column.unique())} "
                    f"{level} classes; silhouettes need two classes and more clips than classes"
                )
    trained = set(splits["train"].codes[:, 1].tolist())
    for name in SPLITS[1:]:
        new = sorted(set(splits[name].codes[:, 1].tolist()) - trained)
        if new:
            raise DataError(
                f"{file}: no training clip is of {'/'.join(tree.path(new[0]))}, which {name!r} "
                f"has; clips of classes that are not trained on belong to the split {UNSEEN!r}"
            )
    if UNSEEN in splits:
        unseen = splits[UNSEEN].codes
        seen = sorted(set(unseen[:, 1].tolist()) & trained)
        foreign = sorted(set(unseen[:, 0].tolist()) - set(splits["train"].codes[:, 0].tolist()))
        for node, what in ((seen, "is trained on"), (foreign, "is no coarse class of train")):
            if node:
                raise DataError(
                    f"{file}: {'/'.join(tree.path(node[0]))} of the split {UNSEEN!r} {what}; it "
                    "takes new fine classes of known coarse classes"
                )
