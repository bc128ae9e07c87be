"""The waveform front end: one length for all clips, and nothing of their padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tonotopy._components import build
from tonotopy._errors import UsageError
from tonotopy.audio import FrontEnd, Waveform, fit_length

LENGTHS = [1, 2, 99, 100, 101, 199, 200, 350]


def clips() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(length, generator=generator) for length in LENGTHS]


def batch(fill: float) -> Tensor:
    waveforms = torch.full((len(LENGTHS), max(LENGTHS) + 5), fill)
    for row, clip in zip(waveforms, clips(), strict=True):
        row[: len(clip)] = clip
    return waveforms


@pytest.mark.parametrize("fill", [0.0, 7.0, float("nan")])
@pytest.mark.parametrize("seconds", [0.01, 1.0, 2.005])
def test_clips_are_cropped_or_repeated(fill: float, seconds: float) -> None:
    front_end = Waveform(sample_rate=200, seconds=seconds)
    features, frames = front_end(batch(fill), torch.tensor(LENGTHS))
    size = front_end.num_samples
    assert features.shape == (len(LENGTHS), 1, size)
    assert frames.tolist() == [size] * len(LENGTHS)
    for row, clip in zip(features, clips(), strict=True):
        assert row[0].tolist() == [clip[at % len(clip)].item() for at in range(size)]
        tiled = fit_length(clip.numpy(), size, "tile")
        assert np.array_equal(row[0].numpy(), tiled), "as clips are fitted elsewhere"


def test_without_lengths_all_clips_are_whole() -> None:
    for clip in clips():
        front_end = Waveform(sample_rate=100, seconds=2.0)
        given = front_end(clip[None], torch.tensor([len(clip)]))
        assert torch.equal(front_end(clip[None])[0], given[0])
        assert front_end(clip[None])[1].tolist() == [200]


def test_no_clips_give_no_features() -> None:
    features, frames = Waveform(100, 1.0)(torch.zeros(0, 50), torch.zeros(0, dtype=torch.long))
    assert features.shape == (0, 1, 100)
    assert frames.shape == (0,)


def test_defaults_are_ten_seconds_at_16_khz() -> None:
    front_end = Waveform()
    assert (front_end.sample_rate, front_end.num_bins, front_end.num_samples) == (16000, 1, 160000)


def test_features_are_single_precision_also_under_autocast() -> None:
    waveforms = batch(0.0).double()
    with torch.autocast("cpu", torch.bfloat16):
        features, _ = Waveform(200, 1.0)(waveforms, torch.tensor(LENGTHS))
    assert features.dtype == torch.float32
    assert torch.equal(features, Waveform(200, 1.0)(batch(0.0), torch.tensor(LENGTHS))[0])


def test_the_exported_graph_gives_the_same_features() -> None:
    front_end = Waveform(sample_rate=100, seconds=3.0).eval()
    clip_count, samples = torch.export.Dim("clips", min=2), torch.export.Dim("samples", min=2)
    program = torch.export.export(
        front_end,
        (torch.randn(3, 250), torch.tensor([250, 80, 1])),
        dynamic_shapes={
            "waveforms": {0: clip_count, 1: samples},
            "lengths": {0: clip_count},
        },
    )
    for longest in (120, 700):
        waveforms, lengths = torch.randn(2, longest), torch.tensor([longest, 7])
        expected = front_end(waveforms, lengths)
        torch.testing.assert_close(program.module()(waveforms, lengths), expected)


def test_it_is_built_again_from_its_description() -> None:
    front_end = Waveform(8000, seconds=0.25)
    again = build(front_end.component, FrontEnd, "tonotopy.audio")
    assert isinstance(again, Waveform)
    assert (again.sample_rate, again.num_samples) == (8000, 2000)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(UsageError, match="more seconds"):
        Waveform(16000, seconds=0.0)
    with pytest.raises(UsageError, match="at least one sample"):
        Waveform()(torch.zeros(2, 0))
