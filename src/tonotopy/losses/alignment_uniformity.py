"""Alignment and uniformity: views of a clip close together, all clips spread over the sphere.

Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity
on the Hypersphere", ICML 2020.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.geometry import unit_vectors
from tonotopy.labels import PairRelations
from tonotopy.losses._base import Labels, PairLoss, Terms, check_not_negative
from tonotopy.losses._row_blocks import map_row_blocks, pair_masks


def alignment_and_uniformity(
    u: Tensor, relations: PairRelations, *, alpha: float = 2.0, t: float = 2.0
) -> tuple[Tensor, Tensor]:
    """Give the mean of d^alpha over pairs of one class, and log mean of exp(-t d²) over all pairs.

    Args:
        u: (N, D) unit vectors; d is the length of the difference of two.
        relations: Of the N clips; pairs that may be of one class or not are left out.
        alpha: Power, above 0.
        t: Steepness, above 0.

    Returns:
        Two scalars, each 0 where it has no pair.
    """
    lowest = torch.finfo(u.dtype).min

    def of_block(s: Tensor, rows: slice) -> Tensor:
        same, different = next(pair_masks(relations, rows))
        known = same | different
        square = 2.0 - 2.0 * s
        reach = (-t * square).masked_fill(~known, lowest).logsumexp(dim=1)
        near = _power(square, alpha).masked_fill(~same, 0.0).sum(dim=1)
        counts = [mask.sum(dim=1).to(s.dtype) for mask in (same, known)]
        return torch.stack([near, reach, *counts], dim=1)

    near, reach, same, known = map_row_blocks(of_block, u).unbind(dim=1)
    pairs = known.sum()
    total = reach.masked_fill(known == 0, lowest).logsumexp(dim=0)
    uniformity = torch.where(pairs > 0, total - pairs.clamp_min(1.0).log(), 0.0)
    return near.sum() / same.sum().clamp_min(1.0), uniformity


def _power(square: Tensor, alpha: float) -> Tensor:
    """Give square^(alpha / 2), whose slope is infinite at 0 for alpha below 2: floored."""
    if alpha == 2.0:
        return square
    return square.clamp_min(torch.finfo(square.dtype).eps) ** (alpha / 2.0)


class AlignmentUniformityLoss(PairLoss):
    """Pull views of one clip together, and spread all clips evenly over the sphere.

    Formula, with d the length of the difference of two unit vectors:

        mean within of d^alpha  +  uniformity_weight · log( mean over all pairs of exp(-t d²) )

    "Within" are the pairs of one class, or of the views of one clip where labels are clips; "all"
    are those and the pairs of different ones. Its memory is O(B D): the pairs are computed twice.

    Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and
    Uniformity on the Hypersphere", ICML 2020.

    Args:
        alpha: Power of the distance, above 0. Default 2.
        t: Steepness, above 0. Default 2.
        uniformity_weight: 0 or more. Default 1.

    Raises:
        UsageError: An argument is out of range.

    Examples:
        >>> loss = AlignmentUniformityLoss()
        >>> loss(torch.eye(4), torch.tensor([0, 0, 1, 1]))  # all distances are the root of 2
        tensor(-2.)
    """

    def __init__(self, alpha: float = 2.0, t: float = 2.0, uniformity_weight: float = 1.0) -> None:
        super().__init__()
        if not (0.0 < alpha < math.inf and 0.0 < t < math.inf):
            raise UsageError(f"alpha and t must be above 0, got {alpha} and {t}")
        check_not_negative("uniformity_weight", uniformity_weight)
        self.alpha = alpha
        self.t = t
        self.uniformity_weight = uniformity_weight

    def compute(self, embeddings: Tensor, labels: Labels) -> tuple[Tensor, Terms]:
        """Give the loss and its two parts, `alignment` and `uniformity`, the latter unweighted."""
        alignment, uniformity = alignment_and_uniformity(
            unit_vectors(embeddings), self.relations(labels), alpha=self.alpha, t=self.t
        )
        terms = {"alignment": alignment, "uniformity": uniformity}
        return alignment + self.uniformity_weight * uniformity, terms

    def extra_repr(self) -> str:
        """Say which loss it is."""
        return f"alpha={self.alpha}, t={self.t}, uniformity_weight={self.uniformity_weight}"
