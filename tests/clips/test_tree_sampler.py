"""Batches by tree: their size, their coverage, the kinship in each, their place and their ranks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_clips import Labelled, certain_levels, labelled_clips, spread

from tonotopy._errors import UsageError
from tonotopy.clips import TreeBatchSampler
from tonotopy.clips._turns import deal_turns, even_turns
from tonotopy.labels import LabelTree

TREE, CODES = spread()


def sampler(rank: int = 0, world_size: int = 1, seed: int = 0) -> TreeBatchSampler:
    return TreeBatchSampler(
        CODES,
        TREE,
        branching=(3, 2, 2),
        clips_per_leaf=1,
        seed=seed,
        rank=rank,
        world_size=world_size,
    )


@settings(deadline=None, max_examples=200)
@given(
    labelled_clips(),
    st.lists(st.integers(1, 3), min_size=1, max_size=4),
    st.integers(1, 3),
    st.integers(0, 3),
)
def test_batches_have_their_size_miss_no_clip_and_no_level(
    labelled: Labelled, branching: list[int], clips_per_leaf: int, epoch: int
) -> None:
    tree, paths = labelled
    codes = tree.encode(paths)
    branching = branching[: tree.num_levels]
    made = TreeBatchSampler(codes, tree, branching=branching, clips_per_leaf=clips_per_leaf)
    made.set_epoch(epoch)
    batches = list(made)
    assert len(batches) == len(made)
    size = min(math.prod(branching) * clips_per_leaf, len(paths))
    assert all(len(batch) == len(set(batch)) == size for batch in batches)
    assert {clip for batch in batches for clip in batch} == set(range(len(paths)))
    present = certain_levels(codes, range(len(paths)))
    if size >= 4 * len(present):  # half a batch takes a pair of every level
        assert all(certain_levels(codes, batch) == present for batch in batches)


@settings(deadline=None, max_examples=50)
@given(labelled_clips(), st.integers(1, 3))
def test_the_usual_branching_suits_any_tree(labelled: Labelled, clips_per_leaf: int) -> None:
    tree, paths = labelled
    made = TreeBatchSampler(tree.encode(paths), tree, clips_per_leaf=clips_per_leaf)
    assert len(made.branching) == tree.num_levels
    assert {clip for batch in made for clip in batch} == set(range(len(paths)))


def test_the_usual_branching() -> None:
    def branching(paths: Sequence[tuple[str, ...]]) -> tuple[int, ...]:
        tree = LabelTree(paths)
        return TreeBatchSampler(tree.encode(paths), tree).branching

    families = [(f, i, t) for f in "abcdef" for i in "xyz" for t in "pqr"]
    assert branching(families) == (4, 2, 2)
    assert branching([path[:2] for path in families]) == (8, 2)
    assert branching([path[:1] for path in families]) == (16,)
    assert branching([(f, "chain", t) for f in "ab" for t in "pq"]) == (8, 1, 2)


def test_a_full_tree_is_descended_as_asked() -> None:
    leaves = [(f, i, t) for f in "abcde" for i in "xyz" for t in "pqr"]
    tree = LabelTree(leaves)
    codes = tree.encode(leaves * 4)
    for batch in TreeBatchSampler(codes, tree, branching=(4, 2, 2), clips_per_leaf=2):
        rows = codes[batch]
        for depth, (nodes, clips) in enumerate([(4, 8), (8, 4), (16, 2)]):
            counts = Counter(rows[:, depth].tolist())
            assert len(counts) == nodes
            assert set(counts.values()) == {clips}
        assert all(
            len({row[depth + 1] for row in rows.tolist() if row[depth] == node}) == 2
            for depth in (0, 1)
            for node in set(rows[:, depth].tolist())
        )


def test_nodes_with_fewer_children_and_shallow_leaves_keep_their_part() -> None:
    paths = [("a", "x"), ("a", "y"), ("b", "only"), ("c",)]
    tree = LabelTree(paths)
    codes = tree.encode(paths * 8)
    for batch in TreeBatchSampler(codes, tree, branching=(3, 2), clips_per_leaf=2):
        families = Counter(codes[batch, 0].tolist())
        assert families == {tree.node(("a",)): 4, tree.node(("b",)): 4, tree.node(("c",)): 4}


def test_levels_beyond_the_branching_take_one_child() -> None:
    leaves = [(f, i, t) for f in "ab" for i in "xy" for t in "pq"]
    tree = LabelTree(leaves)
    codes = tree.encode(leaves * 8)
    for batch in TreeBatchSampler(codes, tree, branching=(2,), clips_per_leaf=8):
        # Four of 16 are kept for levels that two leaves alone do not have.
        (first, one), (second, other) = Counter(codes[batch, 2].tolist()).most_common(2)
        assert min(one, other) >= 6
        assert tree.path(first)[0] != tree.path(second)[0]
        assert certain_levels(codes, batch) == {0, 1, 2, 3}


def test_clips_known_to_a_node_follow_their_number() -> None:
    leaves = [(f, i) for f in "ab" for i in "xy"]
    tree = LabelTree(leaves)
    codes = tree.encode(leaves * 50 + [("a",)] * 20 + [("b",)] * 5 + [()] * 25)
    made = TreeBatchSampler(codes, tree, branching=(2, 2), clips_per_leaf=4)
    drawn = np.array([clip for batch in made for clip in batch])
    known_to_a, known_to_b = (drawn >= 200) & (drawn < 220), (drawn >= 220) & (drawn < 225)
    assert known_to_a.mean() == pytest.approx(20 / 250, rel=0.3)
    assert known_to_b.mean() == pytest.approx(5 / 250, rel=0.5)
    assert (drawn >= 225).mean() == pytest.approx(25 / 250, rel=0.3)


def test_a_level_that_one_family_has_is_in_every_batch() -> None:
    paths = [("a", "x"), ("a", "y"), ("b", "only"), ("c", "only")]
    tree = LabelTree(paths)
    codes = tree.encode(paths * 40)
    batches = list(TreeBatchSampler(codes, tree, branching=(2, 2), clips_per_leaf=3))
    assert all(certain_levels(codes, batch) == {0, 1, 2} for batch in batches)


def test_one_partial_label_among_many_is_drawn() -> None:
    leaves = [(f, i) for f in "ab" for i in "xy"]
    tree = LabelTree(leaves)
    codes = tree.encode([*leaves * 250, ("a",), ()])
    made = TreeBatchSampler(codes, tree, branching=(2, 2), clips_per_leaf=4)
    assert {1000, 1001} <= {clip for batch in made for clip in batch}


def test_clips_known_to_families_only_are_drawn_by_family() -> None:
    tree = LabelTree([("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")])
    codes = tree.encode([("a",)] * 30 + [("b",)] * 10)
    for batch in TreeBatchSampler(codes, tree, branching=(2, 2), clips_per_leaf=2):
        assert sorted(codes[batch, 0].tolist()) == [0] * 4 + [3] * 4


def test_epochs_and_seeds_differ_and_repeat() -> None:
    def epoch(number: int, seed: int = 0) -> list[list[int]]:
        made = sampler(seed=seed)
        made.set_epoch(number)
        return list(made)

    assert epoch(3) == epoch(3)
    assert epoch(3) != epoch(4)
    assert epoch(3) != epoch(3, seed=1)


@pytest.mark.parametrize("stop", [0, 1, 3])
def test_a_resumed_epoch_goes_on_with_the_next_batch(stop: int) -> None:
    whole, first, second = sampler(), sampler(), sampler()
    for made in (whole, first):
        made.set_epoch(2)
    iterator = iter(first)
    served = [next(iterator) for _ in range(stop)]
    second.load_state_dict(first.state_dict())
    assert served + list(second) == list(whole)


@pytest.mark.parametrize("world_size", [2, 3, 100])
def test_ranks_share_an_epoch(world_size: int) -> None:
    alone = list(sampler())
    ranks = [list(sampler(rank=rank, world_size=world_size)) for rank in range(world_size)]
    dealt = [batch for round_ in zip(*ranks, strict=True) for batch in round_]
    assert dealt[: len(alone)] == alone
    assert all(batch in alone for batch in dealt)


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=8), st.integers(1, 8), st.integers(0, 9))
def test_turns_are_dealt_out_evenly_and_never_twice_in_a_visit(
    required: list[int], per_visit: int, more: int
) -> None:
    per_visit = min(per_visit, len(required))
    visits = max(math.ceil(sum(required) / per_visit), *required) + more
    random = np.random.default_rng(0)
    turns = even_turns(np.array(required), visits, per_visit, random)
    assert turns.sum() == visits * per_visit
    assert (turns >= required).all()
    assert (turns <= visits).all()
    above = turns[turns > required]
    assert above.size == 0 or turns.min() >= above.max() - 1
    table = deal_turns(turns, per_visit, random)
    assert table.shape == (visits, per_visit)
    assert all(len(set(row)) == per_visit for row in table.tolist())
    assert np.bincount(table.ravel(), minlength=len(required)).tolist() == turns.tolist()


def test_every_two_children_meet() -> None:
    table = deal_turns(np.full(10, 40), 2, np.random.default_rng(0))
    pairs = Counter(tuple(sorted(row)) for row in table.tolist())
    assert len(pairs) == 45  # 200 visits; 4.4 a pair expected
    assert max(pairs.values()) < 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"branching": (2, 0)}, "must be positive"),
        ({"clips_per_leaf": 0}, "must be positive"),
        ({"branching": (2, 2, 2, 2)}, "the tree has 3"),
        ({"rank": 1}, "rank"),
    ],
)
def test_impossible_batches_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TreeBatchSampler(CODES, TREE, **options)  # type: ignore[arg-type]  # various options


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (CODES[:, :2], r"expected codes \(N, 3\)"),
        (CODES.float(), r"expected codes \(N, 3\)"),
        (torch.full((4, 3), -1), "no clip has a label"),
        (torch.full((4, 3), 99), "no node of this tree"),
        (CODES[:0], "no clip has a label"),
    ],
)
def test_codes_that_do_not_fit_are_refused(codes: torch.Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TreeBatchSampler(codes, TREE)
