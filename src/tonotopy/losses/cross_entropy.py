"""Cross-entropy on the logits of a linear classifier."""

from __future__ import annotations

from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.geometry import LinearHead
from tonotopy.losses._base import ClassifierLoss, Terms
from tonotopy.losses._targets import class_weights, mean_over_labelled


def cross_entropy(logits: Tensor, weights: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Give the mean of -sum_c q_c log softmax(logits)_c over labelled clips.

    Args:
        logits: (B, C) floats.
        weights: (B, C) target rows q that sum to 1; a row of zeros is ignored.
        label_smoothing: Share of every target spread evenly over all classes, in [0, 1).

    Returns:
        Scalar.
    """
    log_p = logits.log_softmax(dim=1)
    smooth = (1.0 - label_smoothing) * weights + label_smoothing / logits.shape[1]
    return mean_over_labelled(-(smooth * log_p).sum(dim=1), weights)


class CrossEntropyLoss(ClassifierLoss):
    """Cross-entropy of a linear classifier on the embeddings as they are.

    Args:
        num_classes: Number of classes C.
        embedding_dim: Length D of the embeddings.
        label_smoothing: Share of every target spread evenly over all classes, in [0, 1).
    """

    def __init__(self, num_classes: int, embedding_dim: int, label_smoothing: float = 0.0) -> None:
        if not 0.0 <= label_smoothing < 1.0:
            raise UsageError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        super().__init__(LinearHead(embedding_dim, num_classes))
        self.label_smoothing = label_smoothing

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss; no parts."""
        weights = class_weights(labels, self.head.num_classes, embeddings.dtype)
        logits = self.head(embeddings)
        return cross_entropy(logits, weights, label_smoothing=self.label_smoothing), {}
