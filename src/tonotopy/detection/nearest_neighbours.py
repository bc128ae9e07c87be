"""Score by the distance to the nearest references."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.detection._cosine_distances import cosine_distances, distances_to_others
from tonotopy.detection._local_density import Density, LocalDensity, Weights
from tonotopy.detection._smote import synthetic_vectors
from tonotopy.detection.scorer import Scorer


class NearestNeighbourScorer(Scorer):
    """Score by the mean distance to the nearest references, relative to their own if asked.

    Formula: A(x) = mean of the k smallest d(x, r) over the references r, with d = (1 - cos) / 2
    from 0 to 1. With a density, d(x, r) / rho(r) or d(x, r) - rho(r) takes the place of d(x, r),
    where rho(r) is the distance of r to the nearest other references; thereby a sparse domain
    (often the target domain) is not taken for anomalous. Of one reference alone rho is undefined,
    and A(x) = d(x, r) without normalisation. Without density and SMOTE, and with at least k
    references, one more reference can only lower a score.

    Sources: Wilkinghoff et al., "Keeping the Balance: Anomaly Score Calculation for Domain
    Generalization" (2025); SMOTE as in the ASDKit baselines.

    Args:
        neighbours: k, at least 1; all references where there are fewer. Default 1.
        density: `"none"`, `"ratio"` or `"difference"`. Default none.
        density_neighbours: References that rho is the mean distance to. Default 1.
        density_weights: `"uniform"`, or `"rank"` for the weighted mean over all other references
            (0.9 to the power of the rank), which ignores `density_neighbours`. Default uniform.
        smote: Fill up each smaller domain with synthetic references between neighbours, to this
            share of the largest one, 0 to 1; 0.2 is usual. They count as references, also for rho.
            `leave_one_out` then holds out tenths, as of other scorers. Default 0, none.

    Raises:
        UsageError: An argument is out of range.
    """

    def __init__(
        self,
        neighbours: int = 1,
        density: Density = "none",
        density_neighbours: int = 1,
        density_weights: Weights = "uniform",
        smote: float = 0.0,
    ) -> None:
        if neighbours < 1:
            raise UsageError(f"neighbours must be at least 1, got {neighbours}")
        if not 0.0 <= smote <= 1.0:
            raise UsageError(f"smote is a share of the largest domain, 0 to 1, got {smote}")
        self.neighbours = neighbours
        self.smote = smote
        self._density = LocalDensity(density, density_neighbours, density_weights)

    def _fit(self, units: Tensor, domains: list[str]) -> None:
        made = synthetic_vectors(units, domains, self.smote)
        self._prototypes = torch.cat([units, made]) if len(made) else units
        self._spacing = self._density.spacing(self._prototypes)

    def _score(self, units: Tensor) -> Tensor:
        distances = cosine_distances(units, self._prototypes)
        distances = self._density.normalise(distances, self._spacing)
        count = min(self.neighbours, len(self._prototypes))
        return distances.topk(count, largest=False).values.mean(dim=1)

    def _numbers_per_row(self) -> int:
        return len(self._prototypes)

    def _leave_one_out(self) -> Tensor:
        if self.smote:
            return super()._leave_one_out()
        units = self._fitted()
        count = min(self.neighbours, len(units) - 1)
        nearest = torch.full((count, len(units)), torch.inf, dtype=torch.float64)
        for _, distances in distances_to_others(units):
            spacing = self._density.spacing_without_each(distances)
            distances = self._density.normalise(distances, spacing)
            nearest = torch.cat([nearest, distances]).topk(count, dim=0, largest=False).values
        return nearest.mean(dim=0)
