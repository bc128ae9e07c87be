"""Score by the distance to clusters of the source domain and to every clip of the others."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.detection._cosine_distances import cosine_distances
from tonotopy.detection._estimators import SEED, repeatable
from tonotopy.detection._local_density import Density, LocalDensity, Weights
from tonotopy.detection.scorer import Scorer
from tonotopy.geometry import unit_vectors

STARTS = 10
"""Random starts, of which the best is kept."""


class KMeansScorer(Scorer):
    """Score by the distance to the nearest of a few prototypes.

    Formula: A(x) = min over p of (1 - <x, p>) / 2. The prototypes p are the centroids of k-means on
    the references of the source domain, and every reference of another domain as it is: those are
    few, and so a clip may be near either, without its domain being known (Wilkinghoff 2023/2024).
    A centroid is the mean of unit vectors and shorter than they are, which keeps a spread-out
    cluster further away. With at most as many distinct source references as clusters, each is a
    prototype. With a density, the distance to a prototype is set in relation to that prototype's
    distance to the nearest others (see `NearestNeighbourScorer`); of one alone it is undefined,
    and A(x) is not normalised. Without density, one more reference of another domain can only
    lower a score.

    Args:
        clusters: Number of clusters, at least 1. Default 16.
        renormalise: Scale the centroids to length one. Default no.
        density: `"none"`, `"ratio"` or `"difference"`. Default none.
        density_neighbours: Prototypes that rho is the mean distance to. Default 1.
        density_weights: `"uniform"`, or `"rank"` for the weighted mean over all other prototypes.

    Raises:
        UsageError: An argument is out of range.
    """

    def __init__(
        self,
        clusters: int = 16,
        renormalise: bool = False,
        density: Density = "none",
        density_neighbours: int = 1,
        density_weights: Weights = "uniform",
    ) -> None:
        if clusters < 1:
            raise UsageError(f"clusters must be at least 1, got {clusters}")
        self.clusters = clusters
        self.renormalise = renormalise
        self._density = LocalDensity(density, density_neighbours, density_weights)

    def _fit(self, units: Tensor, domains: list[str]) -> None:
        source = torch.tensor([domain == "source" for domain in domains])
        centroids = _centroids(units[source], self.clusters)
        if self.renormalise:
            centroids = unit_vectors(centroids)
        self._prototypes = torch.cat([centroids, units[~source]])
        self._spacing = self._density.spacing(self._prototypes)

    def _score(self, units: Tensor) -> Tensor:
        distances = cosine_distances(units, self._prototypes)
        return self._density.normalise(distances, self._spacing).amin(dim=1)


def _centroids(units: Tensor, clusters: int) -> Tensor:
    distinct: Tensor = torch.unique(units, dim=0)
    if len(distinct) <= clusters:
        return distinct
    from sklearn.cluster import KMeans

    with repeatable():
        fitted = KMeans(clusters, n_init=STARTS, random_state=SEED).fit(units.numpy())
    centres: Tensor = torch.from_numpy(fitted.cluster_centers_)
    return centres
