"""Is a map true to the score? Insertion and deletion curves beside those of blind maps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy._progress import track
from tonotopy.explanation.fills import apply_masks
from tonotopy.explanation.random_masks import GRID, Grid, draw_smooth_maps
from tonotopy.explanation.scoring import Score, score_batch


@dataclass(frozen=True)
class Curve:
    """A score while more and more of a clip is shown (insertion) or hidden (deletion).

    Attributes:
        shares: Share of the places shown or hidden, (K + 1,) from 0 to 1.
        scores: Score at each share, in the order of the map, (K + 1,).
        random: The same for R blind maps, (R, K + 1).
    """

    shares: Tensor
    scores: Tensor
    random: Tensor

    @cached_property
    def area(self) -> float:
        """Area under the score, by trapezoids; in units of the score."""
        return float(torch.trapezoid(self.scores, self.shares))

    @cached_property
    def random_areas(self) -> Tensor:
        """Areas of the blind maps, (R,)."""
        return torch.trapezoid(self.random, self.shares.expand_as(self.random))

    @property
    def gain(self) -> float:
        """Area less the mean area of the blind maps."""
        return self.area - float(self.random_areas.mean())

    @property
    def spread(self) -> float:
        """Standard deviation of the blind maps' areas."""
        return float(self.random_areas.std())


@dataclass(frozen=True)
class Faithfulness:
    """How well the order of a map agrees with the score.

    A faithful map has an insertion area above, and a deletion area below, what blind maps get, by
    more than their spread.

    Attributes:
        insertion: From the hidden clip, places shown from the map's highest down.
        deletion: From the whole clip, places hidden from the map's highest down.
        ordered: False for a constant map: it names no order, and its curves are the mean of the
            blind ones, so both gains are 0.
    """

    insertion: Curve
    deletion: Curve
    ordered: bool


def measure_faithfulness(
    values: Tensor,
    score: Score,
    saliency: Tensor,
    *,
    hidden: Tensor,
    generator: torch.Generator,
    steps: int = 20,
    random_maps: int = 10,
    grid: Grid = GRID,
    batch_size: int = 128,
) -> Faithfulness:
    """Trace insertion and deletion curves of a map (Petsiuk, Das, Saenko 2018, section 4.2).

    The blind maps are as smooth as the map itself: places in pixel-wise random order would be
    hidden as fine noise, which says nothing about maps made of patches.

    Args:
        values: Magnitudes or features of the clip, (F, T).
        score: Anomaly scores (B,) of masked clips (B, F, T).
        saliency: The map, (F, T); only its order matters.
        hidden: What is seen where nothing is shown, (F, 1) or (F, T).
        generator: Source of the blind maps, on the CPU.
        steps: Steps K of each curve, at least 1.
        random_maps: Blind maps R, at least 2.
        grid: Cells of the blind maps along time and along frequency.
        batch_size: Masked clips scored at once.

    Returns:
        Both curves; (R + 1) 2 (K + 1) scores are computed.

    Raises:
        UsageError: An argument is out of its range or the map has another shape.
    """
    if saliency.shape != values.shape:
        raise UsageError(
            f"a map of shape {tuple(values.shape)} is needed, got {tuple(saliency.shape)}"
        )
    if steps < 1 or random_maps < 2 or batch_size < 1:
        raise UsageError(
            "expected steps >= 1, random_maps >= 2, batch_size >= 1; "
            f"got {steps}, {random_maps}, {batch_size}"
        )
    shape = (values.shape[0], values.shape[1])
    blind = draw_smooth_maps(random_maps, shape, generator=generator, grid=grid)
    ordered = float(saliency.max()) > float(saliency.min())
    maps = [saliency, *blind] if ordered else list(blind)
    shares = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    shown, deleted = [], []
    for each in track(maps, label="Checking the map"):
        ranks = _ranks(each).to(values.device)
        for masks in _prefixes(ranks, shares, batch_size):
            shown.append(score_batch(score, apply_masks(values, masks.to(values.dtype), hidden)))
            deleted.append(
                score_batch(score, apply_masks(values, (~masks).to(values.dtype), hidden))
            )
    curves = []
    for scores in (torch.cat(shown), torch.cat(deleted)):
        rows = scores.reshape(len(maps), steps + 1)
        own = rows[0] if ordered else rows.mean(dim=0)
        curves.append(Curve(shares, own, rows[1:] if ordered else rows))
    return Faithfulness(curves[0], curves[1], ordered)


def _ranks(saliency: Tensor) -> Tensor:
    """Give each place its rank from the highest (0) down, (F, T); ties in order of place."""
    order = saliency.flatten().argsort(descending=True, stable=True)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order), device=order.device)
    return ranks.reshape(saliency.shape)


def _prefixes(ranks: Tensor, shares: Tensor, batch_size: int) -> list[Tensor]:
    """Give, batch by batch, the places that belong to the first share of the order."""
    counts = (shares * ranks.numel()).round().long().to(ranks.device)
    return [ranks < part[:, None, None] for part in torch.split(counts, batch_size)]
