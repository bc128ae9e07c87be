"""Distances of all pairs in flat and in hyperbolic space."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LONGEST = 2.3
"""Vectors are shortened to this length before they enter the ball, whose rim no float reaches."""

RIM = 1e-5
"""Least distance 1 - |x|² kept from the rim of the ball."""


def pairwise_euclidean(x: Tensor) -> Tensor:
    """Give ||x_i - x_j|| of all pairs, exact for near points; the gradient is 0 where they meet.

    Args:
        x: (N, D) floats.

    Returns:
        (N, N) distances.
    """
    # Expanded as |x|² + |y|² - 2<x, y> it would lose every digit between near points.
    return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")


def poincare_ball(x: Tensor) -> Tensor:
    """Map tangent vectors at the origin into the Poincaré ball of curvature -1.

    Formula: tanh(|v|) v / |v|, v shortened to length 2.3. Nickel and Kiela, "Poincaré Embeddings
    for Learning Hierarchical Representations", NeurIPS 2017; the exponential map is that of Ganea
    et al., "Hyperbolic Neural Networks", NeurIPS 2018.

    Args:
        x: (N, D) floats.

    Returns:
        (N, D) points of length below 1; 0 stays 0.
    """
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(1e-6)
    ball: Tensor = torch.tanh(length.clamp_max(LONGEST)) * x / length
    return ball


def pairwise_poincare(points: Tensor) -> Tensor:
    """Give the hyperbolic distance of all pairs of points of the ball.

    Formula: arcosh(1 + 2 |x - y|² / ((1 - |x|²)(1 - |y|²))). The gradient is 0 where points meet.

    Args:
        points: (N, D) of length below 1.

    Returns:
        (N, N) distances.
    """
    chord = pairwise_euclidean(points).square()
    room = (1.0 - points.square().sum(dim=-1)).clamp_min(RIM)
    # arcosh(1 + 2a) = 2 arsinh(sqrt(a)), which is accurate for small a.
    a = chord / (room[:, None] * room)
    smallest = math.sqrt(torch.finfo(a.dtype).tiny)
    distance: Tensor = 2.0 * torch.asinh(a.clamp_min(smallest).sqrt()) * (a > smallest)
    return distance
