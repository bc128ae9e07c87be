"""Views: the crop that was drawn, never twice for a clip, and the same whatever the batch."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.audio import (
    AddNoise,
    Augmentation,
    Compression,
    FeatureNoise,
    Gain,
    KeyedGenerator,
    LogMel,
    MixBack,
    PeakLogMel,
    RandomResizedCrop,
    RawWaveform,
    SpecAugment,
    TimeShift,
    Views,
)

RATE = 1000
STEP = 10
"""Samples between possible beginnings at this rate."""


def waves(count: int, size: int, seed: int = 0) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def ramps(lengths: list[int]) -> Tensor:
    """Clips whose samples are their own positions; beyond their ends is what nobody may read."""
    positions = torch.arange(max(lengths)).expand(len(lengths), -1).float()
    return positions.where(positions < torch.tensor(lengths)[:, None], math.nan)


def starts_of(features: Tensor, views: int) -> Tensor:
    return features[:, 0, 0].long().view(views, -1)


@settings(deadline=None, max_examples=150)
@given(
    lengths=st.lists(st.integers(1, 400), min_size=1, max_size=6),
    size=st.integers(1, 300),
    count=st.integers(1, 6),
    same=st.booleans(),
    epoch=st.integers(0, 10**6),
)
def test_views_are_excerpts_that_never_coincide(
    lengths: list[int], size: int, count: int, same: bool, epoch: int
) -> None:
    views = Views(RawWaveform(RATE), views=count, seconds=size / RATE, same_crop=same)
    clips = torch.arange(len(lengths))
    features, frames = views(ramps(lengths), torch.tensor(lengths), clips, epoch)
    assert features.shape == (count * len(lengths), 1, size)
    assert frames.tolist() == [size] * len(features)
    starts = starts_of(features, count)
    for clip, length in enumerate(lengths):
        for view in range(count):
            expected = (starts[view, clip] + torch.arange(size)) % length
            assert torch.equal(features[view * len(lengths) + clip, 0], expected.float())
        drawn = starts[:, clip].tolist()
        if same:
            assert len(set(drawn)) == 1
        elif length >= count:
            assert len(set(drawn)) == count
        needed = 1 if same else count
        inside = (length - size) // STEP + 1
        if inside >= needed:
            assert all(start + size <= length for start in drawn), "no need to begin anew"
        if max(inside, length // STEP) >= needed:
            assert all(start % STEP == 0 for start in drawn)


@pytest.mark.parametrize(
    ("length", "places"),
    [(400, [*range(0, 210, 10)]), (205, [0, 10, *range(20, 200, 10)]), (70, [*range(0, 70, 10)])],
)
def test_beginnings_are_uniform_and_so_are_pairs_of_them(length: int, places: list[int]) -> None:
    views = Views(RawWaveform(RATE), views=2, seconds=0.2)
    count = 20000
    features, _ = views(
        ramps([length]).expand(count, -1), torch.full((count,), length), torch.arange(count), 0
    )
    starts = starts_of(features, 2)
    for view in starts:
        found, counts = torch.unique(view, return_counts=True)
        assert found.tolist() == places
        assert stats.chisquare(counts.numpy()).pvalue > 1e-3
    pairs, counts = torch.unique(starts, dim=1, return_counts=True)
    assert pairs.shape[1] == len(places) * (len(places) - 1), "ordered pairs, none of one place"
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_beginnings_of_four_views_are_uniform_too() -> None:
    views = Views(RawWaveform(RATE), views=4, seconds=0.2)
    features, _ = views(
        ramps([250]).expand(20000, -1), torch.full((20000,), 250), torch.arange(20000), 0
    )
    starts, counts = torch.unique(starts_of(features, 4), dim=1, return_counts=True)
    assert starts.shape[1] == 6 * 5 * 4 * 3
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


CHAIN: list[Augmentation] = [
    TimeShift(),
    Gain(),
    AddNoise(),
    RandomResizedCrop(),
    Compression(),
    SpecAugment(4, 5),
    FeatureNoise(),
]
NAMES = torch.tensor([5, 900, 2, 44, 0])
LENGTHS = torch.tensor([24000, 16000, 9000, 100, 17000])


def chained(front_end: nn.Module | None = None, **options: object) -> Views:
    return Views(front_end or LogMel(n_mels=20), CHAIN, **options)  # type: ignore[arg-type]


def test_views_depend_on_seed_epoch_and_clip_alone() -> None:
    x = waves(5, 24000)
    views = chained()
    rows, _ = views(x, LENGTHS, NAMES, 3)
    torch.manual_seed(99)
    assert torch.equal(views(x, LENGTHS, NAMES, 3)[0], rows), "the global generator plays no part"
    order = torch.tensor([3, 0, 4])
    part, _ = views(x[order], LENGTHS[order], NAMES[order], 3)
    torch.testing.assert_close(part[:3], rows[order])
    torch.testing.assert_close(part[3:], rows[5 + order])
    for other in (
        views(x, LENGTHS, NAMES, 4)[0],
        chained(seed=1)(x, LENGTHS, NAMES, 3)[0],
        views(x, LENGTHS, NAMES + 1, 3)[0],
        rows.roll(5, 0),
    ):
        assert (other != rows).flatten(1).any(dim=1).all()


def test_a_third_view_leaves_the_first_two_as_they_were() -> None:
    x = waves(5, 24000)
    two, _ = chained(views=2)(x, LENGTHS, NAMES, 0)
    three, _ = chained(views=3)(x, LENGTHS, NAMES, 0)
    torch.testing.assert_close(three[:10], two)


def test_views_equal_a_loop_over_views() -> None:
    x, names = waves(5, 24000), NAMES
    front_end = LogMel(n_mels=20)
    views = Views(front_end, [CHAIN[3], MixBack(), CHAIN[4], Gain()], views=3, seconds=0.5, seed=7)
    found, frames = views(x, LENGTHS, names, 2)
    crops, _ = Views(RawWaveform(), views=3, seconds=0.5, seed=7)(x, LENGTHS, names, 2)
    size = torch.full((5,), 8000)
    for view in range(3):
        generator = KeyedGenerator.for_views(names, seed=7, epoch=2, view=view)
        generator.uniform()  # where it begins
        wave = crops[5 * view : 5 * view + 5, 0]
        wave = Gain()(MixBack()(wave, size, generator), size, generator)
        features, counts = front_end(wave, size)
        features = CHAIN[4](CHAIN[3](features, counts, generator), counts, generator)
        torch.testing.assert_close(found[5 * view : 5 * view + 5], features)
        assert torch.equal(frames[5 * view : 5 * view + 5], counts)


def test_backgrounds_change_with_the_view_and_their_amount_does_not() -> None:
    # Every clip is one frequency, so that every bin of a view's spectrum tells of one clip.
    time = torch.arange(1000) / RATE
    x = torch.stack([torch.sin(math.tau * 20 * (1 + clip) * time) for clip in range(6)])
    views = Views(RawWaveform(RATE), [MixBack()], views=3, seconds=0.5)
    features, _ = views(x, torch.full((6,), 1000), torch.arange(6), 0)
    spectrum = torch.fft.rfft(features[:, 0]).abs().square()[:, 10:70:10].view(3, 6, 6)
    shares = spectrum / spectrum.sum(dim=2, keepdim=True)
    own = shares.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(own[0], own[1], rtol=1e-4, atol=0)
    torch.testing.assert_close(own[0], own[2], rtol=1e-4, atol=0)
    assert (own >= 0.949).all()
    shares.diagonal(dim1=1, dim2=2).zero_()
    behind = shares.argmax(dim=2)
    for one, other in itertools.combinations(behind, 2):
        assert (one != other).all()


def test_in_eval_clips_are_cropped_and_not_changed() -> None:
    x = waves(5, 24000)
    views = chained(same_crop=False).eval()
    bare = Views(LogMel(n_mels=20))
    for epoch in (0, 1):
        assert torch.equal(views(x, LENGTHS, NAMES, epoch)[0], bare(x, LENGTHS, NAMES, epoch)[0])
    assert not torch.equal(bare(x, LENGTHS, NAMES, 0)[0], bare(x, LENGTHS, NAMES, 1)[0])
    assert not torch.equal(views.train()(x, LENGTHS, NAMES, 0)[0], bare(x, LENGTHS, NAMES, 0)[0])


def test_one_crop_is_changed_differently_in_every_view() -> None:
    x = waves(5, 24000)
    bare, _ = Views(LogMel(n_mels=20), same_crop=True)(x, LENGTHS, NAMES, 0)
    assert torch.equal(bare[:5], bare[5:])
    changed, _ = chained(same_crop=True)(x, LENGTHS, NAMES, 0)
    assert (changed[:5] != changed[5:]).flatten(1).any(dim=1).all()


def test_neither_the_clips_nor_the_front_end_are_changed() -> None:
    front_end = PeakLogMel()
    front_end.fit_normalisation([waves(1, 30000)[0]])
    before = {name: value.clone() for name, value in front_end.state_dict().items()}
    x = waves(3, 40000)
    kept = x.clone()
    features, frames = chained(front_end)(x, torch.tensor([40000, 30000, 500]), torch.arange(3), 0)
    assert features.shape == (6, 96, 101)
    assert frames.tolist() == [101] * 6
    assert torch.equal(x, kept)
    for name, value in front_end.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("front_end", [LogMel(), PeakLogMel(), LogMel(normalise="clip", log="db")])
@pytest.mark.parametrize("size", [1, 2, 50, 30000])
@pytest.mark.parametrize("count", [1, 3])
def test_odd_clips_are_finite(front_end: nn.Module, size: int, count: int) -> None:
    views = Views(front_end, [MixBack(), *CHAIN], seconds=1.0)  # type: ignore[arg-type]
    for x in (torch.zeros(count, size), torch.full((count, size), -0.7), waves(count, size)):
        features, _ = views(x, torch.full((count,), size), torch.arange(count), 0)
        assert features.isfinite().all()
        assert len(features) == 2 * count


def test_a_clip_of_one_sample_is_that_sample() -> None:
    x = torch.tensor([[0.25, math.nan], [0.5, math.nan]])
    features, _ = Views(RawWaveform(RATE), seconds=0.01)(
        x, torch.tensor([1, 1]), torch.arange(2), 0
    )
    assert torch.equal(features[:, 0], torch.tensor([0.25, 0.5, 0.25, 0.5])[:, None].expand(4, 10))


def test_halves_become_features_as_singles_do() -> None:
    x = waves(4, 20000).half()
    lengths = torch.full((4,), 20000)
    features, _ = Views(LogMel())(x, lengths, torch.arange(4), 0)
    assert torch.equal(features, Views(LogMel())(x.float(), lengths, torch.arange(4), 0)[0])


def test_mixed_precision_changes_nothing() -> None:
    x = waves(5, 24000)
    views = Views(LogMel(n_mels=20), [MixBack(), *CHAIN])
    expected, _ = views(x, LENGTHS, NAMES, 0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(views(x, LENGTHS, NAMES, 0)[0], expected)


class Nothing(Augmentation):
    """Neither of waveforms nor of features."""

    def change(self, x: Tensor, lengths: Tensor, generator: object) -> Tensor:
        return x


def test_impossible_options_are_refused() -> None:
    with pytest.raises(UsageError, match="at least one view"):
        Views(LogMel(), views=0)
    for seconds in (0.0, -1.0, 1e-5):
        with pytest.raises(UsageError, match="not one sample"):
            Views(LogMel(), seconds=seconds)
    with pytest.raises(UsageError, match="Nothing changes neither"):
        Views(LogMel(), [Nothing()])
    with pytest.raises(UsageError, match="one sample"):
        Views(LogMel())(torch.zeros(2, 0), torch.zeros(2, dtype=torch.long), torch.arange(2), 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_views_are_the_same_on_every_device() -> None:
    x = waves(5, 24000)
    here = Views(RawWaveform(), [MixBack(), Gain(), AddNoise()])
    found, _ = here(x, LENGTHS, NAMES, 1)
    there, _ = here.cuda()(x.cuda(), LENGTHS.cuda(), NAMES.cuda(), 1)
    torch.testing.assert_close(there.cpu(), found, rtol=1e-5, atol=1e-5)
