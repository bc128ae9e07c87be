"""Angular distances whose values and gradients stay finite at 0 and at pi."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from tonotopy._errors import UsageError

Distance = Literal["cosine", "angle", "angle_quad"]
"""1 - s in [0, 2]; arccos s in [0, pi]; (2/pi) arccos s in [0, 2], where s is the cosine."""


def right_angle(distance: Distance) -> float:
    """Give the distance of two orthogonal vectors: 1, pi/2 or 1."""
    return math.pi / 2 if distance == "angle" else 1.0


def distance_from_cosine(s: Tensor, distance: Distance) -> Tensor:
    """Turn cosines into distances.

    The slope of arccos, -1/sin(theta), is bounded by flooring the sine at the square root of the
    machine epsilon: the gradient with respect to the unit vectors then has length 1 down to angles
    that the cosine can resolve (3e-4 rad in float32), and fades to 0 at 0 and pi, where its
    direction is undefined.

    Args:
        s: Cosines of any shape; rounding beyond [-1, 1] is allowed.
        distance: `"cosine"` 1 - s, `"angle"` arccos s in radians, `"angle_quad"` (2/pi) arccos s.

    Returns:
        Distances, same shape.

    Raises:
        UsageError: Unknown distance.
    """
    if distance == "cosine":
        return 1.0 - s
    if distance == "angle":
        return _arccos(s)
    if distance == "angle_quad":
        return _arccos(s) * (2.0 / math.pi)
    raise UsageError(f"distance must be 'cosine', 'angle' or 'angle_quad', got {distance!r}")


def angle_between(u: Tensor, v: Tensor) -> Tensor:
    """Give the angle between unit vectors, exact to rounding however small or flat it is.

    Formula: 2 atan2(||u - v||, ||u + v||). Its gradient has length at most 1 everywhere and is 0
    at 0 and pi. It costs the differences of the vectors; for all pairs of a batch use
    `distance_from_cosine(pairwise_cosine(u), "angle")`.

    Args:
        u: (..., D) unit vectors.
        v: (..., D) unit vectors; leading dimensions broadcast with those of `u`.

    Returns:
        (...) angles in radians, in [0, pi].

    Examples:
        >>> angle_between(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
        tensor(1.5708)
    """
    chord = torch.linalg.vector_norm(u - v, dim=-1)
    antichord = torch.linalg.vector_norm(u + v, dim=-1)
    return 2.0 * torch.atan2(chord, antichord)


def angle_slope(s: Tensor) -> Tensor:
    """Give d arccos(s) / ds, -1/sin(theta), bounded as in `distance_from_cosine`."""
    floor = torch.finfo(s.dtype).eps  # of the squared sine
    return -((1.0 - s) * (1.0 + s)).clamp_min(floor).rsqrt()


def _arccos(s: Tensor) -> Tensor:
    theta: Tensor = _SafeArccos.apply(s)  # type: ignore[no-untyped-call]  # torch's own
    return theta


class _SafeArccos(torch.autograd.Function):
    @staticmethod
    def forward(s: Tensor) -> Tensor:
        return s.clamp(-1.0, 1.0).acos()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        s: Tensor = ctx.saved_tensors[0]
        return grad * angle_slope(s)
