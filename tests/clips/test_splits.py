"""Splits: stable, stratified, grouped, given."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tonotopy._errors import UsageError
from tonotopy.clips import split_clips


def table(
    labels: list[str], groups: list[str | None] | None = None, folds: list[str] | None = None
) -> pl.DataFrame:
    rows = range(len(labels))
    return pl.DataFrame(
        {
            "content": [f"c{row}" for row in rows],
            "label": [[label] for label in labels],
            "group": pl.Series(groups or [None] * len(labels), dtype=pl.String),
            "fold": pl.Series(folds or [None] * len(labels), dtype=pl.String),
        }
    )


def test_shares_are_those_asked_for_in_every_class() -> None:
    frame = table(["a"] * 50 + ["b"] * 100 + ["c"] * 10)
    split = split_clips(frame, test_fraction=0.2, val_fraction=0.25)
    counts = (
        frame.with_columns(split, pl.col("label").list.first()).group_by("label", "split").len()
    )
    assert {(label, name): n for label, name, n in counts.iter_rows()} == {
        ("a", "train"): 30, ("a", "val"): 10, ("a", "test"): 10,
        ("b", "train"): 60, ("b", "val"): 20, ("b", "test"): 20,
        ("c", "train"): 6, ("c", "val"): 2, ("c", "test"): 2,
    }  # fmt: skip


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=60), st.randoms())
def test_the_order_of_the_table_does_not_matter(labels, random) -> None:  # type: ignore[no-untyped-def]  # hypothesis fills them
    frame = table(labels).with_columns(split_clips(table(labels)))
    order = list(range(len(labels)))
    random.shuffle(order)
    shuffled = frame[order]
    assert split_clips(shuffled).to_list() == shuffled["split"].to_list()
    for label in set(labels):
        mine = frame.filter(pl.col("label").list.first() == label)["split"]
        assert "train" in mine.to_list()


def test_new_clips_hardly_move_old_ones() -> None:
    old = table(["a"] * 200)
    new = table(["a"] * 210)
    before, after = split_clips(old), split_clips(new)[:200]
    assert (before != after).sum() <= 10


def test_another_seed_gives_another_split() -> None:
    frame = table(["a"] * 100)
    assert split_clips(frame, seed=0).to_list() == split_clips(frame, seed=0).to_list()
    assert split_clips(frame, seed=0).to_list() != split_clips(frame, seed=1).to_list()


def test_copies_of_one_content_lie_on_one_side() -> None:
    frame = table(["a", "b"] * 40).with_columns(
        pl.Series("content", [f"c{row // 4}" for row in range(80)])
    )
    sides = (
        frame.with_columns(split_clips(frame)).group_by("content").agg(pl.col("split").n_unique())
    )
    assert sides["split"].max() == 1


def test_groups_stay_together() -> None:
    groups = [f"g{row // 5}" for row in range(100)] + [None] * 20
    frame = table(["a"] * 60 + ["b"] * 60, groups)
    frame = frame.with_columns(split_clips(frame, by="group"))
    grouped = frame.filter(pl.col("group").is_not_null())
    assert grouped.group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1
    assert set(frame["split"]) == {"train", "val", "test"}


def test_folds_are_taken_as_given() -> None:
    frame = table(["a"] * 6, folds=["1", "1", "2", "2", "3", "3"])
    split = split_clips(frame, test_fold="3", val_fold="1")
    assert split.to_list() == ["val", "val", "train", "train", "test", "test"]
    split = split_clips(frame, test_fold="3", val_fraction=0.0)
    assert split.to_list() == ["train"] * 4 + ["test"] * 2


def test_no_fractions_train_on_everything() -> None:
    split = split_clips(table(["a", "b"]), test_fraction=0.0, val_fraction=0.0)
    assert split.to_list() == ["train", "train"]


def test_one_clip_a_class_trains() -> None:
    assert split_clips(table(["a", "b", "c"])).to_list() == ["train"] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_fold": "9"}, "test_fold '9' does not exist; there are: 1, 2"),
        ({"test_fold": "1", "val_fold": "1"}, "both '1'"),
        ({"test_fraction": 1.0}, "less than 1"),
        ({"val_fraction": -0.1}, "at least 0"),
    ],
)
def test_impossible_splits_are_refused(options: dict[str, object], message: str) -> None:
    frame = table(["a", "b"], folds=["1", "2"])
    with pytest.raises(UsageError, match=message):
        split_clips(frame, **options)  # type: ignore[arg-type]  # a table of different options


def test_folds_that_the_data_lacks() -> None:
    with pytest.raises(UsageError, match="has no folds"):
        split_clips(table(["a"]), test_fold="1")


def paths(*labels: tuple[str, ...]) -> pl.DataFrame:
    """Four clips of each label path."""
    frame = table(["x"] * 4 * len(labels))
    listed = [list(label) for label in labels for _ in range(4)]
    return frame.with_columns(pl.Series("label", listed, dtype=pl.List(pl.String)))


@pytest.mark.parametrize(
    ("unseen", "hidden"),
    [
        (["a"], {("a",), ("a", "x"), ("a", "x", "1")}),
        (["a/x"], {("a", "x"), ("a", "x", "1")}),
        (["a/x/1", "b"], {("a", "x", "1"), ("b",)}),
        (["ab", "ab"], {("ab",)}),
        (["a", "a/x"], {("a",), ("a", "x"), ("a", "x", "1")}),
        ([], set()),
    ],
)
def test_clips_at_or_under_an_unseen_label_are_kept_apart(
    unseen: list[str], hidden: set[tuple[str, ...]]
) -> None:
    # "ab" begins like "a", but is no part of it; clips without a label are never hidden.
    frame = paths(("a",), ("a", "x"), ("a", "x", "1"), ("ab",), ("b",), ())
    split = split_clips(frame, unseen=unseen, test_fraction=0.25, val_fraction=0.0).to_list()
    for path, side in zip(frame["label"].to_list(), split, strict=True):
        assert (side == "unseen") == (tuple(path) in hidden)
    assert "test" in split


def test_hidden_classes_do_not_move_the_others() -> None:
    frame = paths(("a",), ("b",), ("c",))
    before, after = split_clips(frame).to_list(), split_clips(frame, unseen=["b"]).to_list()
    assert after[4:8] == ["unseen"] * 4
    assert before[:4] + before[8:] == after[:4] + after[8:]


def test_unseen_labels_win_over_folds() -> None:
    frame = table(["a"] * 4 + ["b"] * 2, folds=["1", "2", "1", "2", "1", "2"])
    split = split_clips(frame, test_fold="1", val_fold="2", unseen=["b"])
    assert split.to_list() == ["test", "val", "test", "val", "unseen", "unseen"]


@pytest.mark.parametrize("name", ["c", "a/y", "a/", "x", ""])
def test_an_unseen_label_without_clips_is_named(name: str) -> None:
    with pytest.raises(UsageError, match=f"unseen label '{name}' has no clip"):
        split_clips(paths(("a", "x"), ("b",), ()), unseen=[name])


def test_something_must_be_left_to_train_on() -> None:
    with pytest.raises(UsageError, match="none is left to train on"):
        split_clips(paths(("a",), ("b",)), unseen=["a", "b"])
