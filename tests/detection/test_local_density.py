"""Scores relative to local density, against reference values and plain loops."""

from __future__ import annotations

import itertools
import json
import math
from operator import mul
from pathlib import Path

import pytest
import torch

from tonotopy.detection import KMeansScorer, NearestNeighbourScorer
from tonotopy.detection._local_density import DEEPEST, Density, LocalDensity, Weights

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "local_density.json").read_text(encoding="utf-8")
)
REFERENCES = torch.tensor(GOLDEN["references"], dtype=torch.float64)
QUERIES = torch.tensor(GOLDEN["queries"], dtype=torch.float64)
DOMAINS = ["source", "source", "source", "target"]
VALUES = GOLDEN["values"]

CASES: list[tuple[str, Density, int, Weights]] = [
    ("ldn/ratio_K1", "ratio", 1, "uniform"),
    ("ldn/ratio_K2", "ratio", 2, "uniform"),
    ("ldn/difference_K1", "difference", 1, "uniform"),
    ("ldn/difference_K2", "difference", 2, "uniform"),
    ("ldn/gwrp_r0.9_ratio", "ratio", 1, "rank"),
]


def assert_golden(found: torch.Tensor | None, name: str, factor: float = 1.0) -> None:
    expected = torch.tensor(VALUES[name], dtype=torch.float64) * factor
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_unnormalised_distances_are_the_reference_values() -> None:
    scorer = NearestNeighbourScorer().fit(REFERENCES, DOMAINS)
    assert_golden(scorer.score(QUERIES), "knn/min_cos_distance", 0.5)


@pytest.mark.parametrize(("name", "density", "neighbours", "weights"), CASES)
def test_normalised_scores_are_the_reference_values(
    name: str, density: Density, neighbours: int, weights: Weights
) -> None:
    knn = NearestNeighbourScorer(1, density, neighbours, weights).fit(REFERENCES, DOMAINS)
    assert_golden(knn.score(QUERIES), name)
    # Three source clips need no clusters, so the prototypes are the references.
    k_means = KMeansScorer(16, False, density, neighbours, weights).fit(REFERENCES, DOMAINS)
    assert_golden(k_means.score(QUERIES), name)


def test_densities_are_the_reference_values() -> None:
    units = torch.nn.functional.normalize(REFERENCES, dim=1)
    assert_golden(LocalDensity("ratio", 1, "uniform").spacing(units), "ldn/density_K1")
    assert_golden(LocalDensity("ratio", 2, "uniform").spacing(units), "ldn/density_K2")
    assert_golden(LocalDensity("ratio", 1, "rank").spacing(units), "ldn/gwrp_r0.9_density")


def distance(a: list[float], b: list[float]) -> float:
    lengths = math.hypot(*a) * math.hypot(*b)
    return 0.5 * (1 - (sum(map(mul, a, b)) / lengths if lengths else 0.0))


def score_by_loops(
    x: list[float],
    references: list[list[float]],
    k: int,
    density: Density,
    count: int,
    weights: Weights,
) -> float:
    found = []
    for index, reference in enumerate(references):
        d = distance(x, reference)
        others = sorted(distance(reference, r) for n, r in enumerate(references) if n != index)
        if density != "none" and others:
            if weights == "rank":
                powers = [0.9**rank for rank in range(len(others))]
                rho = sum(map(mul, powers, others)) / sum(powers)
            else:
                rho = sum(others[:count]) / len(others[:count])
            d = d / max(rho, 1e-6) if density == "ratio" else d - rho
        found.append(d)
    nearest = sorted(found)[:k]
    return sum(nearest) / len(nearest)


OPTIONS = list(
    itertools.product(
        [1, 3], ["none", "ratio", "difference"], [1, 4, 100], ["uniform", "rank"], [1, 2, 3, 9]
    )
)


@pytest.mark.parametrize(("k", "density", "count", "weights", "size"), OPTIONS)
def test_scores_are_those_of_loops(
    k: int, density: Density, count: int, weights: Weights, size: int
) -> None:
    generator = torch.Generator().manual_seed(size)
    references = torch.randn(size, 4, generator=generator, dtype=torch.float64)
    if size == 9:
        references[4] = references[2]  # rho is 0 there
        references[7] = 0.0
    asked = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    scorer = NearestNeighbourScorer(k, density, count, weights).fit(references, [None] * size)
    expected = [
        score_by_loops(x, references.tolist(), k, density, count, weights) for x in asked.tolist()
    ]
    torch.testing.assert_close(
        scorer.score(asked), torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12
    )


def test_one_reference_alone_has_no_density() -> None:
    plain = NearestNeighbourScorer().fit(REFERENCES[:1], ["source"]).score(QUERIES)
    for density in ("ratio", "difference"):
        scorer = NearestNeighbourScorer(density=density).fit(REFERENCES[:1], ["source"])
        assert torch.equal(scorer.score(QUERIES), plain)
        k_means = KMeansScorer(density=density).fit(REFERENCES[:1], ["target"])
        assert torch.equal(k_means.score(QUERIES), plain)


def test_duplicated_references_divide_by_one_millionth() -> None:
    scorer = NearestNeighbourScorer(density="ratio").fit(REFERENCES[:1].repeat(5, 1), [None] * 5)
    expected = 1e6 * NearestNeighbourScorer().fit(REFERENCES[:1], [None]).score(QUERIES)
    torch.testing.assert_close(scorer.score(QUERIES), expected)


def test_a_sparse_domain_is_no_longer_taken_for_anomalous() -> None:
    generator = torch.Generator().manual_seed(0)
    dense = torch.tensor([1.0, 0, 0, 0]) + 0.02 * torch.randn(200, 4, generator=generator)
    sparse = torch.tensor([0, 1.0, 0, 0]) + 0.3 * torch.randn(40, 4, generator=generator)
    references = torch.cat([dense[:100], sparse[:20]])
    domains = ["source"] * 100 + ["target"] * 20
    gaps = []
    for density in ("none", "ratio"):
        scorer = NearestNeighbourScorer(density=density).fit(references, domains)
        source, target = scorer.score(dense[100:]), scorer.score(sparse[20:])
        gaps.append(float(target.log().mean() - source.log().mean()))
    assert gaps[0] > 3.0
    assert abs(gaps[1]) < 0.7


def test_rank_weights_that_are_cut_off_change_nothing() -> None:
    assert 0.9**DEEPEST < 1e-23
    generator = torch.Generator().manual_seed(0)
    references = torch.randn(DEEPEST + 60, 3, generator=generator, dtype=torch.float64)
    spacing = LocalDensity("ratio", 1, "rank").spacing(
        torch.nn.functional.normalize(references, dim=1)
    )
    first = references[0].tolist()
    others = sorted(distance(first, other) for other in references[1:].tolist())
    powers = [0.9**rank for rank in range(len(others))]
    assert spacing is not None
    assert spacing[0].item() == pytest.approx(sum(map(mul, powers, others)) / sum(powers), rel=1e-9)
