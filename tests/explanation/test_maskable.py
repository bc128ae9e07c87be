"""The forms in which clips are masked: what is whole stays whole, what is hidden is gone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from tonotopy import AudioEmbedder
from tonotopy._errors import UsageError
from tonotopy.audio import FrontEnd, LogMel, Waveform
from tonotopy.encoders import ConvNet, TwoBranchNet
from tonotopy.explanation import (
    ViewedEncoder,
    mask_features,
    mask_magnitudes,
    mask_waveform,
    stft_magnitudes,
)

RATE = 16000


def _tones(*frequencies: float, seconds: float = 1.0) -> Tensor:
    time = torch.arange(round(seconds * RATE)) / RATE
    tones = [torch.sin(2 * math.pi * frequency * time) for frequency in frequencies]
    return torch.stack(tones).sum(dim=0)


def _heard(waveform: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
    """Mask nothing, and give what the score function got, with magnitudes and score."""
    heard: list[Tensor] = []

    def score(waveforms: Tensor) -> Tensor:
        heard.append(waveforms)
        return waveforms.square().mean(dim=1)

    clip = mask_waveform(waveform, score, sample_rate=RATE)
    found = clip.score(clip.values.expand(3, *clip.values.shape))
    return heard, clip.values, found


@pytest.mark.parametrize("length", [1, 511, 512, 513, 1024, 16000, 16383])
def test_an_unmasked_clip_sounds_as_it_was(length: int) -> None:
    waveform = torch.randn(length, generator=torch.Generator().manual_seed(length))
    heard, magnitudes, scores = _heard(waveform)

    assert magnitudes.shape == (513, 1 + math.ceil(length / 512))
    assert heard[0].shape == (3, length)
    torch.testing.assert_close(heard[0], waveform.expand(3, -1), rtol=0, atol=1e-4)
    torch.testing.assert_close(scores, waveform.square().mean().expand(3), rtol=1e-4, atol=1e-6)


def test_silence_stays_silent_and_a_fill_can_sound_there() -> None:
    heard, magnitudes, _ = _heard(torch.zeros(4096))
    assert torch.equal(magnitudes, torch.zeros_like(magnitudes))
    assert torch.equal(heard[0], torch.zeros(3, 4096))

    clip = mask_waveform(torch.zeros(4096), lambda w: w.square().mean(dim=1), sample_rate=RATE)
    # Noise of these magnitudes has 1 = window energy (384) x variance; frames that know nothing of
    # each other cancel half of it where they overlap.
    assert 0.3 / 384 < float(clip.score(torch.ones(1, 513, 9))) < 1 / 384


def test_a_hidden_tone_is_gone_and_the_other_stays() -> None:
    waveform = _tones(1000, 4000)
    clip = mask_waveform(waveform, lambda waves: waves[:, 2000:14000].std(dim=1), sample_rate=RATE)
    assert clip.hertz is not None
    low = (clip.hertz < 2500)[:, None]

    both, first, second, none = clip.score(
        torch.stack([clip.values, clip.values * low, clip.values * ~low, 0 * clip.values])
    )

    assert float(both) == pytest.approx(1.0, abs=0.01)
    assert float(first) == pytest.approx(math.sqrt(0.5), abs=0.01)
    assert float(second) == pytest.approx(math.sqrt(0.5), abs=0.01)
    assert float(none) == pytest.approx(0, abs=1e-6)


def test_axes_say_where_a_sound_is() -> None:
    waveform = torch.zeros(RATE)
    waveform[8000:8400] = _tones(3000)[:400]
    clip = mask_waveform(waveform, lambda waves: waves.mean(dim=1), sample_rate=RATE)
    assert clip.hertz is not None

    row, column = divmod(int(clip.values.argmax()), clip.values.shape[1])
    assert float(clip.hertz[row]) == pytest.approx(3000, abs=16)
    assert float(clip.seconds[column]) == pytest.approx(0.5, abs=0.05)
    assert float(clip.hertz[-1]) == 8000
    assert torch.equal(clip.values, stft_magnitudes(waveform))


def test_features_are_masked_before_the_encoder() -> None:
    torch.manual_seed(0)
    embedder = AudioEmbedder(LogMel(n_mels=16), ConvNet(num_bins=16, embedding_dim=8)).eval()
    waveform = _tones(1000, seconds=0.7)
    clip = mask_features(
        waveform, embedder.front_end, embedder.encoder, lambda vectors: vectors.sum(dim=1)
    )

    assert clip.unit == "feature"
    assert clip.values.shape == (16, len(clip.seconds))
    expected = embedder(waveform[None]).sum(dim=1)
    torch.testing.assert_close(clip.score(clip.values[None]), expected, rtol=0, atol=1e-5)
    assert clip.hertz is not None
    assert float(clip.hertz[clip.values.mean(dim=1).argmax()]) == pytest.approx(1000, rel=0.25)
    assert bool((clip.hertz.diff() > 0).all())
    assert 0.65 < float(clip.seconds[-1]) < 0.71


class _Samples(FrontEnd):
    """Give the samples themselves."""

    def __init__(self) -> None:
        super().__init__(RATE, num_bins=1)

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return waveforms[:, None], torch.full((len(waveforms),), waveforms.shape[1])


class _TwoViews(nn.Module):
    """Energy of the spectrum, and mean of the magnitudes above 2 kHz."""

    magnitude_bins = slice(128, 513)

    def views(self, features: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        waveforms = features[:, 0]
        frames = waveforms.unfold(1, 1024, 512) * torch.hann_window(1024)
        magnitudes = torch.fft.rfft(frames).abs().transpose(1, 2)
        return torch.fft.rfft(waveforms).abs(), magnitudes[:, self.magnitude_bins]

    def combine(self, views: tuple[Tensor, Tensor]) -> Tensor:
        return torch.stack([views[0].mean(dim=1), views[1].mean(dim=(1, 2))], dim=1)


def test_the_spectrogram_of_two_views_is_masked_and_the_spectrum_kept() -> None:
    encoder = _TwoViews()
    assert isinstance(encoder, ViewedEncoder)
    assert not isinstance(ConvNet(num_bins=16, embedding_dim=8), ViewedEncoder)
    clip = mask_magnitudes(_tones(5000), _Samples(), encoder, lambda vectors: vectors.sum(dim=1))

    spectrum, magnitudes = encoder.views(_tones(5000)[None, None])
    assert torch.equal(clip.values, magnitudes[0])
    whole, blank = clip.score(torch.stack([clip.values, 0 * clip.values]))
    assert float(whole) == pytest.approx(float(spectrum.mean() + magnitudes.mean()), rel=1e-5)
    assert float(blank) == pytest.approx(float(spectrum.mean()), rel=1e-5)
    assert clip.hertz is not None
    assert float(clip.hertz[0]) == 2000
    assert float(clip.hertz[clip.values.mean(dim=1).argmax()]) == 5000
    assert clip.seconds.shape == (magnitudes.shape[2],)


def test_the_two_branch_network_is_masked_in_its_spectrogram() -> None:
    torch.manual_seed(0)
    encoder = TwoBranchNet(num_samples=8000, f_min=500.0, embedding_dim=8).eval()
    front_end = Waveform(seconds=0.5)
    clip = mask_magnitudes(
        _tones(3000, seconds=0.2), front_end, encoder, lambda vectors: vectors.sum(dim=1)
    )

    whole = AudioEmbedder(front_end, encoder)(_tones(3000, seconds=0.2)[None]).sum(dim=1)
    with torch.no_grad():
        scores = clip.score(torch.stack([clip.values, 0 * clip.values]))
    torch.testing.assert_close(scores[:1], whole.detach(), rtol=0, atol=1e-5)
    assert float(scores[0]) != float(scores[1])
    assert clip.hertz is not None
    assert float(clip.hertz[clip.values.mean(dim=1).argmax()]) == 3000
    assert float(clip.hertz[0]) == pytest.approx(500, abs=16)
    assert 0 < float(clip.seconds[0]) < float(clip.seconds[-1]) < 0.5


@pytest.mark.parametrize("waveform", [torch.zeros(2, 100), torch.zeros(0)])
def test_a_waveform_must_be_mono_and_have_samples(waveform: Tensor) -> None:
    with pytest.raises(UsageError, match="mono waveform"):
        mask_waveform(waveform, lambda waves: waves.mean(dim=1), sample_rate=RATE)


def test_a_hop_that_leaves_gaps_is_refused() -> None:
    with pytest.raises(UsageError, match="hop_length"):
        stft_magnitudes(torch.zeros(5000), hop_length=513)
