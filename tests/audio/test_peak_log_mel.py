"""The front end of the angular contrastive paper against loops, and raw waveforms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tonotopy._components import build
from tonotopy._errors import UsageError
from tonotopy.audio import FrontEnd, PeakLogMel, RawWaveform, mel_filters


def noise(*lengths: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [0.3 + 0.2 * torch.randn(length, generator=generator) for length in lengths]


def by_hand(clip: Tensor) -> np.ndarray:
    """Frame by frame in float64, from the description."""
    x = clip.double().numpy()
    x = x - x.mean()
    x = x / (np.abs(x).max() + 0.005)
    if len(x) < 22050:
        x = np.tile(x, -(-22050 // len(x)))[:22050]
    x = np.pad(x + 1.1e-8, 1024, mode="reflect")
    n = np.arange(660)
    window = np.zeros(2048)
    window[694 : 694 + 660] = 0.54 - 0.46 * np.cos(2 * np.pi * n / 660)
    filters = mel_filters(22050, 2048, 96, f_min=50.0, f_max=10500.0, norm=None).double().numpy()
    columns = []
    for start in range(0, len(x) - 2047, 220):
        spectrum = np.abs(np.fft.rfft(x[start : start + 2048] * window)) ** 2
        columns.append(np.log10(filters @ spectrum + 1.1e-8))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("length", [1, 2, 700, 1024, 22049, 22050, 22051, 30000])
def test_features_are_those_of_the_description(length: int) -> None:
    (clip,) = noise(length)
    features, frames = PeakLogMel()(clip[None])
    expected = by_hand(clip)
    assert frames.tolist() == [expected.shape[1]]
    np.testing.assert_allclose(features[0].numpy(), expected, atol=2e-3)


def test_one_second_has_101_frames() -> None:
    assert PeakLogMel()(torch.zeros(1, 22050))[1].tolist() == [101]
    assert PeakLogMel()(torch.zeros(1, 5))[1].tolist() == [101]


def test_level_and_offset_do_not_matter() -> None:
    (clip,) = noise(25000)
    loud = 40.0 * clip + 3.0
    front_end = PeakLogMel()
    features, other = front_end(clip[None])[0], front_end(loud[None])[0]
    # The 0.005 beside the peak is all that tells the levels apart.
    assert (features - other).abs().max() < 0.01


@pytest.mark.parametrize("fill", [0.0, 9.0, float("nan")])
def test_a_clip_is_what_it_is_alone(fill: float) -> None:
    clips = noise(300, 22050, 40000, 1)
    batch = torch.full((4, 41000), fill)
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = clip
    front_end = PeakLogMel()
    together, frames = front_end(batch, torch.tensor([len(clip) for clip in clips]))
    for row, count, clip in zip(together, frames.tolist(), clips, strict=True):
        alone, (its_frames,) = front_end(clip[None])
        assert count == its_frames
        torch.testing.assert_close(row[:, :count], alone[0], atol=1e-4, rtol=1e-4)
        assert (row[:, count:] == 0).all()


def test_one_mean_and_deviation_standardise_all_bands() -> None:
    front_end = PeakLogMel()
    clips = noise(22050, 50000, 600)
    before = torch.cat([front_end(clip[None])[0].flatten() for clip in clips]).double()
    front_end.fit_normalisation(iter(clips))
    torch.testing.assert_close(front_end.mean.double(), before.mean().expand(96))
    torch.testing.assert_close(front_end.std.double(), before.std(correction=0).expand(96))
    after = torch.cat([front_end(clip[None])[0].flatten() for clip in clips])
    assert after.mean().abs() < 1e-4
    assert (after.std(correction=0) - 1).abs() < 1e-4
    with pytest.raises(UsageError, match="at least one waveform"):
        front_end.fit_normalisation([])


def test_the_published_divisor_shrinks_with_the_number_of_values() -> None:
    clips = noise(22050, 50000)
    values = torch.cat([PeakLogMel()(clip[None])[0].flatten() for clip in clips]).double()
    front_end = PeakLogMel(divisor="published")
    front_end.fit_normalisation(iter(clips))
    expected = (values - values.mean()).square().sum().sqrt() / len(values)
    torch.testing.assert_close(front_end.std.double(), expected.expand(96), rtol=1e-4, atol=0)
    torch.testing.assert_close(front_end.mean.double(), values.mean().expand(96))
    again = build(front_end.component, FrontEnd, "tonotopy.audio")
    assert isinstance(again, PeakLogMel)
    assert again.divisor == "published"
    with pytest.raises(UsageError, match="'true'"):
        PeakLogMel(divisor="true")  # type: ignore[arg-type]


def test_silence_is_finite() -> None:
    front_end = PeakLogMel()
    front_end.fit_normalisation([torch.zeros(100)])
    assert front_end(torch.zeros(2, 100))[0].isfinite().all()


def test_raw_waveforms_are_themselves() -> None:
    front_end = RawWaveform(8000)
    waves = torch.tensor([[1.0, 2.0, torch.nan], [3.0, 4.0, 5.0]])
    features, frames = front_end(waves, torch.tensor([2, 3]))
    assert features.tolist() == [[[1.0, 2.0, 0.0]], [[3.0, 4.0, 5.0]]]
    assert frames.tolist() == [2, 3]
    features, frames = front_end(waves[1:].double())
    assert features.dtype == torch.float32
    assert frames.tolist() == [3]


@pytest.mark.parametrize("front_end", [PeakLogMel(), RawWaveform(22050)])
def test_a_front_end_is_made_again(front_end: FrontEnd) -> None:
    again = build(front_end.component, FrontEnd, "tonotopy.audio")
    (clip,) = noise(500)
    assert torch.equal(again(clip[None])[0], front_end(clip[None])[0])
