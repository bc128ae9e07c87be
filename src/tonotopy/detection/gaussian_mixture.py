"""Score by the density of a mixture of Gaussians."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.detection._estimators import SEED, repeatable
from tonotopy.detection.scorer import Scorer


class GaussianMixtureScorer(Scorer):
    """Score by the negative log-likelihood under a mixture of Gaussians of full covariance.

    Formula: A(x) = -log sum_k w_k N(x; mu_k, Sigma_k), fitted to all references by expectation
    maximisation from k-means (scikit-learn). There are at most as many components as distinct
    references; a single reference is the mean of one Gaussian of covariance `reg_covar` times the
    identity.

    Args:
        components: Gaussians, at least 1. Default 16.
        reg_covar: Added to every variance, above 0, which makes fewer references than dimensions
            work. Unit vectors of 256 dimensions have variances of up to 0.004. Default 1e-3.
        midpoints: Fit also the midpoints between each source reference and one reference of
            another domain, in turn, so that the stretch between the domains counts as normal
            (Wilkinghoff 2022 draws the partner at random). Default no.

    Raises:
        UsageError: An argument is out of range.
    """

    def __init__(
        self, components: int = 16, reg_covar: float = 1e-3, midpoints: bool = False
    ) -> None:
        if components < 1:
            raise UsageError(f"components must be at least 1, got {components}")
        if not reg_covar > 0.0:
            raise UsageError(f"reg_covar must be above 0, got {reg_covar}")
        self.components = components
        self.reg_covar = reg_covar
        self.midpoints = midpoints

    def _fit(self, units: Tensor, domains: list[str]) -> None:
        from sklearn.mixture import GaussianMixture

        if self.midpoints:
            units = torch.cat([units, _midpoints(units, domains)])
        count = min(self.components, len(torch.unique(units, dim=0)))
        if len(units) == 1:
            units = units.repeat(2, 1)  # scikit-learn wants two; the mean and the spread are same
        with repeatable():
            self._mixture = GaussianMixture(count, reg_covar=self.reg_covar, random_state=SEED).fit(
                units.numpy()
            )

    def _score(self, units: Tensor) -> Tensor:
        return -torch.from_numpy(self._mixture.score_samples(units.numpy()))


def _midpoints(units: Tensor, domains: list[str]) -> Tensor:
    is_source = torch.tensor([domain == "source" for domain in domains])
    source, others = units[is_source], units[~is_source]
    if not len(others):
        return others
    partners = others[torch.arange(len(source)) % len(others)]
    return 0.5 * (source + partners)
