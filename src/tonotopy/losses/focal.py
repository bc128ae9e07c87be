"""Focal loss: cross-entropy that looks away from clips already classified well."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy.geometry import LinearHead
from tonotopy.losses._base import ClassifierLoss, Terms, check_not_negative
from tonotopy.losses._targets import class_weights, mean_over_labelled


def focal_loss(logits: Tensor, weights: Tensor, *, gamma: float = 2.0) -> Tensor:
    """Give the mean of -sum_c q_c (1 - p_c)^gamma log p_c over labelled clips.

    Args:
        logits: (B, C) floats; p is their softmax.
        weights: (B, C) target rows q that sum to 1; a row of zeros is ignored.
        gamma: Focus, 0 or more; 0 is cross-entropy.

    Returns:
        Scalar.
    """
    log_p = logits.log_softmax(dim=1)
    # expm1 keeps the digits of 1 - p at p near 1; the floor keeps the slope of the power finite.
    doubt = (-torch.expm1(log_p)).clamp_min(torch.finfo(logits.dtype).tiny)
    return mean_over_labelled(-(weights * doubt**gamma * log_p).sum(dim=1), weights)


class FocalLoss(ClassifierLoss):
    """Focal loss of a linear classifier on the embeddings as they are.

    Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 4, for the softmax.

    Args:
        num_classes: Number of classes C.
        embedding_dim: Length D of the embeddings.
        gamma: Focus, 0 or more. Default 2, as in the paper; 0 is cross-entropy.
    """

    def __init__(self, num_classes: int, embedding_dim: int, gamma: float = 2.0) -> None:
        check_not_negative("gamma", gamma)
        super().__init__(LinearHead(embedding_dim, num_classes))
        self.gamma = gamma

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss; no parts."""
        weights = class_weights(labels, self.head.num_classes, embeddings.dtype)
        return focal_loss(self.head(embeddings), weights, gamma=self.gamma), {}
