"""Triplets by tree: their number, their validity, which can occur, and what they count."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import assume, given, settings
from labelled_clips import Labelled, labelled_clips, spread
from tree_pair_rows import shared_levels

from tonotopy._errors import UsageError
from tonotopy.clips import TreeTripletSampler
from tonotopy.labels import LabelTree

# The reference tree: two families, four instruments of which two have a single technique.
LEAVES = [
    ("f0", "i0", "t0"),
    ("f0", "i0", "t1"),
    ("f0", "i1", "t2"),
    ("f1", "i2", "t3"),
    ("f1", "i2", "t4"),
    ("f1", "i3", "t5"),
]
PATHS = [leaf for leaf in LEAVES for _ in range(2)]
TREE = LabelTree(LEAVES)
CODES = TREE.encode(PATHS)
GOLDEN_TRIPLETS = 14
GOLDEN_REACHABLE = 256
GOLDEN_FAMILY_COUNTS = [21, 21]

Triplet = tuple[int, int, int]


def epoch_triplets(made: TreeTripletSampler, epoch: int = 0) -> list[Triplet]:
    made.set_epoch(epoch)
    triplets = []
    for batch in made:
        size = len(batch) // 3
        triplets += list(zip(batch[:size], batch[size : 2 * size], batch[2 * size :], strict=True))
    return triplets


def published_rows(
    tree: LabelTree, paths: list[tuple[str, ...]]
) -> list[tuple[set[int], set[int], set[int]]]:
    """The clips that anchor, positive and negative of each triplet may be, by the description."""

    def clips(node: tuple[str, ...]) -> set[int]:
        return {clip for clip, path in enumerate(paths) if path[: len(node)] == node}

    nodes = [tree.path(node) for node in range(tree.num_nodes) if clips(tree.path(node))]

    def below(node: tuple[str, ...]) -> list[tuple[str, ...]]:
        return [child for child in nodes if child[:-1] == node]

    def height(node: tuple[str, ...]) -> int:
        return max((1 + height(child) for child in below(node)), default=0)

    def reached(node: tuple[str, ...], levels: int) -> list[tuple[str, ...]]:
        if levels == 0 or not below(node):
            return [node]
        return [end for child in below(node) for end in reached(child, levels - 1)]

    rows = []
    for fork in [(), *nodes]:
        for positive, negative in permutations(below(fork), 2):
            parts = reached(positive, min(height(fork) - 1, 1))
            if len(parts) > 1:
                for anchor, other in permutations(parts, 2):
                    rows.append((clips(anchor), clips(other), clips(negative)))
            elif len(clips(positive)) > 1:
                rows.append((clips(positive), clips(positive), clips(negative)))
    return rows


def test_the_reference_tree() -> None:
    made = TreeTripletSampler(CODES, TREE, triplets_per_batch=GOLDEN_TRIPLETS)
    assert made.num_triplets == GOLDEN_TRIPLETS
    seen = {triplet for epoch in range(400) for triplet in epoch_triplets(made, epoch)}
    assert len(seen) == GOLDEN_REACHABLE


def test_slots_are_counted_for_every_node() -> None:
    made = TreeTripletSampler(CODES, TREE, triplets_per_batch=7)
    made.set_epoch(5)
    counts = made.slot_counts()
    assert counts == made.slot_counts()
    slots = [clip for triplet in epoch_triplets(made, 5) for clip in triplet]
    assert counts == TREE.counts(PATHS[clip] for clip in slots)
    families = TREE.children(-1)  # the only counts that are not left to chance
    assert [counts[node] for node in families] == GOLDEN_FAMILY_COUNTS


def test_counts_are_those_of_the_current_epoch() -> None:
    leaves = [(f, i) for f in "abc" for i in "xyz"]
    tree = LabelTree(leaves)
    made = TreeTripletSampler(tree.encode(leaves * 9), tree, triplets_per_batch=5)
    first = made.slot_counts()
    assert sum(first[node] for node in tree.children(-1)) == 3 * made.num_triplets
    list(made)
    assert made.slot_counts() != first


@settings(deadline=None, max_examples=200)
@given(labelled_clips())
def test_triplets_of_any_tree_are_valid_and_as_described(labelled: Labelled) -> None:
    tree, paths = labelled
    rows = published_rows(tree, paths)
    assume(rows)
    codes = tree.encode(paths)
    made = TreeTripletSampler(codes, tree, triplets_per_batch=len(rows))
    assert made.num_triplets == len(rows)
    triplets = epoch_triplets(made)
    assert len(triplets) == len(rows)
    labels = codes.tolist()
    for anchor, positive, negative in triplets:
        assert len({anchor, positive, negative}) == 3
        nearer = shared_levels(labels[anchor], labels[positive])[0]
        assert nearer > shared_levels(labels[anchor], labels[negative])[1]
        assert any(anchor in a and positive in p and negative in n for a, p, n in rows)


def test_draws_are_uniform_over_the_clips_of_a_node() -> None:
    tree = LabelTree([("a",), ("b",)])
    made = TreeTripletSampler(tree.encode([("a",)] * 3 + [("b",)]), tree, triplets_per_batch=1)
    assert made.num_triplets == 1  # b has no second clip
    drawn = [epoch_triplets(made, epoch)[0] for epoch in range(1200)]
    assert {n for _, _, n in drawn} == {3}
    for pair in permutations(range(3), 2):
        share = sum((a, p) == pair for a, p, _ in drawn) / len(drawn)
        assert share == pytest.approx(1 / 6, abs=0.05)


def test_the_rest_that_fills_no_batch_is_left_out() -> None:
    made = TreeTripletSampler(CODES, TREE, triplets_per_batch=4)
    assert len(made) == 3
    assert [len(batch) for batch in made] == [12] * 3
    left_out = TreeTripletSampler(CODES, TREE, triplets_per_batch=13)
    seen = {triplet for epoch in range(500) for triplet in epoch_triplets(left_out, epoch)}
    assert len(seen) == GOLDEN_REACHABLE  # now these, then others


def make(rank: int = 0, world_size: int = 1, seed: int = 0) -> TreeTripletSampler:
    tree, codes = spread()
    return TreeTripletSampler(
        codes, tree, triplets_per_batch=4, seed=seed, rank=rank, world_size=world_size
    )


def test_epochs_and_seeds_differ_and_repeat() -> None:
    assert epoch_triplets(make(), 3) == epoch_triplets(make(), 3)
    assert epoch_triplets(make(), 3) != epoch_triplets(make(), 4)
    assert epoch_triplets(make(), 3) != epoch_triplets(make(seed=1), 3)


@pytest.mark.parametrize("stop", [0, 1, 3])
def test_a_resumed_epoch_goes_on_with_the_next_batch(stop: int) -> None:
    whole, first, second = make(), make(), make()
    iterator = iter(first)
    served = [next(iterator) for _ in range(stop)]
    second.load_state_dict(first.state_dict())
    assert served + list(second) == list(whole)


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_an_epoch(world_size: int) -> None:
    alone = list(make())
    ranks = [list(make(rank=rank, world_size=world_size)) for rank in range(world_size)]
    dealt = [batch for round_ in zip(*ranks, strict=True) for batch in round_]
    assert dealt[: len(alone)] == alone


def test_impossible_batches_are_refused() -> None:
    with pytest.raises(UsageError, match="14 triplets an epoch, too few"):
        TreeTripletSampler(CODES, TREE, triplets_per_batch=15)
    with pytest.raises(UsageError, match="must be positive"):
        TreeTripletSampler(CODES, TREE, triplets_per_batch=0)
    chain = LabelTree([("a", "b", "c")])
    with pytest.raises(UsageError, match="0 triplets an epoch"):
        TreeTripletSampler(chain.encode([("a", "b", "c")] * 5), chain)
