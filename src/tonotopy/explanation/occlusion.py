"""Occlusion: how much a score falls when one patch of a spectrogram is hidden."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy._progress import track
from tonotopy.explanation.fills import apply_masks
from tonotopy.explanation.random_masks import GRID, Grid
from tonotopy.explanation.rise import SaliencyMap
from tonotopy.explanation.scoring import Score, score_batch, score_one


def occlude(
    values: Tensor, score: Score, *, hidden: Tensor, grid: Grid = GRID, batch_size: int = 128
) -> SaliencyMap:
    """Slide a patch over the clip and note by how much the score falls (Zeiler and Fergus 2014).

    The patch is one cell of the grid and moves by half a cell; a place gets the mean fall of the
    patches that cover it. Nothing is random. What needs several patches at once to vanish, such as
    a sound that repeats, is found by `rise` rather than here.

    Args:
        values: Magnitudes or features of the clip, (F, T).
        score: Anomaly scores (B,) of masked clips (B, F, T).
        hidden: What is seen where the patch lies, (F, 1) or (F, T); see `fill_values`.
        grid: Patches along time and along frequency that would tile the clip; (2 s_t - 1)
            (2 s_f - 1) scores at most, 465 for (8, 16).
        batch_size: Masked clips scored at once.

    Returns:
        The map; `raw` is None and `split_half` NaN.

    Raises:
        UsageError: An argument is out of its range, or the score function misbehaves.
    """
    if min(grid) < 1 or batch_size < 1:
        raise UsageError(f"expected grid and batch_size of at least 1, got {grid}, {batch_size}")
    whole = score_one(score, values)
    patches = [
        (low, high, start, end)
        for low, high in _stretches(values.shape[0], grid[1])
        for start, end in _stretches(values.shape[1], grid[0])
    ]
    falls = torch.zeros(values.shape, dtype=torch.float64)
    covers = torch.zeros(values.shape, dtype=torch.float64)
    starts = range(0, len(patches), batch_size)
    for first in track(starts, label="Occluding"):
        part = patches[first : first + batch_size]
        masks = torch.ones(len(part), *values.shape, dtype=values.dtype, device=values.device)
        for mask, (low, high, start, end) in zip(masks, part, strict=True):
            mask[low:high, start:end] = 0
        scores = score_batch(score, apply_masks(values, masks, hidden))
        for fall, (low, high, start, end) in zip(whole - scores, part, strict=True):
            falls[low:high, start:end] += fall
            covers[low:high, start:end] += 1
    return SaliencyMap(falls / covers, None, len(patches) + 1, math.nan)


def _stretches(size: int, cells: int) -> list[tuple[int, int]]:
    """Cover 0..size by stretches of one cell, half a cell apart; the last ends at `size`."""
    length = math.ceil(size / cells)
    step = max(1, length // 2)
    starts = [*range(0, size - length, step), size - length]
    return [(start, start + length) for start in starts]
