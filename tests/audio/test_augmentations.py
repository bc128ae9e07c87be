"""Augmentations: driven by the generator alone, inside each clip, and nothing in eval()."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from tonotopy._components import Component, build, component_names
from tonotopy._errors import UsageError
from tonotopy.audio import (
    AddNoise,
    Augmentation,
    Compression,
    FeatureNoise,
    Gain,
    KeyedGenerator,
    MixBack,
    Mixup,
    RandomResizedCrop,
    SpecAugment,
    TimeShift,
    WaveAugmentation,
)
from tonotopy.cli import main

LENGTHS = torch.tensor([4000, 1, 2500, 3999])
AUGMENTATIONS: list[Augmentation] = [
    Gain(),
    TimeShift(),
    AddNoise(),
    MixBack(),
    SpecAugment(),
    RandomResizedCrop(),
    Compression(),
    FeatureNoise(),
]
Source = torch.Generator | KeyedGenerator


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def keyed(seed: int = 0) -> KeyedGenerator:
    return KeyedGenerator.for_views(torch.arange(4), seed=seed, epoch=0, view=0)


each_augmentation = pytest.mark.parametrize(
    "augment", AUGMENTATIONS, ids=lambda a: type(a).__name__
)
each_generator = pytest.mark.parametrize("make", [seeded, keyed])


def batch(augment: Augmentation) -> tuple[Tensor, Tensor]:
    """Four clips that suit the augmentation, with something other than zero as padding."""
    if isinstance(augment, WaveAugmentation):
        return torch.randn(4, 4000, generator=seeded(1)), LENGTHS
    return torch.randn(4, 64, 100, generator=seeded(1)), torch.tensor([100, 1, 60, 99])


@each_generator
@each_augmentation
def test_the_generator_decides_everything(
    augment: Augmentation, make: Callable[..., Source]
) -> None:
    x, lengths = batch(augment)
    before = x.clone()
    augment.train()
    torch.manual_seed(1)
    first = augment(x, lengths, make())
    torch.manual_seed(2)
    assert torch.equal(augment(x, lengths, make()), first)
    assert not torch.equal(augment(x, lengths, make(3)), first)
    assert not torch.equal(first, x)
    assert torch.equal(x, before), "the input was changed"
    assert first.shape == x.shape
    assert first.dtype == x.dtype


@each_augmentation
def test_nothing_happens_in_eval(augment: Augmentation) -> None:
    x, lengths = batch(augment)
    assert augment.eval()(x, lengths, seeded()) is x


@each_generator
@each_augmentation
def test_padding_is_neither_changed_nor_seen(
    augment: Augmentation, make: Callable[..., Source]
) -> None:
    x, lengths = batch(augment)
    augment.train()
    padding = torch.arange(x.shape[-1]) >= lengths.view(-1, *[1] * (x.ndim - 1))
    result = augment(x, lengths, make())
    other = augment(x.masked_fill(padding, 99.0), lengths, make())
    padding = padding.expand_as(x)
    assert torch.equal(result[padding], x[padding])
    torch.testing.assert_close(other[~padding], result[~padding])


@each_generator
@each_augmentation
def test_clips_are_changed_differently(augment: Augmentation, make: Callable[..., Source]) -> None:
    x, _ = batch(augment)
    same = x[:1].expand_as(x).contiguous()
    result = augment.train()(same, torch.full((4,), x.shape[-1]), make())
    assert not torch.equal(result[0], result[1])


@each_augmentation
def test_what_a_clip_becomes_does_not_depend_on_its_batch(augment: Augmentation) -> None:
    if isinstance(augment, MixBack):
        pytest.skip("its backgrounds are the batch")
    x, lengths = batch(augment)
    together = augment.train()(x, lengths, keyed())
    for row in range(4):
        alone = KeyedGenerator.for_views(torch.tensor([row]), seed=0, epoch=0, view=0)
        result = augment(x[row : row + 1], lengths[row : row + 1], alone)[0]
        torch.testing.assert_close(result, together[row])


def test_what_a_clip_becomes_does_not_depend_on_the_batchs_padding() -> None:
    for augment in (Gain(), TimeShift(), AddNoise()):
        x, lengths = batch(augment)
        wider = torch.nn.functional.pad(x, (0, 77))
        torch.testing.assert_close(
            augment(wider, lengths, keyed())[:, :4000], augment(x, lengths, keyed())
        )


@each_generator
@each_augmentation
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_stay_what_they_are(
    augment: Augmentation, make: Callable[..., Source], dtype: torch.dtype
) -> None:
    x, lengths = batch(augment)
    result = augment.train()(x.to(dtype), lengths, make())
    assert result.dtype == dtype
    assert result.isfinite().all()
    if dtype != torch.float64 and not (
        make is seeded and isinstance(augment, AddNoise | FeatureNoise)
    ):
        # torch.randn draws other numbers in other precisions.
        expected = augment(x, lengths, make())
        tolerance = 8 * torch.finfo(dtype).eps
        torch.testing.assert_close(result.float(), expected, rtol=tolerance, atol=4 * tolerance)


@each_augmentation
def test_long_halves_do_not_overflow(augment: Augmentation) -> None:
    shape = (4, 300000) if isinstance(augment, WaveAugmentation) else (4, 64, 4000)
    x = torch.full(shape, 100.0, dtype=torch.float16)
    result = augment.train()(x, torch.full((4,), shape[-1]), keyed())
    assert result.isfinite().all()
    assert (result.float().flatten(1).mean(dim=1) > 40).all()


@each_generator
@each_augmentation
def test_silence_constants_and_nothing_stay_finite(
    augment: Augmentation, make: Callable[..., Source]
) -> None:
    x, _ = batch(augment)
    for value in (0.0, 1.0, -80.0):
        for lengths in (torch.zeros(4, dtype=torch.long), torch.tensor([0, 1, 2, x.shape[-1]])):
            clips = torch.full_like(x, value)
            result = augment.train()(clips, lengths, make())
            assert result.isfinite().all()
            padding = (torch.arange(x.shape[-1]) >= lengths[:, None]).view(
                4, *[1] * (x.ndim - 2), -1
            )
            assert (result == value)[padding.expand_as(x)].all()


def test_a_generator_for_other_clips_is_refused() -> None:
    for augment in (Gain(), AddNoise()):
        with pytest.raises(UsageError, match="made for 4 clips and there are 3"):
            augment(torch.ones(3, 50), torch.full((3,), 50), keyed())


@pytest.mark.parametrize("seed", range(3))
def test_numbers_of_a_torch_generator_come_in_their_old_order(seed: int) -> None:
    """Runs with a seed can be repeated: these are the draws of the first release."""
    x = torch.randn(4, 400, generator=seeded(1))
    lengths = torch.full((4,), 400)
    draws = torch.rand(4, generator=seeded(seed))
    gains = 10 ** ((12.0 * draws - 6.0) / 20)
    torch.testing.assert_close(Gain()(x, lengths, seeded(seed)), x * gains[:, None])
    shifts = ((2.0 * draws - 1.0) * 400).long().tolist()
    rolled = torch.stack([clip.roll(shift) for clip, shift in zip(x, shifts, strict=True)])
    assert torch.equal(TimeShift()(x, lengths, seeded(seed)), rolled)

    generator = seeded(seed)
    noise = torch.randn(4, 400, generator=generator)
    decibels = 10.0 + 30.0 * torch.rand(4, generator=generator)
    power = x.square().sum(dim=1) / noise.square().sum(dim=1)
    noisy = x + noise * (power * 10 ** (-decibels / 10)).sqrt()[:, None]
    torch.testing.assert_close(AddNoise()(x, lengths, seeded(seed)), noisy)

    features = torch.randn(4, 30, 50, generator=seeded(1))
    generator = seeded(seed)
    masked = torch.zeros(4, 30, 50, dtype=torch.bool)
    for size, widest, axis in [(30, 8, 0), (30, 8, 0), (50, 20, 1), (50, 20, 1)]:
        widths, starts = torch.rand(2, 4, generator=generator)
        for row in range(4):
            width = int(widths[row] * (widest + 1))
            start = int(starts[row] * (size - width + 1))
            masked[row].movedim(axis, 0)[start : start + width] = True
    means = features.mean(dim=(1, 2), keepdim=True).expand_as(features)
    blanked = SpecAugment()(features, torch.full((4,), 50), seeded(seed))
    torch.testing.assert_close(blanked, means.where(masked, features))


def test_augmentations_are_found_by_name() -> None:
    names = component_names(Augmentation, "tonotopy.audio")
    assert {"MixBack", "RandomResizedCrop", "Compression", "FeatureNoise"} <= set(names)
    for augment in AUGMENTATIONS:
        assert type(augment).__name__ in names
        again = build(augment.component, Augmentation, "tonotopy.audio")
        assert again.component == augment.component
    crop = build(Component("RandomResizedCrop", {"area": 0.5}), Augmentation, "tonotopy.audio")
    assert isinstance(crop, RandomResizedCrop)
    assert (crop.area, crop.aspect) == (0.5, 4 / 3)


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


def test_augmentations_are_listed_and_read_from_a_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "--components"]) == 0
    listed = capsys.readouterr().out
    for name in ("MixBack", "RandomResizedCrop", "Compression", "FeatureNoise"):
        assert name in listed
    written = [
        "MixBack",
        {"class_path": "RandomResizedCrop", "init_args": {"area": 0.7}},
        "Compression",
        {"class_path": "FeatureNoise", "init_args": {"std": 0.1}},
    ]
    file = tmp_path / "my.yaml"
    file.write_text(yaml.safe_dump({"augmentations": written}))
    with pytest.raises(SystemExit, match="0"):
        main(["fit", "somewhere", "--config", str(file), "--print_config"])
    read = yaml.safe_load(capsys.readouterr().out)["augmentations"]
    made = [build(Component.parse(item), Augmentation, "tonotopy.audio") for item in read]
    assert [type(augment).__name__ for augment in made] == [
        Component.parse(item).class_path  # type: ignore[arg-type]
        for item in written
    ]
    assert isinstance(made[1], RandomResizedCrop)
    assert made[1].area == 0.7
