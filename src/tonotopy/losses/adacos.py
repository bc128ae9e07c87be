"""AdaCos: a softmax over cosines with the scale as the only, and no tuned, parameter."""

from __future__ import annotations

from typing import Self

from torch import Tensor

from tonotopy.geometry import CosineHead
from tonotopy.losses._adaptive_scale import (
    AdaptiveScaleLoss,
    adapted_scale,
    angles_of,
    fixed_scale,
)
from tonotopy.losses._base import Terms
from tonotopy.losses.margin_softmax import margin_softmax_loss


def adacos_scale(cosines: Tensor, weights: Tensor, scale: Tensor) -> Tensor:
    """Give log B / cos(min(pi / 4, median angle)), the scale for the next step.

    B is the mean over labelled clips of sum_cj (1 - q_c) exp(scale · s_cj), the weight of what is
    not the right class; the angle of a clip is sum_c q_c min_j arccos s_cj. With S = 1 it is the
    rule of AdaCos.

    Args:
        cosines: (B, C, S) cosines s to sub-centres.
        weights: (B, C) target rows q; a row of zeros is ignored.
        scale: Scalar; that of the step before.

    Returns:
        Scalar.
    """
    other = (1.0 - weights).clamp_min(0.0).log().unsqueeze(2)
    log_mass = (scale * cosines + other).flatten(1).logsumexp(dim=1)
    angles = (weights * angles_of(cosines.amax(dim=2))).sum(dim=1)
    return adapted_scale(log_mass, angles, weights.sum(dim=1) > 0)


class AdaCosLoss(AdaptiveScaleLoss):
    """Normalised softmax with a scale that the number of classes or the batch determines.

    Formula: -log( e^(scale · s_y) / sum_k e^(scale · s_k) ), s_k the cosine to centre k, with
    scale = sqrt(2) · log(C - 1), at least 0.5. The dynamic scale starts there and is
    log B / cos(min(pi / 4, median angle to the right centre)) before each step, B the mean over
    clips of the sum of e^(scale · s_k) over wrong classes. Zhang et al., "AdaCos: Adaptively
    Scaling Cosine Logits for Effectively Learning Deep Face Representations", CVPR 2019.

    Args:
        num_classes: Number of classes C, at least 2.
        embedding_dim: Length D of the embeddings.
        dynamic: Whether the scale follows the batches in training mode. It then takes O(B · C)
            memory, whatever the labels.

    Examples:
        >>> loss = AdaCosLoss(num_classes=101, embedding_dim=8)
        >>> round(loss.head.scale.item(), 3)
        6.513
    """

    classifier: CosineHead

    def __init__(self, num_classes: int, embedding_dim: int, dynamic: bool = False) -> None:
        head = CosineHead(embedding_dim, num_classes, scale=fixed_scale(num_classes))
        super().__init__(head, "safe" if dynamic else "fixed")

    @classmethod
    def published(cls, num_classes: int, embedding_dim: int) -> Self:
        """Give the loss with the dynamic scale of the paper.

        Public code takes the lower of two middle angles as the median, here it is their mean.
        """
        return cls(num_classes, embedding_dim, dynamic=True)

    def next_scale(self, cosines: Tensor, weights: Tensor, scale: Tensor) -> Tensor:
        """Give the scale that a batch asks for; arguments as in `adacos_scale`."""
        return adacos_scale(cosines, weights, scale)

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss and, as a term, the scale."""
        scale = self.step_scale(embeddings, labels)
        centres = self.classifier.centres.to(embeddings.dtype)
        return margin_softmax_loss(embeddings, centres, labels, scale=scale), {"scale": scale}
