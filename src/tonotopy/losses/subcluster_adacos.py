"""Sub-cluster AdaCos: several centres a class, so that a class need not shrink to a point."""

from __future__ import annotations

from typing import Self

from torch import Tensor

from tonotopy.geometry import CosineHead
from tonotopy.losses._adaptive_scale import (
    AdaptiveScaleLoss,
    ScaleMode,
    adapted_scale,
    angles_of,
    fixed_scale,
)
from tonotopy.losses._base import Terms
from tonotopy.losses.adacos import adacos_scale
from tonotopy.losses.margin_softmax import margin_softmax_loss

RELEASED_EPS = 1e-7
"""Added to the scale after the division."""


def released_subcluster_scale(cosines: Tensor, weights: Tensor, scale: Tensor) -> Tensor:
    """Give the scale for the next step as the authors' code has it.

    Unlike `adacos_scale`, B counts the right class too, and the angle of a clip is summed over its
    sub-centres and times the number of its classes. From two sub-centres on it practically always
    exceeds pi / 4, so the rule is sqrt(2) · log B; without mixup it grows without bound once clips
    are classified well.

    Args:
        cosines: (B, C, S) cosines s to sub-centres.
        weights: (B, C) target rows q; a row of zeros is ignored.
        scale: Scalar; that of the step before.

    Returns:
        Scalar.
    """
    log_mass = (scale * cosines).flatten(1).logsumexp(dim=1)
    classes = (weights != 0).sum(dim=1)
    angles = classes * (weights * angles_of(cosines).sum(dim=2)).sum(dim=1)
    return adapted_scale(log_mass, angles, weights.sum(dim=1) > 0) + RELEASED_EPS


class SubclusterAdaCosLoss(AdaptiveScaleLoss):
    """AdaCos with S centres a class, whose probabilities are summed.

    Formula: -log( sum_j e^(scale · s_yj) / sum_kj e^(scale · s_kj) ), s_kj the cosine to sub-centre
    j of class k, scale = sqrt(2) · log(C S - 1) or adapted. Embeddings of a class gather around
    any of its sub-centres, which keeps their density informative, as for detecting anomalies.
    Wilkinghoff, "Sub-Cluster AdaCos: Learning Representations for Anomalous Sound Detection",
    IJCNN 2021.

    Args:
        num_classes: Number of classes C, at least 2.
        embedding_dim: Length D of the embeddings.
        subclusters: Sub-centres S of each class. Default 16.
        scale_mode: `"fixed"`, the default; `"released"`, see `released_subcluster_scale`, for use
            with mixup; `"safe"`, see `adacos_scale`. The last two follow the batches in training
            mode and take O(B · C · S) memory.
        trainable_centres: Whether the sub-centres are trained, or stay random. Trained ones of a
            class merge in long training; random ones keep it spread out.

    Examples:
        >>> import torch
        >>> loss = SubclusterAdaCosLoss(num_classes=4, embedding_dim=8, subclusters=2)
        >>> mixed = torch.tensor([[0.3, 0.7, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
        >>> loss(torch.randn(2, 8), mixed).shape, list(loss.terms())
        (torch.Size([]), ['scale'])
    """

    classifier: CosineHead

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        subclusters: int = 16,
        scale_mode: ScaleMode = "fixed",
        trainable_centres: bool = True,
    ) -> None:
        head = CosineHead(
            embedding_dim,
            num_classes,
            subclusters,
            scale=fixed_scale(num_classes * subclusters),
            trainable=trainable_centres,
        )
        super().__init__(head, scale_mode)

    @classmethod
    def published(cls, num_classes: int, embedding_dim: int, subclusters: int = 16) -> Self:
        """Give the loss of the authors' later systems: random frozen centres, released scale."""
        return cls(
            num_classes,
            embedding_dim,
            subclusters,
            scale_mode="released",
            trainable_centres=False,
        )

    def next_scale(self, cosines: Tensor, weights: Tensor, scale: Tensor) -> Tensor:
        """Give the scale that a batch asks for; arguments as in `adacos_scale`."""
        released = self.scale_mode == "released"
        return (released_subcluster_scale if released else adacos_scale)(cosines, weights, scale)

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss and, as a term, the scale."""
        scale = self.step_scale(embeddings, labels)
        loss = margin_softmax_loss(
            embeddings,
            self.classifier.centres.to(embeddings.dtype),
            labels,
            scale=scale,
            subclusters=self.classifier.subclusters,
        )
        return loss, {"scale": scale}
