"""Batches by class: their shape, their coverage, their place in an epoch, their ranks."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tonotopy._errors import UsageError
from tonotopy.clips import BatchSampler, PKBatchSampler, ShuffledBatchSampler

LABELS = [0] * 20 + [1] * 3 + [2] * 7 + [3] + [-1] * 5 + [4] * 9


def pk(rank: int = 0, world_size: int = 1, seed: int = 0) -> PKBatchSampler:
    return PKBatchSampler(
        LABELS, classes_per_batch=3, clips_per_class=4, seed=seed, rank=rank, world_size=world_size
    )


@pytest.mark.parametrize(("clips", "sizes"), [(7, [3, 4]), (8, [3, 3, 2]), (4, [4]), (1, [1])])
def test_no_clip_is_left_alone(clips: int, sizes: list[int]) -> None:
    sampler = ShuffledBatchSampler(clips, batch_size=3)
    batches = sampler.epoch_batches(0)
    assert [len(batch) for batch in batches] == sizes
    assert len(sampler) == len(sizes)
    assert sorted(clip for batch in batches for clip in batch) == list(range(clips))


def shuffled(rank: int = 0, world_size: int = 1, seed: int = 0) -> ShuffledBatchSampler:
    return ShuffledBatchSampler(44, batch_size=8, seed=seed, rank=rank, world_size=world_size)


@settings(deadline=None)
@given(
    st.lists(st.integers(-1, 5), min_size=1, max_size=60).filter(lambda labels: max(labels) >= 0),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 3),
)
def test_batches_have_their_shape_and_miss_no_clip(
    labels: list[int], classes: int, clips: int, epoch: int
) -> None:
    sampler = PKBatchSampler(labels, classes_per_batch=classes, clips_per_class=clips)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    present = {label for label in labels if label >= 0}
    for batch in batches:
        counts = Counter(labels[index] for index in batch)
        assert len(counts) == min(classes, len(present))
        assert set(counts.values()) == {clips}
    seen = {index for batch in batches for index in batch}
    assert seen == {index for index, label in enumerate(labels) if label >= 0}


def test_a_batch_repeats_no_clip_of_a_class_that_is_large_enough() -> None:
    for batch in pk():
        large = [index for index in batch if LABELS[index] in {0, 2, 4}]
        assert len(set(large)) == len(large)


@pytest.mark.parametrize("make", [pk, shuffled])
def test_epochs_and_seeds_differ_and_repeat(make: type[BatchSampler]) -> None:
    def epoch(number: int, seed: int = 0) -> list[list[int]]:
        sampler = make(seed=seed)  # type: ignore[call-arg]  # a factory, not the class
        sampler.set_epoch(number)
        return list(sampler)

    assert epoch(3) == epoch(3)
    assert epoch(3) != epoch(4)
    assert epoch(3) != epoch(3, seed=1)


@pytest.mark.parametrize("make", [pk, shuffled])
@pytest.mark.parametrize("stop", [0, 1, 3])
def test_a_resumed_epoch_goes_on_with_the_next_batch(make: type[BatchSampler], stop: int) -> None:
    whole, first, second = make(), make(), make()  # type: ignore[call-arg]  # factories
    for sampler in (whole, first):
        sampler.set_epoch(2)
    expected = list(whole)
    iterator = iter(first)
    served = [next(iterator) for _ in range(stop)]
    second.load_state_dict(first.state_dict())
    second.set_epoch(first.state_dict()["epoch"])
    assert served + list(second) == expected
    assert second.state_dict() == {"epoch": 3, "batch": 0}


@pytest.mark.parametrize("make", [pk, shuffled])
@pytest.mark.parametrize("world_size", [2, 3, 50])
def test_ranks_share_an_epoch(make: type[BatchSampler], world_size: int) -> None:
    alone = list(make())  # type: ignore[call-arg]  # a factory
    ranks = [list(make(rank=rank, world_size=world_size)) for rank in range(world_size)]  # type: ignore[call-arg]  # a factory
    assert len({len(batches) for batches in ranks}) == 1
    dealt = [batch for round_ in zip(*ranks, strict=True) for batch in round_]
    assert dealt[: len(alone)] == alone
    assert all(batch in alone for batch in dealt)


def test_shuffled_batches_hold_every_clip_once() -> None:
    assert sorted(index for batch in shuffled() for index in batch) == list(range(44))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: PKBatchSampler([-1], classes_per_batch=1, clips_per_class=1),
            "no clip has a label",
        ),
        (lambda: PKBatchSampler([0], classes_per_batch=0, clips_per_class=1), "at least one class"),
        (lambda: ShuffledBatchSampler(0, batch_size=1), "expected clips"),
        (lambda: ShuffledBatchSampler(3, batch_size=1, rank=2, world_size=2), "rank"),
    ],
)
def test_impossible_batches_are_refused(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(UsageError, match=message):
        call()
