"""Audio models of transformers as encoders, with tiny random configurations."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tonotopy import AudioEmbedder
from tonotopy._errors import DataError, MissingExtraError, UsageError
from tonotopy.audio import RawWaveform
from tonotopy.embedder import load_hugging_face
from tonotopy.encoders import HuggingFaceEncoder

transformers = pytest.importorskip("transformers", reason="needs the extra hf-audio")

TRANSFORMER = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
CONVOLUTIONS = {
    "conv_dim": [8, 8],
    "conv_kernel": [10, 8],
    "conv_stride": [5, 4],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "mask_time_prob": 0.0,
}
WAVES = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16000}
MODELS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "wav2vec2": (
        {"model_type": "wav2vec2", "feat_extract_norm": "layer", **TRANSFORMER, **CONVOLUTIONS},
        {**WAVES, "return_attention_mask": True},
    ),
    "wav2vec2-group-norm": (  # its first normalisation runs over time, padding or not
        {"model_type": "wav2vec2", "feat_extract_norm": "group", **TRANSFORMER, **CONVOLUTIONS},
        {**WAVES, "return_attention_mask": False},
    ),
    "hubert": (
        {"model_type": "hubert", "feat_extract_norm": "layer", **TRANSFORMER, **CONVOLUTIONS},
        {**WAVES, "return_attention_mask": True},
    ),
    "ast": (
        {
            "model_type": "audio-spectrogram-transformer",
            **TRANSFORMER,
            "num_mel_bins": 32,
            "max_length": 48,
        },
        {"feature_extractor_type": "ASTFeatureExtractor", "num_mel_bins": 32, "max_length": 48},
    ),
    "whisper": (  # only its encoder embeds, always 30 seconds
        {
            "model_type": "whisper",
            "d_model": 16,
            "encoder_layers": 1,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 16,
            "decoder_layers": 1,
            "decoder_attention_heads": 2,
            "decoder_ffn_dim": 16,
            "vocab_size": 20,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
        },
        {"feature_extractor_type": "WhisperFeatureExtractor"},
    ),
}
each_model = pytest.mark.parametrize("name", MODELS)


@functools.cache
def frozen(name: str) -> HuggingFaceEncoder:
    torch.manual_seed(0)
    config, extractor = MODELS[name]
    return HuggingFaceEncoder(config=config, extractor=extractor).eval()


def noise(*lengths: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [0.1 * torch.randn(length, generator=generator) for length in lengths]


@each_model
def test_a_clip_is_embedded_as_if_alone(name: str) -> None:
    embedder = AudioEmbedder(RawWaveform(16000), frozen(name))
    clips = noise(4000, 1300, 4000, 50, 7001)
    together = embedder.embed(clips)
    assert together.shape == (5, 16)
    alone = torch.cat([embedder.embed([clip]) for clip in clips])
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-4)
    assert (together[0] - together[2]).abs().max() > 1e-4


def test_the_embedding_is_the_mean_of_the_last_states() -> None:
    encoder = frozen("wav2vec2-group-norm")
    (wave,) = noise(3000)
    ready = (wave - wave.mean()) / (wave.var(correction=0) + 1e-7).sqrt()
    with torch.no_grad():
        states = encoder.model(ready[None]).last_hidden_state
        torch.testing.assert_close(encoder(wave[None, None])[0], states[0].mean(0))


@each_model
def test_a_saved_model_needs_no_other_file(name: str, tmp_path: Path) -> None:
    embedder = AudioEmbedder(RawWaveform(16000), frozen(name)).eval()
    embedder.save_pretrained(tmp_path)
    again = AudioEmbedder.from_pretrained(tmp_path)
    assert torch.equal(again.embed(noise(2000, 900)), embedder.embed(noise(2000, 900)))
    assert again.encoder.component == embedder.encoder.component


def test_a_model_of_transformers_is_loaded(tmp_path: Path) -> None:
    encoder = frozen("ast")
    encoder.model.save_pretrained(tmp_path)
    transformers.ASTFeatureExtractor(num_mel_bins=32, max_length=48).save_pretrained(tmp_path)
    embedder = load_hugging_face(tmp_path)
    assert embedder.window_seconds == pytest.approx(0.48)
    (wave,) = noise(6000)
    torch.testing.assert_close(embedder.embed([wave]), encoder(wave[None, None]))
    assert embedder.embed(noise(20000)).isfinite().all(), "in windows"
    with pytest.raises(UsageError, match=r"at most 0\.48 s, got 1\.25 s.*window_seconds=0\.48"):
        encoder(torch.zeros(1, 1, 20000))


def test_other_weights_are_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    frozen("ast").model.save_pretrained(tmp_path)
    transformers.ASTFeatureExtractor(num_mel_bins=32, max_length=48).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    name = next(name for name in sorted(tensors) if "layer.0" in name or "layers.0" in name)
    save_file({k: v for k, v in tensors.items() if k != name}, file, metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"not those of its ASTModel: expected .*, found none"):
        load_hugging_face(tmp_path)
    save_file({**tensors, name: torch.zeros(3)}, file, metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"expected .* of shape \(.*\), found \(3,\)"):
        load_hugging_face(tmp_path)
    file.unlink()
    with pytest.raises(UsageError, match="cannot load"):
        load_hugging_face(tmp_path)


def test_frozen_weights_stay_and_others_learn() -> None:
    encoder = frozen("hubert").train()
    assert not encoder.model.training
    wave = torch.stack(noise(2000, 2000))[:, None]
    assert not encoder(wave).requires_grad
    config, extractor = MODELS["hubert"]
    tuned = HuggingFaceEncoder(config=config, extractor=extractor, frozen=False).train()
    assert tuned.model.training
    tuned(wave, torch.tensor([2000, 800])).square().sum().backward()
    used = {n: p for n, p in tuned.model.named_parameters() if "masked_spec" not in n}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in used.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give a source"),
        ({"config": {"model_type": "no-such"}, "extractor": WAVES}, "'no-such'"),
        (
            {"config": MODELS["ast"][0], "extractor": {"feature_extractor_type": "Trainer"}},
            "got 'Trainer'",
        ),
        (
            {"config": MODELS["ast"][0], "extractor": MODELS["ast"][1], "sample_rate": 8000},
            r"expects 16000 Hz, the front end gives 8000: take RawWaveform\(16000\)",
        ),
    ],
)
def test_impossible_models_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        HuggingFaceEncoder(**options)


@pytest.mark.parametrize(
    ("shape", "lengths", "message"),
    [
        ((2, 40, 100), None, "front end RawWaveform"),
        ((2, 1, 100), [100], "expected 2 lengths"),
        ((2, 1, 100), [0, 100], "from 1 to 100 samples"),
    ],
)
def test_other_features_are_refused(
    shape: tuple[int, ...], lengths: list[int] | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        frozen("ast")(torch.zeros(shape), None if lengths is None else torch.tensor(lengths))


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tonotopy\[hf-audio\]'"):
        HuggingFaceEncoder("somewhere")
