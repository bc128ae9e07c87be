"""Compression and noise of features: the ranges that they promise."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats

from tonotopy._errors import UsageError
from tonotopy.audio import Compression, FeatureNoise, KeyedGenerator


def made(clips: int) -> KeyedGenerator:
    return KeyedGenerator.for_views(torch.arange(clips), seed=0, epoch=0, view=0)


def test_compression_multiplies_each_clip_by_one_number() -> None:
    x = torch.randn(2000, 4, 5, generator=torch.Generator().manual_seed(1))
    factors = Compression(0.6)(x, torch.full((2000,), 5), made(2000)) / x
    torch.testing.assert_close(factors, factors[:, :1, :1].expand_as(factors))
    drawn = (factors[:, 0, 0].double() - 0.6) / 0.4
    assert stats.kstest(drawn.numpy(), "uniform").pvalue > 1e-3


def test_a_factor_of_one_changes_nothing() -> None:
    x = torch.randn(3, 4, 5)
    assert torch.equal(Compression(1.0)(x, torch.tensor([5, 2, 1]), made(3)), x)


def test_noise_is_normal_with_a_deviation_for_each_clip() -> None:
    count = 400
    x = torch.zeros(count, 40, 50, dtype=torch.float64)
    noise = FeatureNoise(0.5)(x, torch.full((count,), 50), made(count)).flatten(1)
    deviations = noise.std(dim=1)
    assert stats.kstest((deviations / 0.5).numpy(), "uniform").pvalue > 1e-3
    unit = (noise / deviations[:, None]).flatten()
    assert stats.kstest(unit.numpy(), "norm").pvalue > 1e-3
    assert torch.equal(FeatureNoise(0.0)(x, torch.full((count,), 50), made(count)), x)


def test_views_are_changed_by_different_amounts() -> None:
    views = [
        KeyedGenerator.for_views(torch.arange(50), seed=0, epoch=0, view=view) for view in (0, 1)
    ]
    lengths = torch.full((50,), 500)
    for augment in (Compression(), FeatureNoise()):
        deviations = [augment(torch.ones(50, 20, 500), lengths, view) - 1.0 for view in views]
        one, other = (change.square().mean(dim=(1, 2)).sqrt() for change in deviations)
        assert ((one / other).log().abs() > 0.05).float().mean() > 0.7


@pytest.mark.parametrize(
    "make",
    [
        lambda: Compression(-0.1),
        lambda: Compression(1.1),
        lambda: Compression(math.nan),
        lambda: FeatureNoise(-0.1),
        lambda: FeatureNoise(math.nan),
    ],
)
def test_impossible_options_are_refused_by_name(make: Callable[[], object]) -> None:
    with pytest.raises(UsageError, match=r"Compression|FeatureNoise"):
        make()
