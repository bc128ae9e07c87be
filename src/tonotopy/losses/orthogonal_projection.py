"""Orthogonal projection loss: cosine 1 within classes, 0 between them."""

from __future__ import annotations

from torch import Tensor

from tonotopy.geometry import pairwise_cosine, unit_vectors
from tonotopy.losses._base import (
    Labels,
    PairLoss,
    Terms,
    check_not_negative,
)

COUNT_EPS = 1e-6
"""Added to both numbers of pairs, as in the published code."""


def orthogonal_projection_parts(
    u: Tensor, same: Tensor, different: Tensor
) -> tuple[Tensor, Tensor]:
    """Give 1 - mean of s over pairs of equal classes, and mean of |s| over pairs of different ones.

    Args:
        u: (N, D) unit vectors; s is the cosine of two.
        same: (N, N) mask of the ordered pairs of one class.
        different: (N, N) mask of those of different classes.

    Returns:
        Two scalars, each 0 where it has no pair.
    """
    s = pairwise_cosine(u)
    intra, inter = (mask.to(s.dtype) for mask in (same, different))
    n_intra, n_inter = intra.sum(), inter.sum()
    together = (n_intra > 0) * (1.0 - (intra * s).sum() / (n_intra + COUNT_EPS))
    apart = (inter * s.abs()).sum() / (n_inter + COUNT_EPS)
    return together, apart


class OrthogonalProjectionLoss(PairLoss):
    """Pull the cosine within classes to 1 and its magnitude between classes to 0.

    Formula: (1 - mean of s within) + gamma · (mean of |s| between). It trains no classifier: add
    0.1 times it to one that does. Ranasinghe et al., "Orthogonal Projection Loss", ICCV 2021.

    Args:
        gamma: Weight of the pairs of different classes. Default 2.
    """

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        check_not_negative("gamma", gamma)
        self.gamma = gamma

    def compute(self, embeddings: Tensor, labels: Labels) -> tuple[Tensor, Terms]:
        """Give the loss and its two parts, `intra` and `inter`, the latter without gamma."""
        masks = self.relations(labels).masks()
        together, apart = orthogonal_projection_parts(unit_vectors(embeddings), *masks)
        return together + self.gamma * apart, {"intra": together, "inter": apart}
