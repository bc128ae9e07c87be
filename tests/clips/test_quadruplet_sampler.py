"""Groups of kin: one clip of every degree, each clip used about once."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from labelled_clips import Labelled, labelled_clips, spread
from tree_pair_rows import shared_levels

from tonotopy._errors import UsageError
from tonotopy.clips import QuadrupletBatchSampler
from tonotopy.labels import LabelTree, relation_counts

SIZES = {
    ("indoor", "home"): 58,
    ("indoor", "library"): 52,
    ("indoor", "station"): 55,
    ("outdoor", "street"): 58,
    ("outdoor", "beach"): 53,
    ("outdoor", "forest"): 52,
    ("vehicle", "bus"): 53,
    ("vehicle", "train"): 50,
    ("vehicle", "tram"): 49,
}
TREE = LabelTree(SIZES)
CODES = TREE.encode([path for path, size in SIZES.items() for _ in range(size)])


def test_batches_of_two_levels_are_quadruplets_that_use_each_clip_about_once() -> None:
    made = QuadrupletBatchSampler(CODES, TREE)
    batches = list(made)
    assert made.group_size == 4
    assert [len(batch) for batch in batches] == [12] * 40
    for batch in batches:
        for first in range(0, 12, 4):
            rows = [CODES[clip].tolist() for clip in batch[first : first + 4]]
            shared = [shared_levels(rows[0], row) for row in rows[1:]]
            assert shared == [(2, 2), (1, 1), (0, 0)]
        assert (relation_counts(CODES[batch]).pairs > 0).all()
    used = Counter(clip for batch in batches for clip in batch)
    assert len(used) >= 0.97 * len(CODES)
    assert max(used.values()) <= 2


@settings(deadline=None, max_examples=200)
@given(labelled_clips(), st.integers(1, 3), st.integers(0, 3))
def test_groups_of_any_tree_go_from_near_to_far(
    labelled: Labelled, quadruplets: int, epoch: int
) -> None:
    tree, paths = labelled
    codes = tree.encode(paths)
    rows = codes.tolist()

    def degrees(anchor: int) -> list[int]:
        bounds = {shared_levels(rows[anchor], rows[b]) for b in range(len(rows)) if b != anchor}
        return sorted((lo for lo, hi in bounds if lo == hi), reverse=True)

    complete = [clip for clip, path in enumerate(paths) if path and not tree.is_partial(path)]
    most = max((len(degrees(clip)) for clip in complete), default=0)
    assume(most > 0)
    made = QuadrupletBatchSampler(codes, tree, quadruplets=quadruplets)
    assert made.group_size == 1 + most
    made.set_epoch(epoch)
    batches = list(made)
    assert len(batches) == len(made)
    labelled_number = sum(path != () for path in paths)
    assert 0 <= sum(map(len, batches)) - labelled_number < quadruplets * made.group_size
    for batch in batches:
        for first in range(0, len(batch), made.group_size):
            anchor, *kin = batch[first : first + made.group_size]
            assert len({anchor, *kin}) == made.group_size
            assert [(h, h) for h in degrees(anchor)] == [
                shared_levels(rows[anchor], rows[other]) for other in kin
            ]


def test_no_clip_is_used_again_while_another_will_do() -> None:
    leaves = [(f, i) for f in "ab" for i in "xy"]
    tree = LabelTree(leaves)
    made = QuadrupletBatchSampler(tree.encode(leaves * 2), tree, quadruplets=1)
    for epoch in range(20):
        made.set_epoch(epoch)
        first, _ = made
        assert len(set(first)) == 4
    codes = tree.encode([("a", "x")] * 2 + [("a", "y")] + [("b",)] * 40)
    used = Counter(batch[3] for batch in QuadrupletBatchSampler(codes, tree, quadruplets=1))
    assert set(used.values()) == {1}


def make(rank: int = 0, world_size: int = 1, seed: int = 0) -> QuadrupletBatchSampler:
    tree, codes = spread()
    return QuadrupletBatchSampler(
        codes, tree, quadruplets=2, seed=seed, rank=rank, world_size=world_size
    )


def test_epochs_and_seeds_differ_and_repeat() -> None:
    def epoch(number: int, seed: int = 0) -> list[list[int]]:
        made = make(seed=seed)
        made.set_epoch(number)
        return list(made)

    assert epoch(3) == epoch(3)
    assert epoch(3) != epoch(4)
    assert epoch(3) != epoch(3, seed=1)


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
    with pytest.raises(UsageError, match="must be positive"):
        QuadrupletBatchSampler(CODES, TREE, quadruplets=0)
    with pytest.raises(UsageError, match="groups of kin"):
        QuadrupletBatchSampler(CODES[:1], TREE)
    with pytest.raises(UsageError, match="no clip has a label"):
        QuadrupletBatchSampler(torch.full((3, 2), -1), TREE)
