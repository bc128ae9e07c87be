"""Every encoder: a clip's vector is its own, gradients flow, weights come back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tonotopy._components import build
from tonotopy._errors import UsageError
from tonotopy.encoders import (
    CRNN,
    ConvNet,
    Encoder,
    MaxPoolConvNet,
    PatchConvNet,
    PatchCRNN,
    PatchResNet18,
    PatchVGG,
    ResNet18,
    TwoBranchNet,
)

NUM_BINS = 40

MAKERS: dict[str, Callable[[], Encoder]] = {
    "ConvNet": lambda: ConvNet(NUM_BINS, embedding_dim=24, width=4),
    "ResNet18": lambda: ResNet18(NUM_BINS, width=4),
    "MaxPoolConvNet": lambda: MaxPoolConvNet(NUM_BINS, embedding_dim=24, width=4),
    "CRNN": lambda: CRNN(NUM_BINS, hidden_size=8),
    "PatchVGG": lambda: PatchVGG(NUM_BINS, embedding_dim=24, patch_frames=20, patch_hop=10),
    "PatchConvNet": lambda: PatchConvNet(NUM_BINS, dropout=0.2, patch_frames=20, patch_hop=10),
    "PatchCRNN": lambda: PatchCRNN(NUM_BINS, hidden_size=8, patch_frames=20, patch_hop=10),
    "PatchResNet18": lambda: PatchResNet18(NUM_BINS, width=4, patch_frames=20, patch_hop=10),
}
each_encoder = pytest.mark.parametrize("name", MAKERS)


def make(name: str) -> Encoder:
    """An encoder whose normalisations have seen data, so that clips stay distinct through it."""
    torch.manual_seed(0)
    encoder = MAKERS[name]()
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
            if module.affine:
                module.bias.data.normal_(0, 0.3)
    with torch.no_grad():
        for seed in range(3):
            encoder(torch.stack(clips([64] * 8, seed=seed + 10)))
    return encoder.eval()


def clips(lengths: list[int], seed: int = 2) -> list[Tensor]:
    """One random clip (F, T) of each length."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(NUM_BINS, frames, generator=generator) - 4 for frames in lengths]


def padded(items: list[Tensor], frames: int, fill: float) -> Tensor:
    """Clips side by side in one batch (B, F, frames) with `fill` behind each."""
    batch = torch.full((len(items), NUM_BINS, frames), fill)
    for row, item in zip(batch, items, strict=True):
        row[:, : item.shape[1]] = item
    return batch


@each_encoder
@pytest.mark.parametrize("fill", [0.0, 1e4, float("nan"), float("inf")])
@pytest.mark.parametrize("lengths", [[1, 2, 3, 5], [33, 100, 64, 7], [17, 99, 98, 97, 96, 95]])
def test_a_clip_is_embedded_as_if_alone(name: str, lengths: list[int], fill: float) -> None:
    encoder = make(name)
    items = clips(lengths)
    with torch.no_grad():
        alone = torch.cat([encoder(item[None], None) for item in items])
        batch = padded(items, max(lengths) + 13, fill)
        together = encoder(batch, torch.tensor(lengths))
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@each_encoder
def test_random_lengths_do_not_leak(name: str) -> None:
    encoder = make(name)
    generator = torch.Generator().manual_seed(3)
    lengths = torch.randint(1, 130, (40,), generator=generator)
    items = clips(lengths.tolist())
    with torch.no_grad():
        alone = torch.cat([encoder(item[None], None) for item in items])
        together = encoder(padded(items, 130, float("nan")), lengths)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@each_encoder
def test_embeddings_tell_clips_and_durations_apart(name: str) -> None:
    encoder = make(name)
    first, second = clips([60, 60])
    with torch.no_grad():
        whole, other, part = (encoder(x[None]) for x in (first, second, first[:, :30]))
    assert (whole - other).abs().max() > 1e-3
    assert (whole - part).abs().max() > 1e-3


@each_encoder
def test_full_lengths_equal_no_lengths(name: str) -> None:
    encoder = make(name)
    batch = torch.stack(clips([48, 48]))
    with torch.no_grad():
        torch.testing.assert_close(encoder(batch, torch.tensor([48, 48])), encoder(batch))


@each_encoder
@pytest.mark.parametrize("frames", [1, 2, 31, 257])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_shape(name: str, frames: int, count: int) -> None:
    encoder = make(name)
    lengths = torch.full((count,), frames)
    with torch.no_grad():
        out = encoder(torch.zeros(count, NUM_BINS, frames), lengths)
    assert out.shape == (count, encoder.embedding_dim)
    assert out.isfinite().all()


@each_encoder
def test_gradient_reaches_every_parameter(name: str) -> None:
    encoder = make(name).train()
    lengths = [60, 9, 33, 47]
    out = encoder(padded(clips(lengths), 60, 0.0), torch.tensor(lengths))
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(4))
    (out * weights).sum().backward()
    for path, parameter in encoder.named_parameters():
        assert parameter.grad is not None, path
        assert parameter.grad.isfinite().all(), path
        if path == "gru.weight_hh_l0_reverse" and name == "PatchCRNN":
            continue  # its backward direction makes one step, from zeros
        assert parameter.grad.abs().max() > 0, path


@each_encoder
def test_padding_gets_no_gradient(name: str) -> None:
    encoder = make(name).train()
    lengths = [20, 50]
    batch = padded(clips(lengths), 64, 0.0).requires_grad_()
    encoder(batch, torch.tensor(lengths)).square().sum().backward()
    assert batch.grad is not None
    assert batch.grad[0, :, 20:].abs().max() == 0
    assert batch.grad[1, :, 50:].abs().max() == 0
    assert batch.grad[0, :, :20].abs().max() > 0


@each_encoder
def test_silence_is_finite_in_training(name: str) -> None:
    encoder = make(name).train()
    out = encoder(torch.zeros(4, NUM_BINS, 40), torch.tensor([40, 40, 12, 1]))
    out.square().sum().backward()
    assert out.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


@each_encoder
def test_training_ignores_how_much_padding_there_is(name: str) -> None:
    lengths = [20, 41, 33]
    outputs, statistics = [], []
    for frames in (41, 90):
        encoder = make(name).train()
        for module in encoder.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        outputs.append(encoder(padded(clips(lengths), frames, 0.0), torch.tensor(lengths)))
        statistics.append(dict(encoder.named_buffers()))
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(statistics[0], statistics[1], atol=1e-5, rtol=1e-5)


@each_encoder
def test_state_round_trip(name: str) -> None:
    encoder = make(name)
    torch.manual_seed(99)
    again = build(encoder.component, Encoder, "tonotopy.encoders").eval()
    batch = torch.stack(clips([40, 40]))
    with torch.no_grad():
        assert not torch.equal(encoder(batch), again(batch))
        again.load_state_dict(encoder.state_dict())
        assert torch.equal(encoder(batch), again(batch))
    assert all(value.is_contiguous() for value in encoder.state_dict().values())


@each_encoder
def test_bfloat16_autocast_stays_near(name: str) -> None:
    encoder = make(name)
    lengths = [50, 23]
    batch = padded(clips(lengths), 50, 0.0)
    with torch.no_grad():
        exact = encoder(batch, torch.tensor(lengths))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = encoder(batch, torch.tensor(lengths)).float()
    assert torch.cosine_similarity(exact, rough).min() > 0.99


@pytest.mark.parametrize(
    ("encoder", "count"),
    [
        # Published: 11,689,512 with 1,000 classes and three input channels.
        (ResNet18(64), 11_689_512 - 513_000 - 2 * 64 * 49),
        # A GRU layer has 3 h (inputs + h + 2) a direction.
        (
            CRNN(128),
            9 * (1 * 16 + 16 * 32 + 32 * 64 + 64 * 128 + 3 * 128 * 128)
            + sum(c * c + c + 2 * c for c in (16, 32, 64, 128, 128, 128, 128))
            + 2 * 384 * (128 + 128 + 2)
            + 2 * 384 * (256 + 128 + 2),
        ),
        # Published for ten seconds: 1.573 M and 0.960 M.
        (TwoBranchNet(), 1_572_864 + 960_272),
    ],
    ids=["ResNet18", "CRNN", "TwoBranchNet"],
)
def test_parameter_counts(encoder: Encoder, count: int) -> None:
    assert sum(parameter.numel() for parameter in encoder.parameters()) == count


def test_published_embedding_sizes() -> None:
    assert ResNet18(128).embedding_dim == 512
    assert CRNN(128).embedding_dim == 256
    assert TwoBranchNet().embedding_dim == 256


@each_encoder
@pytest.mark.parametrize(
    ("shape", "lengths", "message"),
    [
        (
            (2, NUM_BINS + 1, 10),
            None,
            r"expected features \(batch, 40, frames\).*got \(2, 41, 10\)",
        ),
        ((NUM_BINS, 10), None, "expected features"),
        ((2, NUM_BINS, 0), None, "at least one frame"),
        ((2, NUM_BINS, 10), [10], "one length for each of 2 clips"),
        ((2, NUM_BINS, 10), [0, 10], "from 1 to 10 frames, got 0 to 10"),
        ((2, NUM_BINS, 10), [10, 160], "pass frames, not samples"),
    ],
)
def test_wrong_shapes_are_named(
    name: str, shape: tuple[int, ...], lengths: list[int] | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        make(name)(torch.zeros(shape), None if lengths is None else torch.tensor(lengths))
