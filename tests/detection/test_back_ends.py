"""Each back end against its formula, in plain loops or another implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf
from threadpoolctl import threadpool_info, threadpool_limits
from torch import Tensor

from tonotopy.detection import (
    GaussianMixtureScorer,
    KMeansScorer,
    LocalOutlierFactorScorer,
    MahalanobisScorer,
    SubcentreScorer,
)
from tonotopy.detection._estimators import repeatable
from tonotopy.detection._smote import synthetic_vectors


def units(count: int, dim: int = 5, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    return torch.nn.functional.normalize(x, dim=1)


# K-means


def test_k_means_finds_separate_clusters_and_keeps_their_means_short() -> None:
    generator = torch.Generator().manual_seed(0)
    corners = torch.eye(5, dtype=torch.float64)[:3]
    noise = 0.05 * torch.randn(30, 5, generator=generator, dtype=torch.float64)
    source = torch.nn.functional.normalize(corners.repeat(10, 1) + noise, dim=1)
    target = units(4, seed=3)
    references, domains = torch.cat([source, target]), ["source"] * 30 + ["target"] * 4
    means = torch.stack([source[corner::3].mean(dim=0) for corner in range(3)])
    asked = units(20, seed=4)

    for renormalise in (False, True):
        centroids = means / means.norm(dim=1, keepdim=True) if renormalise else means
        prototypes = torch.cat([centroids, target]).tolist()
        expected = [
            min(0.5 * (1 - sum(a * b for a, b in zip(x, p, strict=True))) for p in prototypes)
            for x in asked.tolist()
        ]
        scorer = KMeansScorer(clusters=3, renormalise=renormalise).fit(references, domains)
        torch.testing.assert_close(
            scorer.score(asked), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12
        )
    assert (means.norm(dim=1) < 0.999).all()


def test_every_clip_of_another_domain_is_a_prototype() -> None:
    references = units(60)
    domains = ["source"] * 40 + ["target"] * 12 + ["workshop"] * 8
    scores = KMeansScorer(clusters=2).fit(references, domains).score(references)
    assert (scores[40:] < 1e-15).all()
    assert (scores[:40] > 1e-3).any()


def test_few_or_equal_source_clips_are_prototypes_themselves() -> None:
    few = units(16)
    assert (KMeansScorer(clusters=16).fit(few, [None] * 16).score(few) < 1e-15).all()
    equal = units(3).repeat(20, 1)  # 60 rows, 3 of them distinct
    assert (KMeansScorer(clusters=16).fit(equal, [None] * 60).score(equal) < 1e-15).all()


# Gaussian mixture


def test_one_gaussian_is_that_of_its_moments() -> None:
    references, asked = units(40), units(9, seed=1)
    covariance = np.cov(references.numpy().T, bias=True) + 1e-3 * np.eye(5)
    expected = -multivariate_normal(references.mean(dim=0).numpy(), covariance).logpdf(
        asked.numpy()
    )
    found = GaussianMixtureScorer(components=1).fit(references, ["source"] * 40).score(asked)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_separate_clouds_become_the_components() -> None:
    clouds = [
        torch.nn.functional.normalize(torch.eye(5)[n].double() + 0.05 * units(20, seed=n), dim=1)
        for n in range(2)
    ]
    asked = units(9, seed=7)
    density = np.zeros(9)
    for cloud in clouds:
        covariance = np.cov(cloud.numpy().T, bias=True) + 1e-3 * np.eye(5)
        density += 0.5 * multivariate_normal(cloud.mean(dim=0).numpy(), covariance).pdf(
            asked.numpy()
        )
    scorer = GaussianMixtureScorer(components=2).fit(
        torch.cat(clouds), ["source"] * 20 + ["target"] * 20
    )
    likely = density > 0  # far away the density underflows, its logarithm does not
    assert likely.any()
    np.testing.assert_allclose(
        scorer.score(asked).numpy()[likely], -np.log(density[likely]), rtol=1e-6
    )


def test_a_single_reference_is_a_round_gaussian() -> None:
    reference, asked = units(1), units(4, seed=1)
    found = GaussianMixtureScorer(reg_covar=0.01).fit(reference, ["target"]).score(asked)
    expected = [
        0.5 * math.dist(x, reference[0].tolist()) ** 2 / 0.01 + 2.5 * math.log(2 * math.pi * 0.01)
        for x in asked.tolist()
    ]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_midpoints_make_the_stretch_between_the_domains_normal() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = 0.03 * torch.randn(44, 5, generator=generator)
    references = torch.eye(5)[[0] * 40 + [1] * 4] + noise
    domains = ["source"] * 40 + ["target"] * 4
    between = torch.tensor([[1.0, 1.0, 0.0, 0.0, 0.0]])
    without = GaussianMixtureScorer(3).fit(references, domains).score(between)
    with_them = GaussianMixtureScorer(3, midpoints=True).fit(references, domains).score(between)
    assert with_them < without


# Mahalanobis


def test_one_domain_is_the_distance_of_ledoit_and_wolf() -> None:
    references, asked = units(30), units(9, seed=1)
    found = MahalanobisScorer().fit(references, ["source"] * 30).score(asked)
    model = LedoitWolf().fit(references.numpy())
    inverse = np.linalg.inv(model.covariance_ + 1e-6 * np.eye(5))
    centred = asked.numpy() - references.mean(dim=0).numpy()
    expected = np.sqrt([row @ inverse @ row for row in centred])
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_domains_have_means_of_their_own_and_one_shrunk_covariance() -> None:
    references, asked = units(12, dim=20), units(5, dim=20, seed=1)  # fewer than dimensions
    parts = {"source": references[:8].numpy(), "target": references[8:].numpy()}
    scatter: NDArray[np.float64] = np.zeros((20, 20))
    for rows in parts.values():
        for row in rows - rows.mean(axis=0):
            scatter += np.outer(row, row) / 12
    sigma = 0.7 * scatter + (0.3 * np.trace(scatter) / 20 + 1e-6) * np.eye(20)
    expected = [
        min(
            math.sqrt((x - rows.mean(axis=0)) @ np.linalg.inv(sigma) @ (x - rows.mean(axis=0)))
            for rows in parts.values()
        )
        for x in asked.numpy()
    ]
    scorer = MahalanobisScorer(shrinkage=0.3).fit(references, ["source"] * 8 + ["target"] * 4)
    np.testing.assert_allclose(scorer.score(asked).numpy(), expected, rtol=1e-8)


# Local outlier factor


def test_local_outlier_factor_is_that_of_loops() -> None:
    references, asked, k = units(25).tolist(), units(6, seed=1).tolist(), 4

    def near(x: list[float], skip: int | None) -> list[tuple[float, int]]:
        return sorted((math.dist(x, r), n) for n, r in enumerate(references) if n != skip)[:k]

    reach = [near(row, index)[-1][0] for index, row in enumerate(references)]

    def density(x: list[float], skip: int | None) -> float:
        return k / sum(max(reach[n], d) for d, n in near(x, skip))

    densities = [density(row, index) for index, row in enumerate(references)]
    expected = [sum(densities[n] for _, n in near(x, None)) / k / density(x, None) for x in asked]
    scorer = LocalOutlierFactorScorer(neighbours=k).fit(units(25), ["source"] * 25)
    np.testing.assert_allclose(scorer.score(units(6, seed=1)).numpy(), expected, rtol=1e-7)


def test_a_single_reference_has_a_distance_instead_of_a_factor() -> None:
    reference, asked = units(1), units(4, seed=1)
    found = LocalOutlierFactorScorer().fit(reference, ["source"]).score(asked)
    torch.testing.assert_close(found, 0.5 * (1 - asked @ reference[0]))


# Sub-centres


def test_sub_centres_score_by_the_nearest_of_any_length() -> None:
    centres, asked = 7 * units(6), units(9, seed=1)
    expected = [
        min(math.dist(x, c) ** 2 / 4 for c in units(6).tolist()) for x in asked.tolist()
    ]  # |x - c|² = 2 (1 - cos)
    scorer = SubcentreScorer(centres).fit(units(3, seed=2), ["source"] * 3)
    np.testing.assert_allclose(scorer.score(asked).numpy(), expected, rtol=1e-9)
    assert torch.equal(scorer.leave_one_out(), scorer.score(units(3, seed=2)))
    assert scorer.component.init_args == {}


# SMOTE


def test_synthetic_vectors_fill_up_the_smaller_domain_along_arcs() -> None:
    source, target = units(50, seed=1), units(4, seed=2)
    domains = ["source"] * 50 + ["target"] * 4
    made = synthetic_vectors(torch.cat([source, target]), domains, 0.2)
    assert made.shape == (6, 5)
    torch.testing.assert_close(made.norm(dim=1), torch.ones(6, dtype=torch.float64))
    for row, vector in enumerate(made):
        start = target[row % 4]
        others = sorted(
            (math.dist(start.tolist(), other.tolist()), index)
            for index, other in enumerate(target)
            if index != row % 4
        )
        # On the arc to one of the two nearest: the angles to both ends add up to the whole.
        gaps = [
            abs(
                math.acos(start @ vector)
                + math.acos(vector @ target[index])
                - math.acos(start @ target[index])
            )
            for _, index in others[:2]
        ]
        assert min(gaps) < 1e-6
    assert torch.equal(made, synthetic_vectors(torch.cat([source, target]), domains, 0.2))


@pytest.mark.parametrize(
    ("domains", "share"),
    [
        (["source"] * 9, 1.0),
        (["source"] * 8 + ["target"], 1.0),
        (["source"] * 5 + ["target"] * 4, 0.2),
        (["source"] * 5 + ["target"] * 4, 0.0),
    ],
)
def test_nothing_is_made_where_nothing_lacks_or_nothing_is_near(
    domains: list[str], share: float
) -> None:
    assert len(synthetic_vectors(units(9), domains, share)) == 0


def test_estimators_run_on_one_thread() -> None:
    with threadpool_limits(2), repeatable():
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}
