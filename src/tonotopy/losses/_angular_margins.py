"""Angular margins on cosines, with slopes that stay finite on a centre and opposite to it."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

ArcFaceMode = Literal["guarded", "plain", "easy"]
"""Beyond the angle where cos(theta + m) rises again: fall on linearly; nothing; and, easy, no
margin from the right angle on."""


def arcface_cosine(s: Tensor, margin: float, mode: ArcFaceMode = "guarded") -> Tensor:
    """Give cos(theta + m) of cosines s = cos(theta).

    By the addition formula s cos m - sin(theta) sin m: there is no arccos, whose slope at
    |s| = 1 is infinite.

    Args:
        s: Cosines of any shape; rounding beyond [-1, 1] is allowed.
        margin: Angle m in radians, in [0, pi).
        mode: `"guarded"` gives s - m sin m where theta + m > pi; `"easy"` gives s where s <= 0.

    Returns:
        Same shape.
    """
    sine: Tensor = _SafeSine.apply(s)  # type: ignore[no-untyped-call]  # torch's own
    moved = s * math.cos(margin) - sine * math.sin(margin)
    if mode == "guarded":
        return torch.where(s >= -math.cos(margin), moved, s - margin * math.sin(margin))
    return torch.where(s > 0.0, moved, s) if mode == "easy" else moved


def sphereface_cosine(s: Tensor, margin: int) -> Tensor:
    """Give (-1)^k cos(m theta) - 2k for theta in [k pi / m, (k + 1) pi / m].

    cos(m theta) is the Chebyshev polynomial of s, so the slope is at most m² everywhere.

    Args:
        s: Cosines of any shape; rounding beyond [-1, 1] is allowed.
        margin: Factor m, at least 1.

    Returns:
        Same shape.
    """
    before, multiple = torch.ones_like(s), s
    for _ in range(margin - 1):
        before, multiple = multiple, 2.0 * s * multiple - before
    k = sum(((s < math.cos(j * math.pi / margin)).to(s.dtype) for j in range(1, margin)), 0.0 * s)
    return (1.0 - 2.0 * (k % 2.0)) * multiple - 2.0 * k


class _SafeSine(torch.autograd.Function):
    """sqrt(1 - s²), the slope bounded as if s² were at most 1 - eps.

    The gradient with respect to unit vectors keeps its length down to angles that the cosine can
    resolve (3e-4 rad in float32), and fades to 0 on a centre, where it has no direction.
    """

    @staticmethod
    def forward(s: Tensor) -> Tensor:
        return ((1.0 - s) * (1.0 + s)).clamp_min(0.0).sqrt()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        s: Tensor = ctx.saved_tensors[0]
        square = ((1.0 - s) * (1.0 + s)).clamp_min(torch.finfo(s.dtype).eps)
        return -grad * s / square.sqrt()
