"""Occlusion, against its definition as loops and a known answer."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.explanation import fill_values, occlude

SHAPE = (64, 60)
BINS, FRAMES = slice(20, 28), slice(30, 45)


def _clip() -> Tensor:
    return 0.5 + torch.rand(SHAPE, generator=torch.Generator().manual_seed(9))


def _score_patch(masked: Tensor) -> Tensor:
    return masked[:, BINS, FRAMES].mean(dim=(1, 2))


@pytest.mark.parametrize("shape", [(5, 7), (6, 4), (1, 1), (9, 2)])
@pytest.mark.parametrize("grid", [(2, 3), (1, 1), (20, 20)])
@pytest.mark.parametrize("batch_size", [1, 128])
def test_occlusion_is_the_mean_fall_of_the_patches_that_cover_a_place(
    shape: tuple[int, int], grid: tuple[int, int], batch_size: int
) -> None:
    values = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights = torch.rand(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    hidden = fill_values(values, "mean")

    def score(masked: Tensor) -> Tensor:
        return ((masked * weights) ** 2).sum(dim=(1, 2))

    found = occlude(values, score, hidden=hidden, grid=grid, batch_size=batch_size)

    falls = torch.zeros(shape, dtype=torch.float64)
    covers = torch.zeros(shape)
    height, width = math.ceil(shape[0] / grid[1]), math.ceil(shape[1] / grid[0])
    lows = {*range(0, shape[0] - height, max(1, height // 2)), shape[0] - height}
    starts = {*range(0, shape[1] - width, max(1, width // 2)), shape[1] - width}
    for low in lows:
        for start in starts:
            masked = values.clone()
            masked[low : low + height, start : start + width] = hidden[low : low + height]
            fall = score(values[None])[0] - score(masked[None])[0]
            falls[low : low + height, start : start + width] += fall
            covers[low : low + height, start : start + width] += 1
    assert float(covers.min()) >= 1
    torch.testing.assert_close(found.centred, falls / covers)
    assert found.evaluations == 1 + len(lows) * len(starts)


def test_occlusion_finds_the_patch_that_alone_counts() -> None:
    found = occlude(_clip(), _score_patch, hidden=torch.zeros(64, 1), grid=(12, 16))

    inside = torch.zeros(SHAPE, dtype=torch.bool)
    inside[BINS, FRAMES] = True
    assert inside.flatten()[found.centred.argmax()]
    highest = torch.zeros(inside.numel(), dtype=torch.bool)
    highest[found.centred.flatten().topk(int(inside.sum())).indices] = True
    shared = (highest & inside.flatten()).sum() / (highest | inside.flatten()).sum()
    assert float(shared) > 0.7
    assert found.raw is None
    assert math.isnan(found.split_half)


def test_the_default_grid_costs_465_patches() -> None:
    values = torch.rand(512, 304)
    found = occlude(values, lambda masked: masked.mean(dim=(1, 2)), hidden=values[:, :1])

    assert found.evaluations == 466


def test_an_empty_grid_is_refused() -> None:
    with pytest.raises(UsageError, match="grid"):
        occlude(_clip(), _score_patch, hidden=torch.zeros(64, 1), grid=(0, 1))
