"""Random numbers by name: SplitMix64 bit for bit, distributed as they say, and independent."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.audio import KeyedGenerator

STEP = 0x9E3779B97F4A7C15
WORD = 2**64 - 1


def made(clips: list[int], seed: int = 0, epoch: int = 0, view: int = 0) -> KeyedGenerator:
    return KeyedGenerator.for_views(torch.tensor(clips), seed=seed, epoch=epoch, view=view)


def mixed(bits: int) -> int:
    """The mixing function of SplitMix64 on Python's integers."""
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & WORD
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & WORD
    return bits ^ bits >> 31


def numbers(call: int, count: int, *names: int) -> list[int]:
    """The 64 random bits of one call, in a loop."""
    key = STEP
    for name in names:
        key = mixed(key ^ name & WORD)
    key = mixed(key + call * STEP & WORD)
    return [mixed(key + i * STEP & WORD) for i in range(1, count + 1)]


def test_the_oracle_is_splitmix64() -> None:
    # The first numbers of the public reference implementation, seeded with 1234567.
    drawn = [mixed(1234567 + i * STEP & WORD) for i in range(1, 4)]
    assert drawn == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@settings(deadline=None, max_examples=60)
@given(
    clips=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4),
    seed=st.integers(-(2**63), 2**64 - 1),
    epoch=st.integers(0, 10**6),
    view=st.integers(0, 10),
    call=st.integers(1, 4),
)
def test_numbers_equal_those_of_a_loop(
    clips: list[int], seed: int, epoch: int, view: int, call: int
) -> None:
    for shared in (False, True):
        generator = made(clips, seed, epoch, view)
        for _ in range(call):
            uniform = generator.uniform(2, 3, shared=shared)
        bounds = torch.full((len(clips),), 2**31)
        integers = generator.integers(bounds, shared=shared)
        for row, clip in enumerate(clips):
            names = (seed, epoch, clip, -1 if shared else view)
            expected = [(bits >> 40) / 2**24 for bits in numbers(call, 6, *names)]
            assert uniform[row].flatten().tolist() == expected
            assert integers[row].item() == numbers(call + 1, 1, *names)[0] >> 33


def test_normal_numbers_are_box_and_mullers() -> None:
    drawn = made([5, 6], seed=3).normal(7)
    for row, clip in enumerate((5, 6)):
        for pair, bits in enumerate(numbers(1, 4, 3, 0, clip, 0)):
            radius = math.sqrt(-2.0 * math.log(((bits >> 32) + 1) / 2**32))
            angle = math.tau * (bits & 0xFFFFFFFF) / 2**32
            expected = torch.tensor([radius * math.cos(angle), radius * math.sin(angle)])
            found = drawn[row, 2 * pair : 2 * pair + 2]
            torch.testing.assert_close(found, expected[: len(found)], rtol=2e-7, atol=0)


Draw = Callable[[KeyedGenerator], Tensor]
DRAWS: dict[str, Draw] = {
    "uniform": lambda g: g.uniform(5),
    "normal": lambda g: g.normal(5),
    "integers": lambda g: g.integers(torch.full((len(g),), 10**6)),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_a_clip_draws_the_same_in_any_batch(draw: Draw) -> None:
    first, second = made([4, 9, 2], 1, 2, 1), made([7, 2, 2, 4], 1, 2, 1)
    for _ in range(3):
        here, there = draw(first), draw(second)
        assert torch.equal(here[[0, 2]], there[[3, 1]])
        assert torch.equal(there[1], there[2]), "equal clips draw the same"
        assert not torch.equal(here[0], here[1])


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_every_name_and_every_call_changes_the_numbers(draw: Draw) -> None:
    names = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (-1, 0, 0), (0, 0, 2)]
    generators = [made([0, 1], *name) for name in names]
    drawn = [draw(generator) for generator in generators for _ in range(2)]
    for one, other in itertools.combinations(drawn, 2):
        assert not torch.equal(one[0], other[0])


def test_a_call_does_not_depend_on_the_size_of_those_before() -> None:
    short, long = made([1, 2]), made([1, 2])
    assert torch.equal(long.uniform(50)[:, :3], short.uniform(3))
    assert torch.equal(long.normal(50)[:, :3], short.normal(3))
    assert torch.equal(long.uniform(4, 2).flatten(1), short.uniform(8))
    assert long.uniform().shape == (2,)
    assert long.normal(0).shape == (2, 0)


def test_views_share_what_is_shared_and_nothing_else() -> None:
    views = [made([3, 4], seed=1, view=v) for v in range(3)]
    for view in views[1:]:
        assert torch.equal(view.uniform(9, shared=True), made([3, 4], 1).uniform(9, shared=True))
    views[0].uniform(9)
    own = [view.uniform(9) for view in views]
    common = [view.uniform(9, shared=True) for view in views]
    assert not torch.equal(own[0], own[1])
    assert torch.equal(common[0], common[1])
    assert not torch.equal(common[0], own[0])


def test_uniform_numbers_are_uniform() -> None:
    drawn = made(list(range(200))).uniform(1000)
    assert drawn.dtype == torch.float32
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert stats.kstest(drawn.flatten().numpy(), "uniform").pvalue > 1e-3
    # One number of each clip: streams are not shifted copies of each other.
    assert stats.kstest(made(list(range(100000))).uniform().numpy(), "uniform").pvalue > 1e-3
    bits = (drawn.flatten() * 2**24).long()[:, None] >> torch.arange(24) & 1
    deviations = (bits.double().mean(dim=0) - 0.5) * 2 * math.sqrt(len(bits))
    assert deviations.abs().max() < 4.5


def test_neighbours_fill_the_square() -> None:
    drawn = made(list(range(100))).uniform(2000)
    for first, second in [(drawn[:, :-1], drawn[:, 1:]), (drawn[:-1], drawn[1:])]:
        cells = (first * 20).long() * 20 + (second * 20).long()
        counts = cells.flatten().bincount(minlength=400)
        assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_normal_numbers_are_normal() -> None:
    drawn = made(list(range(100))).normal(2000)
    assert drawn.dtype == torch.float32
    assert stats.kstest(drawn.flatten().numpy(), "norm").pvalue > 1e-3
    assert 4 < drawn.abs().max() < 6.7
    assert abs(stats.kurtosis(drawn.flatten().numpy())) < 0.05
    pairs = torch.corrcoef(torch.stack([drawn[:, ::2].flatten(), drawn[:, 1::2].flatten()]))
    squares = torch.corrcoef(torch.stack([drawn[:, ::2].flatten(), drawn[:, 1::2].flatten()]) ** 2)
    assert pairs[0, 1].abs() < 5 / math.sqrt(1e5)
    assert squares[0, 1].abs() < 5 / math.sqrt(1e5)


@pytest.mark.parametrize("bound", [1, 2, 7, 1000])
def test_integers_are_uniform_below_their_bound(bound: int) -> None:
    drawn = made(list(range(50000))).integers(torch.full((50000,), bound))
    assert drawn.dtype == torch.int64
    counts = drawn.bincount()
    assert len(counts) == bound
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3 or bound == 1


@pytest.mark.parametrize("name", ["clip", "seed", "epoch", "view", "call", "shared"])
def test_streams_do_not_correlate(name: str) -> None:
    count, length = 60, 5000
    if name == "clip":
        rows = made(list(range(count))).uniform(length)
    elif name == "call":
        generator = made([0])
        rows = torch.cat([generator.uniform(length) for _ in range(count)])
    elif name == "shared":
        generator = made([0])
        rows = torch.cat([generator.uniform(length, shared=bool(i % 2)) for i in range(count)])
    else:
        rows = torch.cat([made([0], **{name: i}).uniform(length) for i in range(count)])
    correlations = torch.corrcoef(rows).fill_diagonal_(0.0).flatten() * math.sqrt(length)
    assert correlations.abs().max() < 5.5
    assert 0.9 < correlations.square().mean() * count / (count - 1) < 1.1


@settings(deadline=None, max_examples=60)
@given(
    clips=st.lists(st.integers(0, 10**9), min_size=2, max_size=12, unique=True),
    seed=st.integers(0, 1000),
    order=st.randoms(use_true_random=False),
)
def test_partners_are_other_clips_whatever_the_order(
    clips: list[int], seed: int, order: object
) -> None:
    shuffled = list(clips)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    chosen = []
    for view in range(len(clips) - 1):
        partners = made(clips, seed, view=view).partners()
        assert sorted(partners.tolist()) == list(range(len(clips)))
        assert (partners != torch.arange(len(clips))).all()
        again = made(shuffled, seed, view=view).partners()
        names = {c: clips[p] for c, p in zip(clips, partners.tolist(), strict=True)}
        assert names == {c: shuffled[p] for c, p in zip(shuffled, again.tolist(), strict=True)}
        chosen.append(partners)
    for one, other in itertools.combinations(chosen, 2):
        assert (one != other).all(), "two views with one partner"


def test_every_other_clip_is_as_probable_a_partner() -> None:
    partners = torch.stack([made(list(range(5)), epoch=e).partners() for e in range(4000)])
    for clip in range(5):
        counts = partners[:, clip].bincount(minlength=5)
        assert counts[clip] == 0
        assert stats.chisquare(counts[counts > 0].numpy()).pvalue > 1e-3


def test_names_must_be_integers() -> None:
    for clips in (torch.rand(3), torch.zeros(2, 2, dtype=torch.long)):
        with pytest.raises(UsageError, match="one integer a clip"):
            KeyedGenerator.for_views(clips, seed=0, epoch=0, view=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_numbers_are_the_same_on_every_device() -> None:
    clips = torch.arange(8)
    here, there = (
        KeyedGenerator.for_views(clips.to(device), seed=1, epoch=2, view=1)
        for device in ("cpu", "cuda")
    )
    assert torch.equal(here.uniform(10000), there.uniform(10000).cpu())
    bounds = torch.arange(1, 9)
    assert torch.equal(here.integers(bounds), there.integers(bounds.cuda()).cpu())
    first, second = here.normal(10000), there.normal(10000).cpu()
    torch.testing.assert_close(first, second, rtol=3e-7, atol=0)
    assert (first != second).float().mean() < 1e-4
    assert torch.equal(here.partners(), there.partners().cpu())
