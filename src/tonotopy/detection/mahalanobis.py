"""Score by the Mahalanobis distance to the mean of the nearest domain."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.detection._estimators import repeatable
from tonotopy.detection.scorer import Scorer

SMALLEST_VARIANCE = 1e-6
"""Added to every variance, so that a single reference or duplicates have a defined distance."""


class MahalanobisScorer(Scorer):
    """Score by the Mahalanobis distance, with a covariance that few references suffice for.

    Formula: A(x) = min over domains d of sqrt((x - mu_d)' Sigma^-1 (x - mu_d)), where mu_d is the
    mean of the references of domain d and Sigma = (1 - a) S + (a tr(S) / D + 1e-6) I, with S the
    covariance of all references about the mean of their domain: a domain of few clips shares the
    covariance of the others.

    Args:
        shrinkage: a, 0 to 1. Default None: the value that Ledoit and Wolf (2004) estimate.

    Raises:
        UsageError: `shrinkage` is out of range.
    """

    def __init__(self, shrinkage: float | None = None) -> None:
        if shrinkage is not None and not 0.0 <= shrinkage <= 1.0:
            raise UsageError(f"shrinkage must be between 0 and 1, got {shrinkage}")
        self.shrinkage = shrinkage

    def _fit(self, units: Tensor, domains: list[str]) -> None:
        names = sorted(set(domains))
        index = torch.tensor([names.index(domain) for domain in domains])
        self._means = torch.stack([units[index == n].mean(dim=0) for n in range(len(names))])
        covariance = _covariance(units - self._means[index], self.shrinkage)
        covariance.diagonal().add_(SMALLEST_VARIANCE)
        self._factor = torch.linalg.cholesky(covariance)

    def _score(self, units: Tensor) -> Tensor:
        distances = [
            torch.linalg.solve_triangular(self._factor, (units - mean).mT, upper=False).norm(dim=0)
            for mean in self._means
        ]
        return torch.stack(distances).amin(dim=0)


def _covariance(residuals: Tensor, shrinkage: float | None) -> Tensor:
    from sklearn.covariance import empirical_covariance, ledoit_wolf, shrunk_covariance

    rows = residuals.numpy()
    with repeatable():
        if shrinkage is None:
            covariance, _ = ledoit_wolf(rows, assume_centered=True)
        else:
            raw = empirical_covariance(rows, assume_centered=True)
            covariance = shrunk_covariance(raw, shrinkage)
    return torch.from_numpy(covariance)
