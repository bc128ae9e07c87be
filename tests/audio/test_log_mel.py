"""The log-mel front end: librosa's values, whatever the batch and the padding."""

from __future__ import annotations

import copy
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tonotopy._components import build
from tonotopy._errors import UsageError
from tonotopy.audio import FrontEnd, LogMel, log_mel, mel_filters
from tonotopy.audio.mel import hz_to_mel, mel_to_hz

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "logmel.npz")
WAVE = torch.from_numpy(GOLDEN["wave"])[None]
LIKE_GOLDEN: dict[str, Any] = {"n_fft": 512, "hop_length": 160, "n_mels": 20}
SCALES = ("slaney", "htk")
NORMS = ("slaney", None)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def assert_golden(features: Tensor, name: str) -> None:
    np.testing.assert_allclose(features[0].numpy(), GOLDEN[name], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(("scale", "norm"), [*product(SCALES, NORMS)])
def test_filters_equal_librosa(scale: Any, norm: Any) -> None:
    filters = mel_filters(22050, 256, 12, f_min=50.0, f_max=9000.0, scale=scale, norm=norm)
    expected = GOLDEN[f"filters-{scale}-{norm or 'none'}"]
    np.testing.assert_allclose(filters.numpy(), expected, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize(
    ("scale", "norm", "power", "log"),
    [*product(SCALES, NORMS, (1.0, 2.0), ("db", "db30", "log"))],
)
def test_features_equal_librosa(scale: Any, norm: Any, power: float, log: str) -> None:
    front_end = LogMel(
        mel_scale=scale,
        mel_norm=norm,
        power=power,
        log="log" if log == "log" else "db",
        top_db=30.0 if log == "db30" else None,
        eps=1e-6,
        **LIKE_GOLDEN,
    )
    features, frames = front_end(WAVE)
    assert frames.tolist() == [16]
    assert_golden(features, f"{scale}-{norm or 'none'}-{power:g}-{log}")


def test_a_short_window_and_another_hop_equal_librosa() -> None:
    options = {**LIKE_GOLDEN, "win_length": 401, "hop_length": 100}
    assert_golden(LogMel(log="db", **options)(WAVE)[0], "windowed-db")


def test_a_clip_shorter_than_a_window_equals_librosa() -> None:
    features, frames = LogMel(log="db", **LIKE_GOLDEN)(WAVE[:, :7])
    assert frames.tolist() == [1]
    assert_golden(features, "short-db")


@pytest.mark.parametrize("scale", SCALES)
def test_mel_scales_invert(scale: Any) -> None:
    hz = torch.linspace(0, 8000, 200, dtype=torch.float64)
    mel = hz_to_mel(hz, scale)
    assert (mel.diff() > 0).all()
    torch.testing.assert_close(mel_to_hz(mel, scale), hz)


def test_a_filter_that_hears_nothing_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="mel filters are narrower"):
        mel_filters(16000, 128, 80)


@pytest.mark.parametrize("normalise", ["none", "clip", "dataset"])
@pytest.mark.parametrize("log", [{"log": "log"}, {"log": "db", "top_db": 40.0}])
@pytest.mark.parametrize("parts", [1, 1000])
def test_a_clip_does_not_depend_on_its_batch(
    normalise: Any, log: dict[str, Any], parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = torch.tensor([4000, 1, 159, 160, 161, 8000])
    front_end = LogMel(n_mels=24, normalise=normalise, **log)
    front_end.fit_normalisation([noise(3000), noise(500, seed=1)])
    waveforms = 10.0 * noise(6, 8000, seed=2)  # what lies beyond an end is not silence
    alone = [front_end(w[None, :n]) for w, n in zip(waveforms, lengths, strict=True)]
    monkeypatch.setattr(log_mel, "CACHED_NUMBERS", 6 * 257 * 50 // parts)
    features, frames = front_end(waveforms, lengths)
    assert frames.tolist() == [26, 1, 1, 2, 2, 51]
    for row, (expected, count) in enumerate(alone):
        assert expected.shape[2] == frames[row] == count
        torch.testing.assert_close(
            features[row, :, : frames[row]], expected[0], atol=2e-4, rtol=1e-4
        )
        assert (features[row, :, frames[row] :] == 0).all()


def test_clip_normalisation_is_of_valid_frames() -> None:
    front_end = LogMel(n_mels=24, normalise="clip")
    features, frames = front_end(noise(2, 8000), torch.tensor([8000, 3000]))
    for clip, count in zip(features, frames, strict=True):
        valid = clip[:, :count]
        assert valid.mean().item() == pytest.approx(0.0, abs=1e-4)
        assert valid.std(correction=0).item() == pytest.approx(1.0, abs=1e-4)


def test_silence_normalises_to_zero() -> None:
    features, _ = LogMel(normalise="clip")(torch.zeros(2, 16000), torch.tensor([16000, 5000]))
    torch.testing.assert_close(features, torch.zeros_like(features), atol=2e-3, rtol=0)


def test_data_set_normalisation_standardises_every_band() -> None:
    clips = [noise(3000), 0.3 * noise(8000, seed=1), noise(200, seed=2)]
    plain = torch.cat([LogMel(n_mels=24)(clip[None])[0][0] for clip in clips], dim=1).double()
    front_end = LogMel(n_mels=24, normalise="dataset")
    front_end.fit_normalisation(iter(clips))
    torch.testing.assert_close(front_end.mean.double(), plain.mean(dim=1), atol=1e-5, rtol=1e-5)
    deviation = plain.std(dim=1, correction=0)
    torch.testing.assert_close(front_end.std.double(), deviation, atol=1e-5, rtol=1e-5)
    features = torch.cat([front_end(clip[None])[0][0] for clip in clips], dim=1)
    torch.testing.assert_close(features.mean(dim=1), torch.zeros(24), atol=1e-4, rtol=0)

    front_end.fit_normalisation(iter(clips))  # again: from the features, not the normalised ones
    torch.testing.assert_close(front_end.std.double(), deviation, atol=1e-5, rtol=1e-5)
    other = LogMel(n_mels=24, normalise="dataset")
    other.load_state_dict(copy.deepcopy(front_end.state_dict()))
    assert torch.equal(other(clips[0][None])[0], front_end(clips[0][None])[0])


def test_a_silent_training_set_gives_finite_features() -> None:
    front_end = LogMel(normalise="dataset")
    front_end.fit_normalisation([torch.zeros(16000)])
    assert front_end(noise(1, 1000))[0].abs().max() < 100
    with pytest.raises(UsageError, match="at least one"):
        front_end.fit_normalisation([])


def test_statistics_are_only_learnt_where_they_are_used() -> None:
    front_end = LogMel()
    front_end.fit_normalisation([noise(1000)])
    assert torch.equal(front_end.mean, torch.zeros(64))


@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("normalise", ["none", "clip"])
def test_gradients_reach_the_valid_samples_only(power: float, normalise: Any) -> None:
    waveforms = noise(2, 2000)
    waveforms[0, 600:1200] = 0.0  # digital silence must not give NaN
    waveforms.requires_grad_()
    front_end = LogMel(n_mels=24, power=power, normalise=normalise)
    features, _ = front_end(waveforms, torch.tensor([2000, 1000]))
    features.square().sum().backward()
    assert waveforms.grad is not None
    assert waveforms.grad.isfinite().all()
    assert (waveforms.grad[0, :500] != 0).all()
    assert (waveforms.grad[1, :1000] != 0).all()
    assert (waveforms.grad[1, 1000:] == 0).all()


def test_the_gradient_is_the_slope() -> None:
    front_end = LogMel(n_mels=24)
    wave, direction = noise(1, 800), noise(1, 800, seed=1)
    wave.requires_grad_()
    (gradient,) = torch.autograd.grad(front_end(wave)[0].sum(), wave)
    step = 1e-2
    ahead, behind = (front_end(wave + s * direction)[0].double().sum() for s in (step, -step))
    expected = (gradient * direction).sum().item()
    assert ((ahead - behind) / (2 * step)).item() == pytest.approx(expected, rel=0.02)


def test_autocast_does_not_reach_the_features() -> None:
    front_end = LogMel()
    waveforms = noise(2, 3000)
    with torch.autocast("cpu", torch.bfloat16):
        features, _ = front_end(waveforms)
    assert features.dtype == torch.float32
    assert torch.equal(features, front_end(waveforms)[0])


def test_the_exported_graph_gives_the_same_features() -> None:
    front_end = LogMel(normalise="clip").eval()
    sizes = {0: torch.export.Dim("clips", min=1), 1: torch.export.Dim("samples", min=512)}
    program = torch.export.export(
        front_end,
        (noise(3, 4000), torch.tensor([4000, 800, 3000])),
        dynamic_shapes={"waveforms": sizes, "lengths": {0: sizes[0]}},
    )
    waveforms, lengths = noise(2, 7000), torch.tensor([7000, 5])
    expected = front_end(waveforms, lengths)
    torch.testing.assert_close(program.module()(waveforms, lengths), expected, atol=1e-5, rtol=1e-5)


def test_it_is_built_again_from_its_description() -> None:
    front_end = LogMel(8000, n_mels=30, mel_scale="htk", mel_norm=None, log="db")
    again = build(front_end.component, FrontEnd, "tonotopy.audio")
    assert torch.equal(again(WAVE)[0], front_end(WAVE)[0])
    assert (again.sample_rate, again.num_bins) == (8000, 30)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"win_length": 1024, "n_fft": 512}, "win_length"),
        ({"hop_length": 0}, "hop_length"),
        ({"power": 3.0}, "power"),
        ({"f_max": 9000.0}, "f_max"),
        ({"f_min": 8000.0}, "f_min"),
        ({"top_db": 80.0}, "top_db"),
        ({"top_db": -1.0, "log": "db"}, "top_db"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LogMel(**options)
