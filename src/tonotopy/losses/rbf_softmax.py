"""RBF-softmax: cross-entropy on logits that fall with the distance to class centres."""

from __future__ import annotations

from torch import Tensor

from tonotopy.geometry import RBFHead
from tonotopy.losses._base import ClassifierLoss, Terms
from tonotopy.losses._targets import class_weights
from tonotopy.losses.cross_entropy import cross_entropy


class RBFSoftmaxLoss(ClassifierLoss):
    """Cross-entropy on logits scale · exp(-||z - w_c||² / gamma), centres w_c trained.

    Zhang et al., "RBF-Softmax: Learning Deep Representative Prototypes with Radial Basis Function
    Softmax", ECCV 2020.

    Args:
        num_classes: Number of classes C.
        embedding_dim: Length D of the embeddings.
        scale: Logit at a centre. Default 14; 4 for about ten classes.
        gamma: Squared distance at which a logit has fallen to 1/e. Default 2.2; 1.8 for about ten
            classes.
        normalise: Whether embeddings are scaled to unit length first. Without it, the published
            form, all logits and gradients underflow to 0 for embeddings longer than a few units.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        scale: float = 14.0,
        gamma: float = 2.2,
        normalise: bool = True,
    ) -> None:
        super().__init__(RBFHead(embedding_dim, num_classes, scale, gamma, normalise))

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss; no parts."""
        weights = class_weights(labels, self.head.num_classes, embeddings.dtype)
        return cross_entropy(self.head(embeddings), weights), {}
