"""Projections: order, honesty about it, few points, and pictures."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.explanation import knn_overlap, project, sweep_perplexity, write_projection


def _clusters(count: int = 60, dim: int = 16, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    centres = 4 * torch.eye(dim)[:3]
    return centres[labels] + torch.randn(count, dim, generator=generator) * 0.5, labels


def test_clusters_stay_apart_on_the_plane() -> None:
    embeddings, labels = _clusters()
    found = project(embeddings, perplexity=10)

    apart = torch.cdist(found.positions, found.positions).fill_diagonal_(torch.inf)
    assert torch.equal(labels[apart.argmin(dim=1)], labels)
    assert (found.method, found.perplexity, found.note) == ("t-SNE", 10, "")
    assert found.overlap > 2 * 10 / 59
    assert found.neighbours == 10


def test_lengths_of_the_vectors_do_not_count() -> None:
    embeddings, _ = _clusters()
    lengths = torch.logspace(-3, 3, len(embeddings))[:, None]

    first, second = project(embeddings.double()), project(embeddings.double() * lengths)
    assert first.overlap == pytest.approx(second.overlap, abs=0.05)


def test_the_same_seed_gives_the_same_plane() -> None:
    embeddings, _ = _clusters()

    assert torch.equal(project(embeddings).positions, project(embeddings).positions)


def test_a_sweep_shows_each_perplexity() -> None:
    embeddings, _ = _clusters(count=160)

    assert [found.perplexity for found in sweep_perplexity(embeddings)] == [10, 30, 50]
    assert [found.perplexity for found in sweep_perplexity(embeddings, perplexities=(5,))] == [5]


@pytest.mark.parametrize("count", [8, 9, 30])
def test_few_points_lower_the_perplexity(count: int) -> None:
    found = project(_clusters(count=count)[0])

    assert found.method == "t-SNE"
    assert found.perplexity == pytest.approx((count - 1) / 3)
    assert f"there are {count} points" in found.note
    assert found.neighbours == min(10, (count - 1) // 2)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("dim", [1, 5])
def test_too_few_points_are_laid_out_by_pca(count: int, dim: int) -> None:
    found = project(torch.randn(count, dim, generator=torch.Generator().manual_seed(1)))

    assert found.method == "PCA"
    assert found.positions.shape == (count, 2)
    assert math.isnan(found.perplexity)
    assert math.isnan(found.overlap) == (count < 3)
    assert "too few" in found.note


def test_pca_keeps_what_lies_in_a_plane() -> None:
    plane = torch.linalg.qr(torch.randn(6, 2, generator=torch.Generator().manual_seed(2)))[0]
    angles = torch.linspace(0, 2, 7)
    units = torch.stack([angles.cos(), angles.sin()], dim=1) @ plane.T
    found = project(units)

    expected = torch.cdist(units.double(), units.double())
    torch.testing.assert_close(
        torch.cdist(found.positions, found.positions), expected, rtol=0, atol=1e-6
    )


def test_points_in_one_place_are_no_reason_to_fail() -> None:
    found = project(torch.ones(50, 4) * torch.linspace(1, 5, 50)[:, None])

    assert found.method == "PCA"
    assert "coincide" in found.note
    assert float(found.positions.abs().max()) < 1e-6


def test_overlap_is_the_mean_shared_part_of_neighbourhoods() -> None:
    generator = torch.Generator().manual_seed(3)
    embeddings = torch.randn(40, 5, generator=generator)
    positions = torch.randn(40, 2, generator=generator)
    units = torch.nn.functional.normalize(embeddings.double(), dim=1)

    total = 0.0
    for i in range(40):
        others = [j for j in range(40) if j != i]
        above = sorted(others, key=lambda j, i=i: -float(units[i] @ units[j]))[:10]  # type: ignore[misc]
        below = sorted(
            others,
            key=lambda j, i=i: float((positions[i] - positions[j]).norm()),  # type: ignore[misc]
        )[:10]
        total += len(set(above) & set(below)) / 10
    overlap, k = knn_overlap(embeddings, positions)
    assert k == 10
    assert overlap == pytest.approx(total / 40)


def test_overlap_of_a_faithful_picture_is_one() -> None:
    angles = torch.rand(50, generator=torch.Generator().manual_seed(4)).double() * 3
    circle = torch.stack([angles.cos(), angles.sin()], dim=1)

    assert knn_overlap(circle, circle)[0] == 1
    assert knn_overlap(circle, circle.flip(0))[0] < 0.6


@pytest.mark.parametrize(
    "embeddings",
    [torch.zeros(5), torch.zeros(0, 3), torch.full((9, 2), torch.nan), torch.zeros(3, 0)],
)
def test_wrong_embeddings_are_refused(embeddings: Tensor) -> None:
    with pytest.raises(UsageError, match="finite embeddings"):
        project(embeddings)


def test_a_perplexity_must_be_positive() -> None:
    with pytest.raises(UsageError, match="perplexity"):
        project(_clusters()[0], perplexity=0)


def test_a_projection_is_drawn(tmp_path: Path) -> None:
    found = project(_clusters(count=30)[0])
    path = tmp_path / "new" / "plane.png"
    write_projection(
        found,
        path,
        colours=[f"class_$x^ {index % 12}" for index in range(30)],
        markers=["source" if index % 2 else "target" for index in range(30)],
        outlined=[index == 3 for index in range(30)],
        title="fan",
    )

    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match="30 points"):
        write_projection(found, path, colours=["a"])
