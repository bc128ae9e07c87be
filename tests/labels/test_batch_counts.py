"""Pairs and triplets of a batch, counted and looped over."""

from __future__ import annotations

from itertools import combinations, permutations

import pytest
import torch
from hypothesis import given, settings
from labelled_clips import Labelled, labelled_clips
from tree_pair_rows import shared_levels

from tonotopy._errors import UsageError
from tonotopy.labels import LabelTree, relation_counts

# Two families, four instruments, six techniques; two clips of each technique.
LEAVES = [("a", "w", "0"), ("a", "w", "1"), ("a", "x", "2"), ("b", "y", "3"), ("b", "y", "4")]
LEAVES += [("b", "z", "5")]
PATHS = [leaf for leaf in LEAVES for _ in range(2)]
GOLDEN_TRIPLETS = 440
GOLDEN_CERTAIN_TRIPLETS = 420


@settings(deadline=None, max_examples=60)
@given(labelled_clips())
def test_counts_are_those_of_loops(labelled: Labelled) -> None:
    tree, paths = labelled
    codes = tree.encode(paths[:24])
    rows = codes.tolist()
    pairs, unknown = [0] * (tree.num_levels + 1), 0
    for a, b in combinations(rows, 2):
        lo, hi = shared_levels(a, b)
        if lo == hi:
            pairs[lo] += 1
        else:
            unknown += 1
    triplets = [0] * (tree.num_levels + 1)
    for a, p, n in permutations(rows, 3):
        nearer = shared_levels(a, p)[0]
        triplets[nearer] += nearer > shared_levels(a, n)[1]
    counts = relation_counts(codes)
    assert counts.pairs.tolist() == pairs
    assert counts.unknown_pairs.item() == unknown
    assert counts.triplets.tolist() == triplets


def test_the_reference_tree() -> None:
    tree = LabelTree(LEAVES)
    counts = relation_counts(tree.encode(PATHS))
    assert counts.triplets.sum() == GOLDEN_TRIPLETS
    assert counts.pairs.tolist() == [36, 16, 8, 6]
    blurred: list[tuple[str, ...]] = list(PATHS)
    blurred[5], blurred[11] = ("a",), ("b", "z")
    assert relation_counts(tree.encode(blurred)).triplets.sum() == GOLDEN_CERTAIN_TRIPLETS


def test_class_ids_are_one_level() -> None:
    counts = relation_counts(torch.tensor([4, 4, 7, -1]))
    assert counts.pairs.tolist() == [2, 1]
    assert counts.unknown_pairs == 3
    assert counts.triplets.tolist() == [0, 2]


@pytest.mark.parametrize("clips", [0, 1])
def test_a_batch_without_pairs_counts_nothing(clips: int) -> None:
    counts = relation_counts(torch.zeros(clips, 2, dtype=torch.long))
    assert counts.pairs.tolist() == counts.triplets.tolist() == [0, 0, 0]
    assert counts.unknown_pairs == 0


def test_labels_of_another_form_are_refused() -> None:
    with pytest.raises(UsageError, match="class ids"):
        relation_counts(torch.zeros(3, 2, 1, dtype=torch.long))
