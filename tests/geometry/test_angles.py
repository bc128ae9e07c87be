"""Unit vectors, cosines and angles: values and gradients where naive formulas break."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tonotopy._errors import UsageError
from tonotopy.geometry import (
    angle_between,
    cosine_blocks,
    distance_from_cosine,
    pairwise_cosine,
    right_angle,
    unit_vectors,
)

ANGLES = [0.0, 1e-6, 1e-3, 0.5, math.pi / 2, 3.0, math.pi - 1e-3, math.pi - 1e-6, math.pi]


def at_angle(angle: float) -> torch.Tensor:
    return torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)


def test_unit_vectors_have_length_one_or_stay_short() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e-9, 0.0], [1e12, 0.0]], requires_grad=True)
    u = unit_vectors(x)
    torch.testing.assert_close(u.norm(dim=1), torch.tensor([1.0, 0.0, 1e-3, 1.0]))
    torch.autograd.backward(u.sum())
    assert x.grad is not None
    assert x.grad.isfinite().all()
    torch.testing.assert_close((x.grad[0] * x[0]).sum(), torch.tensor(0.0))


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
def test_blocks_are_the_rows_of_the_whole(rows: int) -> None:
    generator = torch.Generator().manual_seed(0)
    u, v = (unit_vectors(torch.randn(n, 5, generator=generator)) for n in (7, 4))
    for other in (None, v):
        blocks = list(cosine_blocks(u, other, rows=rows))
        torch.testing.assert_close(torch.cat([b for _, b in blocks]), pairwise_cosine(u, other))
        assert all(len(u[where]) == len(block) for where, block in blocks)
    assert list(cosine_blocks(u[:0])) == []


@pytest.mark.parametrize("angle", ANGLES)
def test_angle_between_is_exact_however_small(angle: float) -> None:
    u, v = at_angle(0.0), at_angle(angle)
    assert angle_between(u, v).item() == pytest.approx(angle, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_angle_gradient_is_at_most_one_and_points_away(angle: float, dtype: torch.dtype) -> None:
    u, v = at_angle(0.0).to(dtype).requires_grad_(), at_angle(angle).to(dtype)
    (grad,) = torch.autograd.grad(angle_between(unit_vectors(u), v), u)
    if 1e-6 <= angle <= math.pi - 1e-6:  # at the ends no direction is away
        assert grad[1].item() == pytest.approx(-1.0, rel=1e-3)
    assert grad.norm() <= 1.0 + 1e-3


@pytest.mark.parametrize("angle", [a for a in ANGLES if 1e-3 <= a <= math.pi - 1e-3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_arccos_has_the_right_gradient_down_to_small_angles(
    angle: float, dtype: torch.dtype
) -> None:
    u, v = at_angle(0.0).to(dtype).requires_grad_(), at_angle(angle).to(dtype)
    theta = distance_from_cosine(unit_vectors(u) @ v, "angle")
    (grad,) = torch.autograd.grad(theta, u)
    assert theta.item() == pytest.approx(angle, rel=1e-9 if dtype == torch.float64 else 3e-2)
    assert grad[1].item() == pytest.approx(-1.0, rel=1e-9 if dtype == torch.float64 else 6e-2)


@pytest.mark.parametrize("distance", ["angle", "angle_quad"])
def test_arccos_is_finite_at_and_beyond_the_ends(distance: Any) -> None:
    s = torch.tensor([1.0, -1.0, 1.0 + 1e-6, -1.0 - 1e-6], requires_grad=True)
    d = distance_from_cosine(s, distance)
    straight = 2 * right_angle(distance)
    torch.testing.assert_close(d, torch.tensor([0.0, straight, 0.0, straight]))
    torch.autograd.backward(d.sum())
    assert s.grad is not None
    assert s.grad.isfinite().all()
    assert (s.grad < 0).all()


@pytest.mark.parametrize("distance", ["cosine", "angle", "angle_quad"])
def test_distances_of_cosines(distance: Any) -> None:
    s = torch.linspace(-0.99, 0.99, 21, dtype=torch.float64, requires_grad=True)
    expected = {
        "cosine": [1 - x for x in s.tolist()],
        "angle": [math.acos(x) for x in s.tolist()],
        "angle_quad": [2 / math.pi * math.acos(x) for x in s.tolist()],
    }
    assert distance_from_cosine(s, distance).tolist() == pytest.approx(expected[distance])
    assert torch.autograd.gradcheck(lambda x: distance_from_cosine(x, distance), s)
    assert distance_from_cosine(torch.zeros(()), distance).item() == pytest.approx(
        right_angle(distance)
    )


def test_unknown_distance_is_named() -> None:
    wrong: Any = "euclidean"
    with pytest.raises(UsageError, match="euclidean"):
        distance_from_cosine(torch.zeros(1), wrong)


def test_angle_gradient_of_a_batch_is_the_derivative() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (
        torch.randn(4, 3, generator=generator, dtype=torch.float64).requires_grad_()
        for _ in range(2)
    )
    assert torch.autograd.gradcheck(
        lambda a, b: angle_between(unit_vectors(a), unit_vectors(b)), (x, y)
    )


def test_angles_compile_without_breaks() -> None:
    u = unit_vectors(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))

    def total(x: torch.Tensor) -> torch.Tensor:
        return distance_from_cosine(pairwise_cosine(unit_vectors(x)), "angle").sum()

    compiled = torch.compile(total, fullgraph=True, backend="aot_eager")
    grads = []
    for run in (total, compiled):
        leaf = u.clone().requires_grad_()
        grads.append(torch.autograd.grad(run(leaf), leaf)[0])
    torch.testing.assert_close(grads[0], grads[1])
