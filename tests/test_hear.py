"""What HEAR's validator asks, and that timestamps say what was embedded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tonotopy import AudioEmbedder, hear
from tonotopy._errors import UsageError
from tonotopy.audio import FrontEnd, LogMel, PeakLogMel
from tonotopy.encoders import Encoder, PatchResNet18


class Samples(FrontEnd):
    """The samples are the features."""

    def __init__(self, sample_rate: int = 16000) -> None:
        super().__init__(sample_rate, 1)

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        assert lengths is None
        return waveforms[:, None], torch.full((len(waveforms),), waveforms.shape[1])


class Middle(Encoder):
    """The sample in the middle, and the mean."""

    def __init__(self) -> None:
        super().__init__(1, 2)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        middle = features.shape[-1] // 2
        return torch.stack([features[:, 0, middle], features[:, 0].mean(dim=-1)], dim=1)


@pytest.fixture
def model(tmp_path: Path) -> hear.HearModel:
    torch.manual_seed(0)
    embedder = AudioEmbedder(PeakLogMel(), PatchResNet18(num_bins=96, width=2))
    embedder.save_pretrained(tmp_path)
    return hear.load_model(str(tmp_path))


def white_noise(sounds: int, seconds: float, sample_rate: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 2 * torch.rand(sounds, int(seconds * sample_rate), generator=generator) - 1


def test_a_model_says_what_it_takes_and_gives(model: hear.HearModel) -> None:
    assert isinstance(model, nn.Module)
    assert not model.training
    assert model.sample_rate == 22050
    for size in (model.scene_embedding_size, model.timestamp_embedding_size):
        assert type(size) is int
        assert size == 16


@pytest.mark.parametrize("seconds", [1.07, 1.98, 4.0])
def test_timestamps_are_regular_and_reach_the_end(model: hear.HearModel, seconds: float) -> None:
    audio = white_noise(2, seconds, model.sample_rate)
    embeddings, timestamps = hear.get_timestamp_embeddings(audio, model)
    assert embeddings.dtype == torch.float32
    assert embeddings.shape == (2, timestamps.shape[1], model.timestamp_embedding_size)
    assert timestamps.shape[0] == 2
    assert embeddings.isfinite().all()
    assert timestamps[:, 0].tolist() == [0.0, 0.0]
    torch.testing.assert_close(timestamps.diff(), torch.full_like(timestamps.diff(), 50.0))
    duration = 1000 * audio.shape[1] / model.sample_rate
    assert duration - 50 < timestamps.max() <= duration


def test_a_scene_has_one_embedding(model: hear.HearModel) -> None:
    audio = white_noise(4, 2.74, model.sample_rate)
    embeddings = hear.get_scene_embeddings(audio, model)
    assert embeddings.dtype == torch.float32
    assert embeddings.shape == (4, model.scene_embedding_size)
    torch.testing.assert_close(embeddings, model.embedder.embed(list(audio)))
    torch.testing.assert_close(model(audio), embeddings)


@pytest.mark.parametrize(("rate", "hop"), [(16000, 50.0), (22050, 25.0), (44100, 12.3)])
def test_windows_are_centred_on_their_timestamps_and_never_drift(rate: int, hop: float) -> None:
    model = hear.HearModel(AudioEmbedder(Samples(rate), Middle()), hop_ms=hop, window_seconds=0.1)
    ramp = torch.arange(30 * rate, dtype=torch.float32)  # a sample says when it is
    embeddings, timestamps = hear.get_timestamp_embeddings(ramp[None], model)
    inside = timestamps[0] < 30000
    expected = (timestamps[0].double() * rate / 1000)[inside]
    assert len(expected) > 500
    assert (embeddings[0, inside, 0] - expected).abs().max() < 0.6


def test_outside_a_recording_is_silence() -> None:
    model = hear.HearModel(AudioEmbedder(Samples(), Middle()), window_seconds=0.1)
    embeddings, timestamps = hear.get_timestamp_embeddings(torch.ones(1, 16000), model)
    means = embeddings[0, :, 1]
    assert timestamps[0, -1] == 1000.0
    torch.testing.assert_close(means[[0, -1]], torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(means[1:-1], torch.ones(19))


def test_a_sound_does_not_depend_on_its_company(
    model: hear.HearModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = white_noise(3, 1.5, model.sample_rate)
    together, _ = hear.get_timestamp_embeddings(audio, model)
    monkeypatch.setattr(hear, "WINDOWS_AT_ONCE", 7)
    alone = torch.cat([hear.get_timestamp_embeddings(row[None], model)[0] for row in audio])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_model_in_training_is_evaluated_and_goes_on_training(model: hear.HearModel) -> None:
    audio = white_noise(2, 1.0, model.sample_rate)
    expected, _ = hear.get_timestamp_embeddings(audio, model)
    model.train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    embeddings, _ = hear.get_timestamp_embeddings(audio, model)
    assert model.embedder.training
    assert not embeddings.requires_grad
    torch.testing.assert_close(embeddings, expected)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_what_cannot_be_embedded_is_named(model: hear.HearModel) -> None:
    for wrong in (torch.zeros(5), torch.zeros(2, 0), torch.zeros(1, 2, 3)):
        with pytest.raises(UsageError, match="n_sounds, n_samples"):
            hear.get_timestamp_embeddings(wrong, model)
        with pytest.raises(UsageError, match="n_sounds, n_samples"):
            hear.get_scene_embeddings(wrong, model)
    with pytest.raises(UsageError, match="NaN"):
        hear.get_timestamp_embeddings(torch.full((1, 9), torch.nan), model)


def test_hear_has_no_data_at_other_rates() -> None:
    embedder = AudioEmbedder(LogMel(sample_rate=8000), PatchResNet18(num_bins=128, width=2))
    with pytest.raises(UsageError, match="8000 Hz"):
        hear.HearModel(embedder)


@pytest.mark.parametrize("option", ["hop_ms", "window_seconds"])
def test_options_are_positive(option: str) -> None:
    embedder = AudioEmbedder(Samples(), Middle())
    with pytest.raises(UsageError, match=option):
        hear.HearModel(embedder, **{option: 0.0})
