"""Augmentations: driven by the generator alone, inside each clip, and nothing in eval()."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.audio import (
    AddNoise,
    Augmentation,
    Gain,
    Mixup,
    SpecAugment,
    TimeShift,
    WaveAugmentation,
)

LENGTHS = torch.tensor([4000, 1, 2500, 3999])
AUGMENTATIONS: list[Augmentation] = [Gain(), TimeShift(), AddNoise(), SpecAugment()]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(augment: Augmentation) -> tuple[Tensor, Tensor]:
    """Four clips that suit the augmentation, with something other than zero as padding."""
    if isinstance(augment, WaveAugmentation):
        return torch.randn(4, 4000, generator=seeded(1)), LENGTHS
    return torch.randn(4, 64, 100, generator=seeded(1)), torch.tensor([100, 1, 60, 99])


@pytest.mark.parametrize("augment", AUGMENTATIONS, ids=lambda a: type(a).__name__)
def test_the_generator_decides_everything(augment: Augmentation) -> None:
    x, lengths = batch(augment)
    before = x.clone()
    augment.train()
    torch.manual_seed(1)
    first = augment(x, lengths, seeded())
    torch.manual_seed(2)
    assert torch.equal(augment(x, lengths, seeded()), first)
    assert not torch.equal(augment(x, lengths, seeded(3)), first)
    assert not torch.equal(first, x)
    assert torch.equal(x, before), "the input was changed"
    assert first.shape == x.shape
    assert first.dtype == x.dtype


@pytest.mark.parametrize("augment", AUGMENTATIONS, ids=lambda a: type(a).__name__)
def test_nothing_happens_in_eval(augment: Augmentation) -> None:
    x, lengths = batch(augment)
    assert augment.eval()(x, lengths, seeded()) is x


@pytest.mark.parametrize("augment", AUGMENTATIONS, ids=lambda a: type(a).__name__)
def test_padding_is_neither_changed_nor_seen(augment: Augmentation) -> None:
    x, lengths = batch(augment)
    augment.train()
    padding = torch.arange(x.shape[-1]) >= lengths.view(-1, *[1] * (x.ndim - 1))
    result = augment(x, lengths, seeded())
    other = augment(x.masked_fill(padding, 99.0), lengths, seeded())
    padding = padding.expand_as(x)
    assert torch.equal(result[padding], x[padding])
    torch.testing.assert_close(other[~padding], result[~padding])


@pytest.mark.parametrize("augment", AUGMENTATIONS, ids=lambda a: type(a).__name__)
def test_clips_are_changed_differently(augment: Augmentation) -> None:
    x, _ = batch(augment)
    same = x[:1].expand_as(x).contiguous()
    result = augment.train()(same, torch.full((4,), x.shape[-1]), seeded())
    assert not torch.equal(result[0], result[1])


def many(make: Callable[[], Tensor]) -> Tensor:
    return torch.stack([make() for _ in range(200)])


def test_gain_stays_in_its_range() -> None:
    generator, ones = seeded(), torch.ones(4, 10)
    augment = Gain(-6.0, 3.0).train()
    gains = many(lambda: augment(ones, torch.full((4,), 10), generator))
    decibels = 20 * gains[..., 0].log10()
    assert (gains == gains[..., :1]).all()
    assert -6 <= decibels.min() < -5.8
    assert 2.8 < decibels.max() <= 3.001


@pytest.mark.parametrize(("low", "high"), [(-5.0, -5.0), (10.0, 10.0), (0.0, 30.0)])
def test_noise_has_the_ratio_asked_for(low: float, high: float) -> None:
    x, lengths = batch(AddNoise())
    x = x * torch.tensor([[0.01], [1.0], [30.0], [1.0]])
    noise = AddNoise(low, high).train()(x, lengths, seeded()) - x
    for clip, added, length in zip(x, noise, lengths, strict=True):
        power = [v[:length].double().square().mean() for v in (clip, added)]
        ratio = 10 * (power[0] / power[1]).log10().item()
        assert low - 1e-3 <= ratio <= high + 1e-3


def test_a_silent_clip_stays_silent() -> None:
    silence = torch.zeros(2, 100)
    assert torch.equal(AddNoise().train()(silence, torch.tensor([100, 50]), seeded()), silence)


def test_a_shift_rotates_each_clip() -> None:
    x, lengths = batch(TimeShift())
    shifted = TimeShift().train()(x, lengths, seeded())
    for clip, moved, length in zip(x, shifted, lengths.tolist(), strict=True):
        shift = int((clip[:length] == moved[0]).nonzero()[0])
        assert torch.equal(moved[:length], clip[:length].roll(-shift))


def test_a_shift_goes_both_ways_and_not_too_far() -> None:
    generator, ramp = seeded(), torch.arange(1000.0)[None]
    augment = TimeShift(0.1).train()
    first = many(lambda: augment(ramp, torch.tensor([1000]), generator))[:, 0, 0]
    shifts = torch.where(first > 500, 1000 - first, -first)
    assert -100 <= shifts.min() < -90
    assert 90 < shifts.max() <= 100


def test_masks_hold_the_clips_mean_and_keep_to_their_widths() -> None:
    generator = seeded()
    x = torch.randn(2, 40, 50, generator=seeded(1)) + 3.0
    lengths = torch.tensor([50, 30])
    widest = torch.zeros(2)
    for _ in range(200):
        augment = SpecAugment(5, 8, frequency_masks=1, time_masks=1).train()
        result = augment(x, lengths, generator)
        for clip, changed, length in zip(x, result, lengths.tolist(), strict=True):
            masked = (clip != changed)[:, :length]
            bands, frames = masked.all(dim=1), masked.all(dim=0)
            assert torch.equal(masked, bands[:, None] | frames)
            torch.testing.assert_close(
                changed[:, :length][masked], clip[:, :length].mean().expand(int(masked.sum()))
            )
            for marks in (bands, frames):
                assert (marks.int().diff() == 1).sum() + marks[0].int() <= 1, "one stretch"
            widest = torch.maximum(widest, torch.tensor([bands.sum(), frames.sum()]))
    assert widest.tolist() == [5, 8]


def test_masks_in_time_leave_half_of_a_short_clip() -> None:
    generator, x = seeded(), torch.randn(1, 8, 9, generator=seeded(1))
    augment = SpecAugment(0, 50, time_masks=1).train()
    kept = [augment(x, torch.tensor([9]), generator)[0, 0] == x[0, 0] for _ in range(100)]
    assert min(int(k.sum()) for k in kept) == 5


def test_gradients_pass_through() -> None:
    for augment in AUGMENTATIONS:
        x, lengths = batch(augment)
        x.requires_grad_()
        augment.train()(x, lengths, seeded()).square().sum().backward()
        assert x.grad is not None
        assert x.grad.isfinite().all()
        assert x.grad.count_nonzero() > x.numel() / 2


def test_mixup_mixes_clips_and_labels_alike() -> None:
    labels = torch.eye(16)
    mixed, targets = Mixup(1.0).train()(labels.clone(), labels, seeded())
    torch.testing.assert_close(mixed, targets)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(16))
    assert (targets.diagonal() >= 0.5).all(), "each clip keeps the larger share"
    assert len(targets.diagonal().unique()) > 8, "each pair has its own share"
    assert ((targets > 0).sum(dim=1) <= 2).all()

    features = torch.randn(16, 3, 5, generator=seeded(1))
    first, _ = Mixup(1.0).train()(features, labels, seeded())
    torch.testing.assert_close(first, torch.einsum("ab,bij->aij", targets, features))


def test_mixup_is_seeded_and_rests_in_eval() -> None:
    x, labels = torch.randn(8, 3, generator=seeded(1)), torch.eye(8)
    mixup = Mixup(0.4).train()
    first, again, other = (mixup(x, labels, seeded(s))[0] for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert mixup.eval()(x, labels, seeded())[0] is x


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0, 5.0])
def test_mixups_shares_follow_the_beta_distribution(alpha: float) -> None:
    # Partner and clip are 0 and 1, so the result is the share, or its complement.
    count = 20000
    x = torch.arange(count)[:, None] % 2 * 1.0
    mixed, _ = Mixup(alpha).train()(x, torch.ones(count, 1), seeded())
    shares = (mixed - (1.0 - x)).abs()[:, 0]
    shares = shares[(shares < 1.0 - 1e-6)]  # those mixed with their like stay as they are
    expected = torch.distributions.Beta(alpha, alpha)
    torch.manual_seed(0)
    drawn = expected.sample((count,))
    drawn = torch.maximum(drawn, 1 - drawn)
    drawn = drawn[drawn < 1.0 - 1e-6]
    quantiles = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])
    torch.testing.assert_close(
        shares.quantile(quantiles), drawn.quantile(quantiles), atol=0.03, rtol=0
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: Gain(3.0, -3.0),
        lambda: AddNoise(30.0, 10.0),
        lambda: TimeShift(1.5),
        lambda: SpecAugment(time_masks=-1),
        lambda: Mixup(0.0),
    ],
)
def test_impossible_options_are_refused_by_name(make: Callable[[], object]) -> None:
    with pytest.raises(UsageError, match=r"Gain|AddNoise|TimeShift|SpecAugment|Mixup"):
        make()
