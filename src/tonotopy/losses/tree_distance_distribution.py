"""ADD over a label tree: one distance, and as little spread as possible, for every level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.geometry import (
    Distance,
    distance_from_cosine,
    pairwise_cosine,
    right_angle,
    unit_vectors,
)
from tonotopy.losses._add_moments import SideMoments, Spread, weighted_moments
from tonotopy.losses._base import Labels, PairLoss, Terms, check_choice, check_not_negative


def level_moments(d: Tensor, shared: Tensor, num_levels: int) -> list[SideMoments]:
    """Give mean, variance and number of the distances of each level, from nothing shared upwards.

    Args:
        d: (N, N) distances.
        shared: (N, N) levels that two clips share, 0 to H; -1 for pairs that are left out.
        num_levels: H.

    Returns:
        H + 1 moments.
    """
    masks = ((shared == level).to(d.dtype) for level in range(num_levels + 1))
    return [SideMoments(*weighted_moments(d, mask), mask.sum()) for mask in masks]


class TreeDistanceDistributionLoss(PairLoss):
    """Give the pairs of each level of a label tree one distance, the coarser the larger.

    Sum over levels l = 0..H of w (mu_l - t_l)² + v · spread_l, mu and spread the mean and the
    spread of the distances of the pairs that share exactly l levels. For flat classes it is
    `AngularDistanceDistributionLoss()`: level 1 within classes, level 0 between them. Pairs whose
    level is uncertain for missing labels are left out. Cost: O(N² (D + H)).

    It generalises Almudévar, Serizel and Ortega, "Angular Distance Distribution Loss for Audio
    Classification", 2024.

    Args:
        targets: t_0, ..., t_H, from nothing in common to the same leaf. Default: evenly from the
            right angle to 0, which unit vectors can reach if they have one dimension a leaf.
        distance: `"cosine"` 1 - s, `"angle"` arccos s, `"angle_quad"` (2/pi) arccos s.
        spread: `"var"` or `"std"`.
        mean_weight: w, 0 or more.
        spread_weight: v, 0 or more.

    Raises:
        UsageError: When called, labels of another number of levels than `targets`.

    Examples:
        >>> loss = TreeDistanceDistributionLoss()
        >>> z = torch.eye(2)[[0, 0, 1, 1]]
        >>> loss(z, torch.tensor([[0, 2], [0, 2], [1, 3], [1, 3]]))
        tensor(0.)
    """

    def __init__(
        self,
        *,
        targets: Sequence[float] | None = None,
        distance: Distance = "cosine",
        spread: Spread = "var",
        mean_weight: float = 1.0,
        spread_weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_choice("distance", distance, Distance)
        check_choice("spread", spread, Spread)
        check_not_negative("weights", mean_weight, spread_weight)
        self.targets = None if targets is None else tuple(float(t) for t in targets)
        self.distance: Distance = distance
        self.spread: Spread = spread
        self.mean_weight = mean_weight
        self.spread_weight = spread_weight

    def compute(self, embeddings: Tensor, labels: Labels) -> tuple[Tensor, Terms]:
        """Give the loss and mean, standard deviation and ordered number of pairs of each level."""
        relations = self.relations(labels)
        lo, hi = relations.bounds()
        itself = torch.eye(len(lo), dtype=torch.bool, device=lo.device)
        shared = lo.where((lo == hi) & ~itself, -1)
        d = distance_from_cosine(pairwise_cosine(unit_vectors(embeddings)), self.distance)

        loss = d.new_zeros(())
        terms: Terms = {}
        moments = level_moments(d, shared, relations.num_levels)
        for level, (side, target) in enumerate(zip(moments, self._targets(moments), strict=True)):
            error = (side.pairs > 0) * (side.mean - target).square()
            loss = loss + self.mean_weight * error
            loss = loss + self.spread_weight * side.spread(self.spread)
            terms |= {
                f"level{level}_mean": side.mean,
                f"level{level}_std": side.spread("std"),
                f"level{level}_pairs": side.pairs,
            }
        return loss, terms

    def extra_repr(self) -> str:
        """Say which loss it is."""
        return f"targets={self.targets}, distance={self.distance!r}, spread={self.spread!r}"

    def _targets(self, moments: list[SideMoments]) -> tuple[float, ...]:
        top = len(moments) - 1
        if self.targets is None:
            farthest = right_angle(self.distance)
            return tuple(farthest * (top - level) / top for level in range(top + 1))
        if len(self.targets) != top + 1:
            raise UsageError(
                f"targets must be {top + 1} distances, from nothing in common to the same leaf of "
                f"labels with {top} levels, got {len(self.targets)}"
            )
        return self.targets
