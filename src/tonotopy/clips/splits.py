"""Training, validation and test clips: given by folds, or stable random shares."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from hashlib import blake2b
from typing import Literal

import polars as pl

from tonotopy._errors import UsageError
from tonotopy.labels import display_name

SPLITS = ("train", "val", "test", "unseen")


def split_clips(
    frame: pl.DataFrame,
    *,
    test_fold: str | None = None,
    val_fold: str | None = None,
    test_fraction: float = 0.2,
    val_fraction: float = 0.2,
    by: Literal["label", "group"] = "label",
    unseen: Sequence[str] = (),
    seed: int = 0,
) -> pl.Series:
    """Assign every clip to `"train"`, `"val"`, `"test"` or `"unseen"`.

    Shares are drawn by the hash of each clip's content and the seed: the order of the table does
    not matter, equal content always lies on one side, and new clips hardly move old ones.

    Args:
        frame: Columns `content`, `label`, `fold` and `group` of a clip table.
        test_fold: The fold to test; then `test_fraction` is not used.
        val_fold: The fold to validate on; then `val_fraction` is not used.
        test_fraction: Share of each class for the test, 0 to 1; rounded, so that small classes may
            have none.
        val_fraction: Share of each class's remaining clips for validation.
        by: `"label"` draws within each class; every class keeps a training clip. `"group"` keeps
            all clips with one `group` on one side; clips without a group are groups of their own.
        unseen: Labels in the form of `display_name`, as in `Strings/Violin`: the clips at or under
            them are `"unseen"`.
        seed: Another seed gives another split.

    Returns:
        A string series named `split`, as long as the table.

    Raises:
        UsageError: A fold does not exist, the two folds are the same, a fraction is not in
            [0, 1), or an unseen label has no clip or leaves none to train on.
    """
    _check(frame, test_fold, val_fold, test_fraction, val_fraction)
    split = ["train"] * len(frame)
    _keep_apart(frame, split, unseen)
    if test_fold is not None:
        _take_fold(frame, split, test_fold, "test")
    else:
        _take_share(frame, split, test_fraction, "test", by, f"{seed}/test")
    if val_fold is not None:
        _take_fold(frame, split, val_fold, "val")
    else:
        _take_share(frame, split, val_fraction, "val", by, f"{seed}/val")
    return pl.Series("split", split, dtype=pl.String)


def _check(
    frame: pl.DataFrame,
    test_fold: str | None,
    val_fold: str | None,
    test_fraction: float,
    val_fraction: float,
) -> None:
    folds = sorted(frame["fold"].drop_nulls().unique().to_list())
    for name, fold in (("test_fold", test_fold), ("val_fold", val_fold)):
        if fold is not None and fold not in folds:
            there = f"there are: {', '.join(folds)}" if folds else "the data has no folds"
            raise UsageError(f"{name} {fold!r} does not exist; {there}")
    if test_fold is not None and test_fold == val_fold:
        raise UsageError(f"test_fold and val_fold are both {test_fold!r}; take different folds")
    for name, fraction in (("test_fraction", test_fraction), ("val_fraction", val_fraction)):
        if not 0 <= fraction < 1:
            raise UsageError(f"{name} must be at least 0 and less than 1, got {fraction:g}")


def _keep_apart(frame: pl.DataFrame, split: list[str], unseen: Sequence[str]) -> None:
    above = [
        {display_name(path[:depth]) for depth in range(1, len(path) + 1)}
        for path in frame["label"].to_list()
    ]
    for name in unseen:
        rows = [row for row, names in enumerate(above) if name in names]
        if not rows:
            raise UsageError(f"unseen label {name!r} has no clip: write it as in 'Strings/Violin'")
        for row in rows:
            split[row] = "unseen"
    if unseen and "train" not in split:
        raise UsageError("all clips are at or under the unseen labels: none is left to train on")


def _take_fold(frame: pl.DataFrame, split: list[str], fold: str, name: str) -> None:
    for row, value in enumerate(frame["fold"].to_list()):
        if value == fold and split[row] == "train":
            split[row] = name


def _take_share(
    frame: pl.DataFrame, split: list[str], fraction: float, name: str, by: str, salt: str
) -> None:
    """Move a share of what is still in training to the split `name`."""
    if fraction == 0:
        return
    content = frame["content"].to_list()
    group = frame["group"].to_list()
    label = [tuple(path) for path in frame["label"].to_list()]
    # A unit moves as a whole: a group, or all copies of one content.
    units: dict[Hashable, list[int]] = defaultdict(list)
    for row in range(len(frame)):
        if split[row] == "train":
            grouped = by == "group" and group[row] is not None
            units[("group", group[row]) if grouped else ("content", content[row])].append(row)

    strata: dict[tuple[str, ...], list[Hashable]] = defaultdict(list)
    for unit, rows in units.items():
        strata[min(label[row] for row in rows)].append(unit)
    for members in strata.values():
        members.sort(key=lambda unit: (_draw(unit, salt), str(unit)))
        clips = sum(len(units[unit]) for unit in members)
        wanted = round(fraction * clips)
        taken = 0
        for unit in members[:-1]:  # the last one stays: every class keeps a training clip
            size = len(units[unit])
            # Take a unit while that brings the share nearer to what was asked for.
            if taken + size / 2 <= wanted:
                taken += size
                for row in units[unit]:
                    split[row] = name


def _draw(unit: Hashable, salt: str) -> bytes:
    return blake2b(f"{salt}/{unit}".encode(), digest_size=8).digest()
