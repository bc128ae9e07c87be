"""What is known about pairs of clips, from labels and from matrices."""

from __future__ import annotations

import pytest
import torch

from tonotopy._errors import UsageError
from tonotopy.labels import LabelTree, PairRelations

TREE = LabelTree.from_paths([("a", "x", "p"), ("a", "x", "q"), ("a", "y"), ("b",)])


def bounds(paths: list[tuple[str, ...]]) -> list[list[tuple[int, int]]]:
    lo, hi = PairRelations.from_labels(TREE.encode(paths)).bounds()
    return [list(zip(*rows, strict=True)) for rows in zip(lo.tolist(), hi.tolist(), strict=True)]


def test_the_same_leaf_shares_all_levels_however_shallow() -> None:
    table = bounds([("b",), ("b",), ("a", "y"), ("a", "y"), ("a", "x", "p")])
    assert table[0][1] == (3, 3)
    assert table[2][3] == (3, 3)
    assert table[2][4] == (1, 1)
    assert table[0][4] == (0, 0)


def test_a_partial_label_leaves_an_interval() -> None:
    table = bounds([("a",), ("a", "x"), ("a", "x", "p"), ("a", "y"), ("b",), ()])
    assert table[0][:5] == [(1, 3), (1, 3), (1, 3), (1, 3), (0, 0)]
    assert table[1][2:5] == [(2, 3), (1, 1), (0, 0)]
    assert [cell for row in table for cell in row[5:]] == [(0, 3)] * 6


def test_masks_are_what_is_certain_and_leave_the_clip_itself_out() -> None:
    codes = TREE.encode([("a", "x", "p"), ("a", "x", "p"), ("a", "x"), ("b",), ()])
    same, different = PairRelations.from_labels(codes).masks(slice(0, 2))
    assert same.int().tolist() == [[0, 1, 0, 0, 0], [1, 0, 0, 0, 0]]
    assert different.int().tolist() == [[0, 0, 0, 1, 0], [0, 0, 0, 1, 0]]


def test_ids_are_one_level() -> None:
    relations = PairRelations.from_labels(torch.tensor([4, 4, 7, -1, -1]))
    assert relations.num_levels == 1
    same, different = relations.masks()
    assert same.sum() == 2
    assert different.sum() == 4
    assert relations.known().tolist() == [True, True, True, False, False]


def test_given_pairs() -> None:
    similar = torch.tensor([[True, True, False], [True, True, True], [False, True, True]])
    known = torch.tensor([[True, True, True], [True, True, False], [True, False, True]])
    same, different = PairRelations.from_similarity(similar, known).masks()
    assert same.int().tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert different.int().tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    nothing = PairRelations.from_levels(torch.full((3, 3), -1), 2)
    assert not nothing.known().any()


def test_two_remembered_clips_say_nothing_of_each_other() -> None:
    labels = torch.tensor([0, 1, 0, 0])
    relations = PairRelations.from_labels(labels, remembered=2)
    same, different = relations.masks()
    assert same.int().tolist() == [[0, 0, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
    assert different.int().tolist() == [[0, 1, 0, 0], [1, 0, 1, 1], [0, 1, 0, 0], [0, 1, 0, 0]]
    lo, hi = relations.bounds(slice(2, 4), slice(2, 4))
    assert lo.tolist() == [[0, 0], [0, 0]]
    assert hi.tolist() == [[1, 1], [1, 1]]


def test_deep_trees_do_not_overflow() -> None:
    chain = tuple(map(str, range(200)))
    tree = LabelTree.from_paths([chain, (*chain[:199], "other")])
    lo, _ = PairRelations.from_labels(tree.encode([chain, (*chain[:199], "other")])).bounds()
    assert lo.tolist() == [[200, 199], [199, 200]]


def test_other_forms_are_refused() -> None:
    with pytest.raises(UsageError, match="class ids"):
        PairRelations.from_labels(torch.zeros(3, 2))
    with pytest.raises(UsageError, match=r"\(N, N\) integer levels"):
        PairRelations.from_levels(torch.zeros(3, 2, dtype=torch.long), 1)
