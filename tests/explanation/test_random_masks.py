"""Random masks, against the definition written as loops."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from tonotopy._errors import UsageError
from tonotopy.explanation import draw_masks
from tonotopy.explanation.random_masks import draw_smooth_maps


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(513, 311), (64, 60), (16, 8), (5, 3), (1, 40)])
@pytest.mark.parametrize("grid", [(8, 16), (1, 1), (3, 2)])
def test_masks_are_enlarged_grids_cut_at_an_offset(
    shape: tuple[int, int], grid: tuple[int, int]
) -> None:
    masks = draw_masks(6, shape, generator=_generator(), grid=grid, keep=0.4)

    across_time, across_frequency = grid
    cells = across_time * across_frequency
    numbers = torch.rand(6, cells + 2, generator=_generator(), dtype=torch.float64)
    for mask, drawn in zip(masks, numbers, strict=True):
        binary = (drawn[:cells] < 0.4).float().reshape(across_frequency, across_time)
        cell = (math.ceil(shape[0] / across_frequency), math.ceil(shape[1] / across_time))
        size = ((across_frequency + 1) * cell[0], (across_time + 1) * cell[1])
        large = F.interpolate(binary[None, None], size=size, mode="bilinear")[0, 0]
        top, left = int(drawn[cells] * cell[0]), int(drawn[cells + 1] * cell[1])
        expected = large[top : top + shape[0], left : left + shape[1]]
        torch.testing.assert_close(mask, expected, rtol=0, atol=1e-6)


def test_masks_do_not_depend_on_how_they_are_batched() -> None:
    source = _generator()
    parts = torch.cat([draw_masks(n, (20, 30), generator=source) for n in (1, 30, 7)])

    assert torch.equal(parts, draw_masks(38, (20, 30), generator=_generator()))


def test_a_cell_is_kept_with_its_probability() -> None:
    masks = draw_masks(4000, (32, 32), generator=_generator(), grid=(4, 4), keep=0.3)

    assert float(masks.min()) >= 0
    assert float(masks.max()) <= 1
    assert float((masks.mean(dim=0) - 0.3).abs().max()) < 0.03
    assert torch.equal(draw_masks(3, (4, 4), generator=_generator(), keep=1.0), torch.ones(3, 4, 4))


def test_the_grid_is_time_by_frequency() -> None:
    masks = draw_masks(200, (64, 64), generator=_generator(), grid=(1, 64))

    assert float((masks - masks[:, :, :1]).abs().max()) < 1e-6
    assert float(masks.std(dim=1).min()) > 0.1


@pytest.mark.parametrize("keep", [0.0, -1.0, 1.1, math.nan])
def test_keep_must_be_a_probability(keep: float) -> None:
    with pytest.raises(UsageError, match="keep must be a probability"):
        draw_masks(1, (4, 4), generator=_generator(), keep=keep)


def test_an_empty_grid_is_refused() -> None:
    with pytest.raises(UsageError, match="grid"):
        draw_masks(1, (4, 4), generator=_generator(), grid=(0, 4))


def test_blind_maps_have_an_order() -> None:
    maps = draw_smooth_maps(5, (40, 50), generator=_generator())

    assert maps.shape == (5, 40, 50)
    assert all(len(each.unique()) > 500 for each in maps)
    # Neighbouring places nearly agree, as in the maps of RISE.
    steps = (maps[:, 1:] - maps[:, :-1]).abs().mean()
    assert float(steps) < 0.5 * float(maps.flatten(1).std(dim=1).mean())
