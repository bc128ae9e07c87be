"""Random masks for RISE: coarse random grids, enlarged and shifted."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tonotopy._errors import UsageError

Grid = tuple[int, int]
"""Cells along time and along frequency."""

GRID: Grid = (8, 16)
"""Cells along time and frequency; a 10-s clip at 16 kHz gets cells of 1.25 s by 500 Hz."""


def draw_masks(
    count: int,
    shape: tuple[int, int],
    *,
    generator: torch.Generator,
    grid: Grid = GRID,
    keep: float = 0.5,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw smooth random masks (Petsiuk, Das, Saenko 2018, section 3.2, for rectangular grids).

    A grid of s_f x s_t cells, each 1 with probability `keep`, is enlarged bilinearly to
    (s_f + 1) ceil(F / s_f) x (s_t + 1) ceil(T / s_t) and cut to F x T at a random offset of less
    than one cell. Each mask takes the same number of random numbers, so 100 masks and then 100
    more are the same as 200 at once.

    Args:
        count: Number of masks B.
        shape: Bins F and frames T.
        generator: Source of randomness, on the CPU.
        grid: Cells along time and along frequency (s_t, s_f).
        keep: Probability that a cell is kept, in (0, 1].
        device: Where the masks are made.

    Returns:
        (B, F, T), float32, in [0, 1]; 1 keeps.

    Raises:
        UsageError: An argument is out of its range.
    """
    binary, offsets = _draw_cells(count, shape, generator=generator, grid=grid)
    return _enlarge((binary < keep).float(), offsets, shape, keep=keep, device=device)


def draw_smooth_maps(
    count: int, shape: tuple[int, int], *, generator: torch.Generator, grid: Grid = GRID
) -> Tensor:
    """Draw maps as smooth as those of RISE that know nothing of any clip.

    Like `draw_masks`, but each cell has a uniform value in [0, 1), so the map has an order.

    Returns:
        (count, F, T), float32.
    """
    cells, offsets = _draw_cells(count, shape, generator=generator, grid=grid)
    return _enlarge(cells.float(), offsets, shape, keep=0.5, device="cpu")


def _draw_cells(
    count: int, shape: tuple[int, int], *, generator: torch.Generator, grid: Grid
) -> tuple[Tensor, Tensor]:
    """Give uniform cells (B, s_f, s_t) and offsets in [0, cell) along frequency and time (B, 2)."""
    across_time, across_frequency = grid
    if min(grid) < 1 or min(shape) < 1:
        raise UsageError(f"expected grid and shape of at least 1, got {grid} and {shape}")
    cells = across_time * across_frequency
    # In double precision: u * cell must not round up to the cell's size.
    drawn = torch.rand(count, cells + 2, generator=generator, dtype=torch.float64)
    sizes = torch.tensor(_cell_sizes(shape, grid))
    offsets = (drawn[:, cells:] * sizes).long()
    return drawn[:, :cells].reshape(count, across_frequency, across_time), offsets


def _enlarge(
    cells: Tensor,
    offsets: Tensor,
    shape: tuple[int, int],
    *,
    keep: float,
    device: torch.device | str,
) -> Tensor:
    if not 0.0 < keep <= 1.0:
        raise UsageError(f"keep must be a probability in (0, 1], got {keep:g}")
    # Bilinear interpolation is linear along either axis: two small matrix products a mask, and
    # only the rows and columns that remain after the cut.
    sides = []
    for axis in (0, 1):
        count = cells.shape[1 + axis]
        size = (count + 1) * math.ceil(shape[axis] / count)
        weights = F.interpolate(torch.eye(count)[None], size=size, mode="linear")[0].T
        rows = offsets[:, axis, None] + torch.arange(shape[axis])
        sides.append(weights.to(device)[rows.to(device)])
    along_frequency, along_time = sides
    return along_frequency @ cells.to(device) @ along_time.transpose(1, 2)


def _cell_sizes(shape: tuple[int, int], grid: Grid) -> tuple[int, int]:
    return math.ceil(shape[0] / grid[1]), math.ceil(shape[1] / grid[0])
