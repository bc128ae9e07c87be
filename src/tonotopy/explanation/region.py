"""A map in few words: its strongest region, and its means over a coarse grid."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Region:
    """A rectangle in time and frequency around a map's peak.

    Attributes:
        start: First second.
        end: Last second.
        low: Lowest frequency in hertz; None where bins have no frequency.
        high: Highest frequency in hertz, or None.
        peak: Value of the map at its highest place.
        share: Share of the map's positive sum that lies in the region.
    """

    start: float
    end: float
    low: float | None
    high: float | None
    peak: float
    share: float

    def to_dict(self) -> dict[str, Any]:
        """Give the attributes as plain values."""
        return asdict(self)


def strongest_region(saliency: Tensor, seconds: Tensor, hertz: Tensor | None) -> Region | None:
    """Find the connected region around the peak where a map has at least half its height.

    Args:
        saliency: (F, T).
        seconds: (T,).
        hertz: (F,), or None.

    Returns:
        The region's bounding rectangle; None for a map that mostly lowers the score, whose highest
        place has less than a quarter of the size of its lowest.
    """
    from scipy.ndimage import label

    peak = float(saliency.max())
    if not peak > -float(saliency.min()) / 4 or peak <= 0:
        return None
    labels, _ = label((saliency >= peak / 2).numpy())
    place = divmod(int(saliency.argmax()), saliency.shape[1])
    inside = labels == labels[place]
    bins, frames = inside.any(axis=1).nonzero()[0], inside.any(axis=0).nonzero()[0]
    positive = saliency.clamp_min(0).numpy()
    return Region(
        float(seconds[frames[0]]),
        float(seconds[frames[-1]]),
        None if hertz is None else float(hertz[bins[0]]),
        None if hertz is None else float(hertz[bins[-1]]),
        peak,
        float(positive[inside].sum() / positive.sum()),
    )


def cell_means(saliency: Tensor, grid: tuple[int, int]) -> Tensor:
    """Average a map (F, T) over a grid of cells along time and frequency (s_t, s_f).

    Returns:
        (s_f, s_t); cells overlap by at most one place where the sizes do not divide.
    """
    return F.adaptive_avg_pool2d(saliency[None], (grid[1], grid[0]))[0]
