"""AdaProj: a softmax over the cosines between embeddings and a subspace of each class."""

from __future__ import annotations

from typing import Self

from torch import Tensor

from tonotopy.geometry import SubspaceHead
from tonotopy.geometry.angular_heads import class_logits
from tonotopy.losses._adaptive_scale import (
    AdaptiveScaleLoss,
    ScaleMode,
    adapted_scale,
    angles_of,
    fixed_scale,
)
from tonotopy.losses._base import Terms
from tonotopy.losses._targets import class_weights
from tonotopy.losses.adacos import adacos_scale
from tonotopy.losses.cross_entropy import cross_entropy


def released_projection_scale(cosines: Tensor, weights: Tensor, scale: Tensor) -> Tensor:
    """Give the scale for the next step as the authors' code has it.

    Unlike in `adacos_scale`, a class of weight exactly 1 counts as exp(0) in B, and all others
    count in full.

    Args:
        cosines: (B, C, 1) cosines to the projections.
        weights: (B, C) target rows q; a row of zeros is ignored.
        scale: Scalar; that of the step before.

    Returns:
        Scalar.
    """
    s = cosines.squeeze(2)
    log_mass = (scale * s).masked_fill(weights == 1.0, 0.0).logsumexp(dim=1)
    angles = (weights * angles_of(s)).sum(dim=1)
    return adapted_scale(log_mass, angles, weights.sum(dim=1) > 0)


class AdaProjLoss(AdaptiveScaleLoss):
    """Normalised softmax where a class is a subspace: embeddings may lie anywhere in it.

    Formula: -log( e^(scale · s_y) / sum_k e^(scale · s_k) ), s_k = cos(z, sum_j <z, w_kj> w_kj)
    for J unit vectors w_kj of class k, scale = sqrt(2) · log(C - 1), at least 0.5, or adapted. No
    vector of every clip and class is stored. Wilkinghoff, "AdaProj: Adaptively Scaled Angular
    Margin Subspace Projections for Anomalous Sound Detection with Auxiliary Classification Tasks",
    DCASE 2024.

    Args:
        num_classes: Number of classes C, at least 2.
        embedding_dim: Length D of the embeddings.
        subspace_dim: Vectors J of each class, less than D. Default 16; 32 has been used, too.
        scale_mode: `"fixed"`, the default; `"released"`, which starts at sqrt(2) · log(C J - 1) and
            follows `released_projection_scale`; `"safe"`, see `adacos_scale`. The last two follow
            the batches in training mode.
        trainable_centres: Whether the vectors are trained, or stay random.

    Examples:
        >>> import torch
        >>> loss = AdaProjLoss(num_classes=4, embedding_dim=8, subspace_dim=2)
        >>> loss(torch.randn(3, 8), torch.tensor([0, 3, -1])).shape
        torch.Size([])
    """

    classifier: SubspaceHead

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        subspace_dim: int = 16,
        scale_mode: ScaleMode = "fixed",
        trainable_centres: bool = True,
    ) -> None:
        vectors = num_classes * subspace_dim if scale_mode == "released" else num_classes
        head = SubspaceHead(
            embedding_dim,
            num_classes,
            subspace_dim,
            scale=fixed_scale(vectors),
            trainable=trainable_centres,
        )
        super().__init__(head, scale_mode)

    @classmethod
    def published(cls, num_classes: int, embedding_dim: int, subspace_dim: int = 16) -> Self:
        """Give the loss of the authors' system: random frozen vectors, released scale."""
        return cls(
            num_classes,
            embedding_dim,
            subspace_dim,
            scale_mode="released",
            trainable_centres=False,
        )

    def next_scale(self, cosines: Tensor, weights: Tensor, scale: Tensor) -> Tensor:
        """Give the scale that a batch asks for; arguments as in `adacos_scale`."""
        released = self.scale_mode == "released"
        return (released_projection_scale if released else adacos_scale)(cosines, weights, scale)

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss and, as a term, the scale."""
        weights = class_weights(labels, self.classifier.num_classes, embeddings.dtype)
        scale = self.step_scale(embeddings, labels)
        logits = class_logits(self.classifier.cosines(embeddings), scale)
        return cross_entropy(logits, weights), {"scale": scale}
