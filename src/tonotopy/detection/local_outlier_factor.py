"""Score by the local outlier factor."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.detection._cosine_distances import cosine_distances
from tonotopy.detection._estimators import repeatable
from tonotopy.detection.scorer import Scorer


class LocalOutlierFactorScorer(Scorer):
    """Score by how much sparser a clip lies than its nearest references (scikit-learn's LOF).

    The distance is the chord between unit vectors. About 1 is as dense as the neighbours, more is
    sparser; among duplicated references it reaches 1e10. Of a single reference there is no density:
    the score is then the cosine distance to it, (1 - cos) / 2.

    Source: Breunig et al., "LOF: Identifying Density-Based Local Outliers" (2000).

    Args:
        neighbours: References that count as near, at least 1; all others where there are fewer.
            Default 20.

    Raises:
        UsageError: `neighbours` is below 1.
    """

    def __init__(self, neighbours: int = 20) -> None:
        if neighbours < 1:
            raise UsageError(f"neighbours must be at least 1, got {neighbours}")
        self.neighbours = neighbours

    def _fit(self, units: Tensor, domains: list[str]) -> None:
        from sklearn.neighbors import LocalOutlierFactor

        self._only = units if len(units) == 1 else None
        if self._only is None:
            factor = LocalOutlierFactor(
                n_neighbors=min(self.neighbours, len(units) - 1), novelty=True
            )
            with repeatable():
                self._factor = factor.fit(units.numpy())

    def _score(self, units: Tensor) -> Tensor:
        if self._only is not None:
            return cosine_distances(units, self._only).squeeze(1)
        with repeatable():
            return -torch.from_numpy(self._factor.score_samples(units.numpy()))
