"""RISE: which parts of a spectrogram raise a score, from random masks alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy._progress import track
from tonotopy.explanation.fills import apply_masks
from tonotopy.explanation.map_sums import MapSums
from tonotopy.explanation.random_masks import GRID, Grid, draw_masks
from tonotopy.explanation.scoring import Score, score_batch, score_one

AGREEMENT = 0.9
"""Split-half correlation from which a map counts as settled."""


@dataclass(frozen=True)
class SaliencyMap:
    """Where a score comes from.

    Attributes:
        centred: (F, T) float64; positive where keeping a place raises the score, negative where
            it lowers it, 0 where it does not matter. In units of the score.
        raw: RISE's own map (F, T), float64, with the score of masked clips in it; None for other
            methods.
        evaluations: Scores that were computed.
        split_half: Pearson correlation of the centred maps from the odd and the even masks; NaN
            where either is constant, as for a score that no mask changes, and for other methods.
    """

    centred: Tensor
    raw: Tensor | None
    evaluations: int
    split_half: float


def rise(
    values: Tensor,
    score: Score,
    *,
    hidden: Tensor,
    generator: torch.Generator,
    masks: int = 4000,
    max_masks: int | None = None,
    grid: Grid = GRID,
    keep: float = 0.5,
    batch_size: int = 128,
) -> SaliencyMap:
    """Estimate the map of a score by randomised input sampling (Petsiuk, Das, Saenko 2018).

    For masks M_n and f_n = score(hidden + M_n (values - hidden)): raw = (1 / (N p)) sum f_n M_n,
    centred = cov(f, M) / var(M), the slope of the score over the mask. A masked clip is unlike any
    recording, so the raw map is mostly constant; the centred one has that constant removed.

    Args:
        values: Magnitudes or features of the clip, (F, T).
        score: Anomaly scores (B,) of masked clips (B, F, T).
        hidden: What is seen where a mask hides, (F, 1) or (F, T); see `fill_values`.
        generator: Source of the masks, on the CPU.
        masks: Number of masks N, at least 4; 4000 for a report, 500 to look quickly.
        max_masks: When given, N is doubled until the split-half correlation reaches 0.9 or the
            next doubling would exceed this.
        grid: Cells along time and along frequency.
        keep: Probability p that a cell is kept, in (0, 1].
        batch_size: Masked clips scored at once; changes the result by rounding only.

    Returns:
        The map. Memory does not grow with N.

    Raises:
        UsageError: An argument is out of its range, or the score function misbehaves.
    """
    if masks < 4 or batch_size < 1:
        raise UsageError(f"expected masks >= 4, batch_size >= 1, got {masks}, {batch_size}")
    shift = score_one(score, values)
    shape = (values.shape[0], values.shape[1])
    halves = [MapSums.empty(shape, shift=shift), MapSums.empty(shape, shift=shift)]
    done, wanted = 0, masks
    while True:
        for size in track(_batches(wanted - done, batch_size), label="Masking"):
            drawn = draw_masks(
                size, shape, generator=generator, grid=grid, keep=keep, device=values.device
            )
            scores = score_batch(score, apply_masks(values, drawn.to(values.dtype), hidden))
            for half in (0, 1):
                # By parity of the mask's number, so the halves do not depend on the batches.
                own = slice((half - done) % 2, None, 2)
                halves[half] = halves[half].with_masks(drawn[own], scores[own])
            done += size
        agreement = map_correlation(halves[0].centred(), halves[1].centred())
        # A constant score (NaN) has nothing to settle.
        settled = not agreement < AGREEMENT
        if max_masks is None or settled or 2 * wanted > max_masks:
            break
        wanted *= 2
    total = halves[0] + halves[1]
    return SaliencyMap(total.centred(), total.raw(keep), done + 1, agreement)


def map_correlation(first: Tensor, second: Tensor) -> float:
    """Give the Pearson correlation of two maps (F, T); NaN where either is constant."""
    pair = torch.stack([first.flatten(), second.flatten()]).double()
    pair = pair - pair.mean(dim=1, keepdim=True)
    norms = pair.norm(dim=1)
    if not bool((norms > 0).all()):
        return float("nan")
    return float((pair[0] / norms[0] * pair[1] / norms[1]).sum())


def _batches(count: int, size: int) -> list[int]:
    return [min(size, count - start) for start in range(0, count, size)]
