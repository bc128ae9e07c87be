from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy.metrics import effective_rank, mean_pairwise_cosine


def random(n: int, dim: int) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(("n", "dim"), [(40, 7), (7, 40), (1, 3), (5, 5)])
def test_effective_rank_equals_the_entropy_of_singular_values(n: int, dim: int) -> None:
    x = random(n, dim)
    s = np.linalg.svd((x / x.norm(dim=1, keepdim=True)).numpy(), compute_uv=False)
    p = s / s.sum()
    assert effective_rank(x) == pytest.approx(float(np.exp(-(p * np.log(p)).sum())), rel=1e-9)


@pytest.mark.parametrize("n", [2, 9])
def test_mean_pairwise_cosine_equals_a_loop(n: int) -> None:
    x = random(n, 5)
    cosines = [
        float(torch.nn.functional.cosine_similarity(x[i], x[j], dim=0))
        for i in range(n)
        for j in range(n)
        if i != j
    ]
    assert mean_pairwise_cosine(x) == pytest.approx(sum(cosines) / len(cosines), abs=1e-12)


@pytest.mark.parametrize(
    ("embeddings", "rank", "cosine"),
    [
        (torch.ones(6, 4), 1.0, 1.0),
        (torch.eye(4), 4.0, 0.0),
        (torch.eye(4)[[0, 0, 1, 1]], 2.0, 1 / 3),
        (torch.zeros(3, 4), 0.0, 0.0),
        (torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), 1.0, -1.0),
    ],
)
def test_known_shapes(embeddings: Tensor, rank: float, cosine: float) -> None:
    assert effective_rank(embeddings) == pytest.approx(rank, abs=1e-6)
    assert mean_pairwise_cosine(embeddings) == pytest.approx(cosine, abs=1e-12)


@pytest.mark.parametrize("metric", [effective_rank, mean_pairwise_cosine])
def test_invariant_to_order_rotation_and_length(metric: object) -> None:
    assert callable(metric)
    x = random(30, 6)
    rotation = torch.linalg.qr(random(6, 6)).Q
    lengths = torch.arange(1.0, 31.0, dtype=torch.float64)[:, None]
    assert metric((lengths * x).flip(0) @ rotation) == pytest.approx(metric(x), rel=1e-9)


@pytest.mark.parametrize("metric", [effective_rank, mean_pairwise_cosine])
def test_bad_input(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(DataError, match="1 of 3 embeddings"):
        metric(torch.tensor([[0.0], [math.inf], [1.0]]))
    with pytest.raises(UsageError, match=r"expected embeddings \(N, D\)"):
        metric(torch.zeros(3))


def test_too_few_embeddings() -> None:
    assert math.isnan(effective_rank(torch.zeros(0, 3)))
    assert math.isnan(mean_pairwise_cosine(torch.ones(1, 3)))
    assert effective_rank(torch.ones(1, 3)) == pytest.approx(1.0)
