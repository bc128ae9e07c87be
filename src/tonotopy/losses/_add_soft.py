"""The Gram form of the ADD loss for soft targets, where a pair has a degree of sameness."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy.geometry import Distance, distance_from_cosine, pairwise_cosine, unit_vectors
from tonotopy.losses._add_moments import BatchMoments, SideMoments, weighted_moments


def soft_gram_loss(
    u: Tensor, q: Tensor, *, distance: Distance, targets: tuple[float, float], balanced: bool
) -> tuple[Tensor, BatchMoments]:
    """Give the squared error of all distances to those of the targets, from the N x N matrices.

    t_ij = t+ + (t- - t+)(1 - cos(q_i, q_j)). Unbalanced, the sum over i != j is divided by N².
    Balanced, it is the mean over pairs weighted by the probability that both clips are of one
    class, <q_i, q_j>, plus the mean weighted by the opposite.

    Args:
        u: (N, D) unit vectors.
        q: (N, C) target rows that sum to 1; rows of zeros are ignored.
        distance: What is measured between two unit vectors.
        targets: Distance wanted within a class, t+, and between classes, t-.
        balanced: Whether the two sides weigh equally.

    Returns:
        Scalar, and the moments of the distances under the two probabilities.
    """
    d = distance_from_cosine(pairwise_cosine(u), distance)
    rows = unit_vectors(q)
    error = (d - targets[0] - (targets[1] - targets[0]) * (1.0 - rows @ rows.mT)).square()
    known = q.sum(dim=1) > 0
    itself = torch.eye(len(q), dtype=torch.bool, device=q.device)
    pair = (known[:, None] & known & ~itself).to(d.dtype)
    same = pair * (q @ q.mT)
    different = pair - same

    moments = BatchMoments(
        SideMoments(*weighted_moments(d, same), same.sum()),
        SideMoments(*weighted_moments(d, different), different.sum()),
    )
    if balanced:
        intra, _ = weighted_moments(error, same)
        inter, _ = weighted_moments(error, different)
        return intra + inter, moments
    return (pair * error).sum() / known.sum().square().clamp_min(1), moments


def soft_gram_loss_low_rank(u: Tensor, q: Tensor, *, targets: tuple[float, float]) -> Tensor:
    """Give the unbalanced loss of the cosine distance in O(N (D + C)²), without N x N matrices.

    (1/N²) (||c 11' - UU' + r QQ'||² less its diagonal), c = 1 - t-, r = t- - t+, expanded. The
    expansion cancels at the optimum, therefore float64.
    """
    known = q.sum(dim=1) > 0
    a, b = u[known].double(), unit_vectors(q[known].double())
    c, r = 1.0 - targets[1], targets[1] - targets[0]
    squares = (
        (a.mT @ a).square().sum()
        - 2.0 * r * (a.mT @ b).square().sum()
        + r**2 * (b.mT @ b).square().sum()
    )
    linear = 2.0 * c * (r * b.sum(dim=0).square().sum() - a.sum(dim=0).square().sum())
    itself = (c - a.square().sum(dim=1) + r * b.square().sum(dim=1)).square().sum()
    count = max(len(a), 1)
    loss = (squares + linear + (c * len(a)) ** 2 - itself) / count**2
    return loss.clamp_min(0.0).to(u.dtype)
