"""Mixing back: energies as asked, other backgrounds in every view, and nothing undefined."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.audio import KeyedGenerator, MixBack


def made(clips: int | list[int], epoch: int = 0, view: int = 0) -> KeyedGenerator:
    names = torch.tensor(clips) if isinstance(clips, list) else torch.arange(clips)
    return KeyedGenerator.for_views(names, seed=0, epoch=epoch, view=view)


def tones(count: int, size: int = 1000) -> Tensor:
    """Clips that are orthogonal over their whole length: a sine of its own frequency each."""
    time = torch.arange(size) / size
    return torch.stack([torch.sin(math.tau * (10 * i + 5) * time) for i in range(count)])


def shares(mixed: Tensor, clean: Tensor) -> Tensor:
    """Give (B, B) the energy of clip j in mixture i, in units of the energy of clip i."""
    energy = clean.double().square().sum(dim=1)
    amounts = mixed.double() @ clean.double().T / energy
    return amounts.square() * energy / energy[:, None]


def loop(x: Tensor, lengths: Tensor, generator: KeyedGenerator, snr: float) -> Tensor:
    """The formula, clip by clip in float64."""
    partners = generator.partners().tolist()
    draws = generator.uniform(shared=True).tolist()
    result = x.double().clone()
    for row, (partner, draw) in enumerate(zip(partners, draws, strict=True)):
        size, other = int(lengths[row]), int(lengths[partner])
        clip = x[row, :size].double()
        background = torch.stack([x[partner, i % other].double() for i in range(size)])
        share = draw * 10 ** (-snr / 10)
        energies = [float((signal**2).sum()) for signal in (clip, background)]
        if energies[1] > 0:
            gain = math.sqrt(share * energies[0] / energies[1])
            result[row, :size] = math.sqrt(1 - share) * clip + gain * background
    return result


@pytest.mark.parametrize("snr", [0.0, 13.0, 30.0])
@pytest.mark.parametrize("view", [0, 1])
def test_mixtures_equal_those_of_a_loop(snr: float, view: int) -> None:
    x = torch.randn(5, 700, generator=torch.Generator().manual_seed(1))
    scales = torch.tensor([1.0, 1e-4, 30.0, 0.1, 1.0])[:, None]
    x *= scales
    lengths = torch.tensor([700, 130, 699, 1, 350])
    mixed = MixBack(snr)(x, lengths, made(5, view=view))
    expected = loop(x, lengths, made(5, view=view), snr)
    torch.testing.assert_close(mixed.double() / scales, expected / scales, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("snr", [0.0, 6.0, 13.0])
def test_the_background_has_the_energy_asked_for(snr: float) -> None:
    clean = tones(6) * torch.tensor([1.0, 0.01, 5.0, 1.0, 0.3, 2.0])[:, None]
    lengths = torch.full((6,), 1000)
    most = 10 ** (-snr / 10)
    seen = []
    for epoch in range(60):
        found = shares(MixBack(snr)(clean, lengths, made(6, epoch)), clean)
        own = found.diagonal().clone()
        others = found.fill_diagonal_(0.0)
        assert ((others > 1e-9).sum(dim=1) == 1).all(), "one background, another clip"
        added = others.sum(dim=1)
        torch.testing.assert_close(own + added, torch.ones(6).double(), rtol=1e-4, atol=0)
        assert added.max() <= most * (1 + 1e-4)
        seen.append(added)
    drawn = torch.cat(seen) / most
    assert drawn.max() > 0.98
    assert drawn.min() < 0.02
    assert 0.45 < drawn.mean() < 0.55


def test_views_share_the_amount_and_not_the_background() -> None:
    clean, lengths = tones(5), torch.full((5,), 1000)
    for epoch in range(20):
        mixtures = [MixBack()(clean, lengths, made(5, epoch, view)) for view in range(4)]
        found = [shares(mixed, clean).fill_diagonal_(0.0) for mixed in mixtures]
        for one, other in itertools.combinations(found, 2):
            torch.testing.assert_close(one.sum(dim=1), other.sum(dim=1), rtol=1e-3, atol=1e-9)
            assert (one.argmax(dim=1) != other.argmax(dim=1)).all()


def test_padding_makes_no_difference() -> None:
    x = torch.randn(5, 700, generator=torch.Generator().manual_seed(1))
    x[3] = 0.0
    lengths = torch.full((5,), 700)
    padded = torch.nn.functional.pad(x, (0, 50), value=math.nan)
    found = MixBack()(padded, lengths, made(5))
    torch.testing.assert_close(found[:, :700], MixBack()(x, lengths, made(5)))
    assert found[:, 700:].isnan().all()


def test_the_order_of_the_batch_changes_nothing() -> None:
    x = torch.randn(6, 300, generator=torch.Generator().manual_seed(2))
    lengths = torch.tensor([300, 20, 299, 300, 7, 150])
    names = [4, 19, 2, 33, 0, 8]
    order = torch.tensor([3, 5, 0, 1, 4, 2])
    mixed = MixBack()(x, lengths, made(names))
    again = MixBack()(x[order], lengths[order], made([names[i] for i in order]))
    assert torch.equal(again, mixed[order])


def test_silence_is_defined() -> None:
    x = torch.randn(4, 200, generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([200, 100, 200, 0])
    x[1:3] = 0.0
    changed = 0
    for epoch in range(30):
        partners = made(4, epoch).partners()
        mixed = MixBack()(x, lengths, made(4, epoch))
        assert torch.equal(mixed[1:], x[1:]), "silence and nothing at all stay as they are"
        if partners[0] in (1, 2):
            assert torch.equal(mixed[0], x[0]), "no background, no change"
            changed += 1
    assert changed


def test_a_clip_alone_stays_as_it_is() -> None:
    x = torch.randn(1, 50)
    assert torch.equal(MixBack()(x, torch.tensor([50]), made(1)), x)
    assert MixBack()(torch.zeros(3, 0), torch.zeros(3, dtype=torch.long), made(3)).shape == (3, 0)


@pytest.mark.parametrize("scales", [(1e30, 1e-30), (1e-30, 1e30), (1e37, 1e37), (1e-37, 1e-37)])
def test_very_loud_and_very_faint_clips_stay_finite(scales: tuple[float, float]) -> None:
    x = tones(2) * torch.tensor(scales)[:, None]
    mixed = MixBack(0.0)(x, torch.full((2,), 1000), made(2))
    assert mixed.isfinite().all()
    ratio = (mixed.double().square().sum(dim=1) / x.double().square().sum(dim=1)).sqrt()
    torch.testing.assert_close(ratio, torch.ones(2).double(), rtol=1e-4, atol=0)


def test_halves_are_mixed_in_single_precision() -> None:
    x = (tones(4) * torch.tensor([1.0, 1e-3, 100.0, 1.0])[:, None]).half()
    lengths = torch.full((4,), 1000)
    mixed = MixBack()(x, lengths, made(4))
    assert mixed.dtype == torch.float16
    expected = MixBack()(x.float(), lengths, made(4))
    torch.testing.assert_close(mixed.float(), expected, rtol=1e-3, atol=1e-6)


def test_gradients_are_finite_even_beside_silence() -> None:
    x = tones(3)
    x[1] = 0.0
    x.requires_grad_()
    MixBack()(x, torch.full((3,), 1000), made(3)).square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("snr", [-1.0, math.nan])
def test_a_background_above_the_clip_is_refused(snr: float) -> None:
    with pytest.raises(UsageError, match="MixBack"):
        MixBack(snr)
