"""The two-branch network: what it reads, what it cannot tell, and what it cannot collapse to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tonotopy import AudioEmbedder
from tonotopy._components import build
from tonotopy._errors import UsageError
from tonotopy.audio import Waveform
from tonotopy.encoders import Encoder, TwoBranchNet

LENGTH = 8000
each_variant = pytest.mark.parametrize("variant", ["bias-free", "keras"])


def make(**options: Any) -> TwoBranchNet:
    """A network whose normalisations have seen data."""
    torch.manual_seed(0)
    encoder = TwoBranchNet(**{"num_samples": LENGTH, "embedding_dim": 32, **options})
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        for seed in range(3):
            encoder(noise(8, encoder.num_samples, seed=seed))
    return encoder.eval()


def noise(count: int, length: int = LENGTH, seed: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    loudness = torch.rand(count, 1, 1, generator=generator) + 0.5
    return 0.1 * loudness * torch.randn(count, 1, length, generator=generator)


def tone(hertz: float, length: int = LENGTH, amplitude: float = 1.0) -> Tensor:
    time = torch.arange(length, dtype=torch.float64) / 16000
    return (amplitude * torch.sin(2 * torch.pi * hertz * time)).float()[None, None]


# --- what the branches read -------------------------------------------------------------------


@pytest.mark.parametrize("length", [3072, 3073, 4607, 4608])
def test_views_follow_their_formulas(length: int) -> None:
    wave = noise(1, length)
    spectrum, magnitudes = TwoBranchNet(num_samples=length).views(wave)
    x = wave[0, 0].double().numpy()
    assert spectrum.shape == (1, length // 2)
    for k in (0, 1, 7, length // 2 - 1):
        value = sum(x[n] * np.exp(-2j * np.pi * k * n / length) for n in range(length))
        assert spectrum[0, k].item() == pytest.approx(abs(value), rel=1e-4)
    assert magnitudes.shape == (1, 513, 1 + (length - 1024) // 512)
    for frame in range(magnitudes.shape[2]):
        for k in (0, 1, 200, 512):
            value = sum(
                x[512 * frame + n]
                * (0.5 - 0.5 * np.cos(2 * np.pi * n / 1024))
                * np.exp(-2j * np.pi * k * n / 1024)
                for n in range(1024)
            )
            assert magnitudes[0, k, frame].item() == pytest.approx(abs(value), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize(
    ("seconds", "frames", "spectrum_weights"),
    [(1, 30, None), (2, 61, None), (5, 155, None), (10, 311, 1_572_864), (18, 561, 1_703_936)],
)
def test_clips_of_the_usual_lengths(
    seconds: int, frames: int, spectrum_weights: int | None
) -> None:
    encoder = TwoBranchNet(num_samples=16000 * seconds).eval()
    wave = noise(1, 16000 * seconds)
    spectrum, magnitudes = encoder.views(wave)
    assert (spectrum.shape, magnitudes.shape) == ((1, 8000 * seconds), (1, 513, frames))
    with torch.no_grad():
        embeddings = encoder(wave, torch.tensor([16000 * seconds]))
    assert embeddings.shape == (1, 256)
    assert embeddings.isfinite().all()
    if spectrum_weights is not None:
        assert sum(p.numel() for p in encoder.spectrum_branch.parameters()) == spectrum_weights
    assert sum(p.numel() for p in encoder.spectrogram_branch.parameters()) == 960_272


def test_the_band_limits_what_is_read() -> None:
    encoder = make(f_min=400.0, f_max=3000.0)
    wave = noise(2)
    spectrum, magnitudes = encoder.views(wave)
    whole, all_magnitudes = make().views(wave)
    assert torch.equal(spectrum, whole[:, 200:1501]), "every 2 Hz"
    assert torch.equal(magnitudes, all_magnitudes[:, 26:193]), "every 15.625 Hz"
    with torch.no_grad():
        plain = encoder(wave)
        # 4 kHz and 250 Hz are bins of both transforms, so nothing of them leaks into the band.
        outside = encoder(wave + tone(4000.0) + tone(250.0))
        inside = encoder(wave + tone(1000.0))
    torch.testing.assert_close(outside, plain, atol=1e-3, rtol=1e-3)
    assert (inside - plain).abs().max() > 0.1


# --- what it can and cannot tell --------------------------------------------------------------


@each_variant
def test_the_sign_does_not_count_but_the_gain_does(variant: str) -> None:
    encoder, wave = make(variant=variant), noise(3)
    with torch.no_grad():
        plain = encoder(wave)
        torch.testing.assert_close(encoder(-wave), plain)
        assert (encoder(2 * wave) - plain).abs().max() > 0.1


@pytest.mark.parametrize("gain", [0.5, 2.0, 16.0])
def test_the_gain_of_a_whole_training_batch_does_not_count(gain: float) -> None:
    encoder, wave = make().train(), 5 * noise(6)
    torch.testing.assert_close(encoder(gain * wave), encoder(wave), atol=5e-3, rtol=5e-3)


def test_the_spectrum_does_not_see_a_rotation() -> None:
    encoder, wave = make(), noise(2)
    with torch.no_grad():
        plain, rotated = encoder(wave), encoder(wave.roll(777, dims=-1))
    torch.testing.assert_close(rotated[:, :16], plain[:, :16], atol=1e-3, rtol=1e-3)
    assert (rotated[:, 16:] - plain[:, 16:]).abs().max() > 1e-2


def test_the_spectrogram_branch_hears_no_constant_tone() -> None:
    encoder = make()
    with torch.no_grad():
        silence = encoder(torch.zeros(1, 1, LENGTH))
        # 32 periods a hop: every frame is the same.
        steady = encoder(tone(1000.0))
        torch.testing.assert_close(steady[:, 16:], silence[:, 16:], atol=1e-3, rtol=1e-3)
        assert (steady[:, :16] - silence[:, :16]).abs().max() > 0.1
        interrupted = tone(1000.0)
        interrupted[..., : LENGTH // 2] = 0.0
        assert (encoder(interrupted)[:, 16:] - silence[:, 16:]).abs().max() > 0.1


def test_a_constant_response_of_each_bin_does_not_count() -> None:
    encoder = make().double()
    spectrum, magnitudes = (view.double() for view in encoder.views(noise(3)))
    response = torch.rand(3, 513, 1, dtype=torch.float64)
    with torch.no_grad():
        plain = encoder.combine((spectrum, magnitudes))
        shifted = encoder.combine((spectrum, magnitudes + response))
    torch.testing.assert_close(shifted, plain)


# --- collapse ---------------------------------------------------------------------------------


def test_the_spectrogram_branch_cannot_give_one_vector_for_all_clips() -> None:
    # Whatever the last layer is, its inputs have the batch mean zero.
    encoder, wave = make(variant="bias-free").train(), noise(8)
    direction = torch.randn(16, 1, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        for layer in (encoder.spectrum_branch.linear, encoder.spectrogram_branch.linear):
            layer.weight.copy_(direction.expand_as(layer.weight))
        spectrum, spectrogram = encoder(wave).split(16, dim=1)
    cosines = torch.cosine_similarity(spectrum[:, None], spectrum, dim=2)
    torch.testing.assert_close(cosines, torch.ones(8, 8))  # no bias, and yet one direction
    assert torch.cosine_similarity(spectrogram[:, None], spectrogram, dim=2).min() < -0.99
    torch.testing.assert_close(
        spectrogram.mean(dim=0), torch.zeros(16), atol=1e-3 * float(spectrogram.abs().max()), rtol=0
    )


def test_the_published_variant_can_collapse() -> None:
    encoder = make(variant="keras").train()
    with torch.no_grad():
        encoder.spectrogram_branch.pooled_norm.weight.zero_()
        encoder.spectrogram_branch.pooled_norm.bias.fill_(1.0)
        embeddings = encoder(noise(8))[:, 16:]
    torch.testing.assert_close(embeddings, embeddings[:1].expand(8, -1))
    assert embeddings.abs().max() > 0.1


@each_variant
def test_there_is_no_bias_but_in_published_normalisations(variant: Any) -> None:
    encoder = make(variant=variant)
    biases = {name for name, _ in encoder.named_parameters() if name.endswith("bias")}
    norms = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    fresh = TwoBranchNet(num_samples=LENGTH, variant=variant)
    settings = {
        (m.affine, m.momentum, m.eps)
        for m in fresh.modules()
        if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)
    }
    if variant == "bias-free":
        assert not biases
        assert settings == {(False, 0.1, 1e-5)}
    else:
        assert len(biases) == len(norms) == 4 + 1 + 1 + 8 + 7 + 1
        assert settings == {(True, 0.01, 1e-3)}


def test_weights_start_as_glorot_says() -> None:
    encoder = TwoBranchNet()
    conv = encoder.spectrum_branch.convs[1].weight
    linear = encoder.spectrogram_branch.linear.weight
    for weight, fans in ((conv, 64 * (128 + 128)), (linear, 2048 + 128)):
        assert isinstance(weight, Tensor)
        limit = (6.0 / fans) ** 0.5
        assert 0.99 * limit < weight.abs().max().item() <= limit
        assert weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.02)


# --- use --------------------------------------------------------------------------------------


def test_a_clip_is_embedded_as_if_alone() -> None:
    encoder, wave = make(), noise(5)
    with torch.no_grad():
        alone = torch.cat([encoder(clip[None]) for clip in wave])
        torch.testing.assert_close(encoder(wave), alone, atol=1e-4, rtol=1e-4)


def test_views_can_be_embedded_twice() -> None:
    encoder = make()
    views = encoder.views(noise(2))
    before = [view.clone() for view in views]
    with torch.no_grad():
        first = encoder.combine(views)
        assert torch.equal(encoder.combine(views), first)
    assert all(torch.equal(view, kept) for view, kept in zip(views, before, strict=True))


def test_the_exported_graph_gives_the_same_embeddings() -> None:
    encoder = make()
    sizes = {0: torch.export.Dim("clips", min=1)}
    program = torch.export.export(encoder, (noise(2),), dynamic_shapes={"features": sizes})
    wave = noise(3, seed=8)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(wave), encoder(wave), atol=1e-4, rtol=1e-4)


@each_variant
def test_gradient_reaches_every_parameter(variant: str) -> None:
    encoder = make(variant=variant).train()
    out = encoder(noise(4))
    (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(4))).sum().backward()
    for path, parameter in encoder.named_parameters():
        assert parameter.grad is not None, path
        assert parameter.grad.isfinite().all(), path
        assert parameter.grad.abs().max() > 0, path


def assert_finite(encoder: TwoBranchNet, low_precision: torch.dtype | None) -> None:
    loud = tone(1000.0, encoder.num_samples)
    wave = torch.cat([torch.zeros_like(loud), loud, loud.sign()])
    with torch.autocast("cpu", low_precision, enabled=low_precision is not None):
        spectrum, magnitudes = encoder.views(wave)
        embeddings, silence = encoder(wave), encoder(torch.zeros_like(wave))
    assert spectrum.dtype == magnitudes.dtype == embeddings.dtype == torch.float32
    assert spectrum[1].max().item() == pytest.approx(encoder.num_samples / 2, rel=1e-3)
    assert embeddings.isfinite().all()
    assert silence.isfinite().all()
    embeddings.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


@each_variant
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("low_precision", [None, torch.bfloat16])
def test_silence_and_full_scale_stay_finite(
    variant: Any, training: bool, low_precision: torch.dtype | None
) -> None:
    torch.manual_seed(0)
    encoder = TwoBranchNet(num_samples=LENGTH, variant=variant)
    assert_finite(encoder.train(training), low_precision)


def test_a_spectrum_that_float16_cannot_hold_stays_finite() -> None:
    torch.manual_seed(0)
    encoder = TwoBranchNet()
    assert encoder.num_samples / 2 > torch.finfo(torch.float16).max
    assert_finite(encoder, torch.float16)


def test_bfloat16_autocast_stays_near() -> None:
    encoder, wave = make(), noise(4)
    with torch.no_grad():
        exact = encoder(wave)
        with torch.autocast("cpu", torch.bfloat16):
            rough = encoder(wave)
    torch.testing.assert_close(rough[:, :16], exact[:, :16])  # that branch knows no autocast
    assert torch.cosine_similarity(exact[:, 16:], rough[:, 16:]).min() > 0.99


def test_branches_can_weigh_the_same() -> None:
    wave = noise(4)
    plain, normalised = make(), make(normalise_branches=True)
    normalised.load_state_dict(plain.state_dict())
    with torch.no_grad():
        embeddings, units = plain(wave), normalised(wave)
    norms = plain.branch_norms(embeddings)
    assert plain.branch_dims == (16, 16)
    for clip, (first, second), unit in zip(embeddings, norms, units, strict=True):
        assert first.item() == pytest.approx(clip[:16].square().sum().sqrt().item(), rel=1e-5)
        assert second.item() == pytest.approx(clip[16:].square().sum().sqrt().item(), rel=1e-5)
        torch.testing.assert_close(unit, torch.cat([clip[:16] / first, clip[16:] / second]))
    torch.testing.assert_close(normalised.branch_norms(units), torch.ones(4, 2))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"variant": "keras", "normalise_branches": True},
        {"sample_rate": 8000, "f_min": 100.0, "f_max": 3900.0},
    ],
)
def test_a_saved_model_is_the_same_bit_for_bit(tmp_path: Path, options: dict[str, Any]) -> None:
    front_end = Waveform(options.get("sample_rate", 16000), seconds=0.5)
    encoder = make(num_samples=front_end.num_samples, **options)
    embedder = AudioEmbedder(front_end, encoder).eval()
    embedder.save_pretrained(tmp_path)
    loaded = AudioEmbedder.from_pretrained(tmp_path)
    clips = [wave[0] for wave in noise(3, 9000)]
    assert torch.equal(loaded.embed(clips), embedder.embed(clips))
    assert loaded.encoder.component == encoder.component


def test_clips_of_mixed_lengths_do_not_depend_on_their_company() -> None:
    embedder = AudioEmbedder(Waveform(seconds=0.5), make()).eval()
    clips = [noise(1, length, seed=length)[0, 0] for length in (8000, 1, 777, 7999, 30000)]
    together = embedder.embed(clips)
    alone = torch.cat([embedder.embed([clip]) for clip in clips])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    assert (together[0] - together[3]).abs().max() > 1e-3


def test_the_front_end_gives_the_size() -> None:
    front_end = Waveform(seconds=0.25)
    component = TwoBranchNet(embedding_dim=8).component
    del component.init_args["num_bins"], component.init_args["num_samples"]
    encoder = build(
        component,
        Encoder,
        "tonotopy.encoders",
        num_bins=front_end.num_bins,
        num_samples=front_end.num_samples,
    )
    assert isinstance(encoder, TwoBranchNet)
    assert encoder.num_samples == 4000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_bins": 64}, "front end Waveform"),
        ({"num_samples": 3071}, "at least 3072 samples, got 3071"),
        ({"embedding_dim": 31}, "even"),
        ({"embedding_dim": 0}, "even"),
        ({"variant": "torch"}, "variant"),
        ({"f_min": -1.0}, "f_min"),
        ({"f_min": 500.0, "f_max": 400.0}, "f_min < f_max"),
        ({"f_max": 9000.0}, "8000 Hz"),
        ({"f_min": 300.0, "f_max": 340.0}, "too narrow"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TwoBranchNet(**options)


@pytest.mark.parametrize(
    ("shape", "lengths", "message"),
    [
        ((2, 1, LENGTH + 1), None, r"expected features \(batch, 1, 8000\), got \(2, 1, 8001\)"),
        ((2, LENGTH), None, "expected features"),
        ((2, 40, LENGTH), None, "expected features"),
        ((2, 1, LENGTH), [LENGTH, 10], "got lengths from 10 to 8000"),
    ],
)
def test_clips_of_another_length_are_refused(
    shape: tuple[int, ...], lengths: list[int] | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        make()(torch.zeros(shape), None if lengths is None else torch.tensor(lengths))


def test_a_batch_of_one_cannot_train() -> None:
    with pytest.raises(UsageError, match="batch of one"):
        make().train()(noise(1))
