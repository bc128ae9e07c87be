"""Softmax over scaled cosines to class centres, with an angular margin on the right class."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.geometry import CosineHead, pairwise_cosine, unit_vectors
from tonotopy.geometry.angular_heads import class_logits
from tonotopy.losses._angular_margins import ArcFaceMode, arcface_cosine, sphereface_cosine
from tonotopy.losses._base import ClassifierLoss, Terms, check_choice, check_not_negative
from tonotopy.losses._class_blocks import own_and_others
from tonotopy.losses._targets import class_weights, mean_over_labelled
from tonotopy.losses.cross_entropy import cross_entropy

SoftLabels = Literal["per_class", "interpolated"]
"""Where the margin goes when a clip is of several classes: into each class's own loss, whose mean
is taken; or into every logit, by the class's share."""

Margin = Callable[[Tensor], Tensor]
"""Cosines to the right class, to the smaller ones that are to win nevertheless."""


def margin_softmax_loss(
    embeddings: Tensor,
    centres: Tensor,
    labels: Tensor,
    *,
    scale: Tensor | float,
    margin: Margin | None = None,
    subclusters: int = 1,
    soft_labels: SoftLabels = "per_class",
) -> Tensor:
    """Give the mean over labelled clips of the cross-entropy of scaled cosines.

    For class y: -log( e^own / (e^own + sum of e^(scale · s_kj) over k != y and j) ), where
    own = log sum_j exp(scale · margin(s_yj)). Class ids never take O(B · C · S) memory beyond
    `DENSE_ENTRIES` cosines; soft labels do.

    Args:
        embeddings: (B, D) floats, not normalised.
        centres: (C * S, D) floats, class-major, not normalised.
        labels: (B,) class ids, negative = ignored; or (B, C) float targets.
        scale: Logit of cosine 1.
        margin: Applied to the cosines of the right class. Default: none.
        subclusters: Centres S of each class.
        soft_labels: `"per_class"`: sum_c q_c of the losses of label c; `"interpolated"`: soft
            cross-entropy of the logits scale · (q_c margin(s_c) + (1 - q_c) s_c).

    Returns:
        Scalar.

    Examples:
        >>> z = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> margin_softmax_loss(z, torch.eye(2), torch.tensor([0, 1]), scale=4.0)
        tensor(0.0181)
    """
    u, w = unit_vectors(embeddings), unit_vectors(centres)
    scale = torch.as_tensor(scale, dtype=u.dtype, device=u.device)
    if labels.ndim == 1:
        known = labels >= 0
        own, rest = own_and_others(u, w, labels.clamp_min(0), scale=scale, subclusters=subclusters)
        target = class_logits(own if margin is None else margin(own), scale)
        return mean_over_labelled(_loss_of_odds(target - rest), known.unsqueeze(1))

    classes = len(w) // subclusters
    weights = class_weights(labels, classes, u.dtype)
    s = pairwise_cosine(u, w).view(-1, classes, subclusters)
    logits = class_logits(s, scale)
    if margin is None:
        return cross_entropy(logits, weights)
    targets = class_logits(margin(s), scale)
    if soft_labels == "interpolated":
        return cross_entropy(weights * targets + (1.0 - weights) * logits, weights)
    by_class = _loss_of_odds(targets - _log_sum_of_others(logits))
    return mean_over_labelled((weights * by_class).sum(dim=1), weights)


def _loss_of_odds(log_odds: Tensor) -> Tensor:
    return -F.logsigmoid(log_odds)


def _log_sum_of_others(logits: Tensor) -> Tensor:
    """Give, for each of (B, C), the log-sum-exp of the row without it."""
    top = logits.argmax(dim=1, keepdim=True)
    is_top = top == torch.arange(logits.shape[1], device=logits.device)
    total = logits.logsumexp(dim=1, keepdim=True)
    # What is not the largest has at most half, so the difference keeps its digits.
    share = (logits - total).exp().masked_fill(is_top, 0.0)
    without_top = logits.masked_fill(is_top, -torch.inf).logsumexp(dim=1, keepdim=True)
    return torch.where(is_top, without_top, total + torch.log1p(-share))


class NormalizedSoftmaxLoss(ClassifierLoss):
    """Cross-entropy of scaled cosines to trained class centres, without a margin.

    Formula: -log( e^(scale · s_y) / sum_k e^(scale · s_k) ), s_k the cosine to centre k. Wang et
    al., "NormFace: L2 Hypersphere Embedding for Face Verification", ACM MM 2017.

    Args:
        num_classes: Number of classes C, at least 2.
        embedding_dim: Length D of the embeddings.
        scale: Logit of cosine 1. Default 30.

    Examples:
        >>> loss = NormalizedSoftmaxLoss(num_classes=3, embedding_dim=8)
        >>> loss(torch.randn(4, 8), torch.tensor([0, 1, 2, -1])).shape
        torch.Size([])
    """

    classifier: CosineHead

    def __init__(self, num_classes: int, embedding_dim: int, scale: float = 30.0) -> None:
        super().__init__(CosineHead(embedding_dim, num_classes, scale=scale))

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss; no parts."""
        return _loss_of_head(self.classifier, embeddings, labels), {}


class SphereFaceLoss(ClassifierLoss):
    """Normalised softmax where the angle to the right centre is multiplied by an integer.

    Formula: s_y becomes (-1)^k cos(m theta) - 2k. Liu et al., "SphereFace: Deep Hypersphere
    Embedding for Face Recognition", CVPR 2017, here with normalised embeddings and a scale instead
    of their length.

    Args:
        num_classes: Number of classes C, at least 2.
        embedding_dim: Length D of the embeddings.
        scale: Logit of cosine 1. Default 30.
        margin: Factor m, an integer of at least 1. Default 4.
        soft_labels: What a clip of several classes means, see `SoftLabels`.

    Examples:
        >>> loss = SphereFaceLoss(num_classes=3, embedding_dim=8, margin=2)
        >>> loss(torch.randn(4, 8), torch.tensor([0, 1, 2, -1])).shape
        torch.Size([])
    """

    classifier: CosineHead

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        scale: float = 30.0,
        margin: int = 4,
        soft_labels: SoftLabels = "per_class",
    ) -> None:
        if margin < 1 or margin != int(margin):
            raise UsageError(f"margin must be an integer of at least 1, got {margin}")
        check_choice("soft_labels", soft_labels, SoftLabels)
        super().__init__(CosineHead(embedding_dim, num_classes, scale=scale))
        self.margin = int(margin)
        self.soft_labels: SoftLabels = soft_labels

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss; no parts."""

        def margin(s: Tensor) -> Tensor:
            return sphereface_cosine(s, self.margin)

        return _loss_of_head(self.classifier, embeddings, labels, margin, self.soft_labels), {}


class CosFaceLoss(ClassifierLoss):
    """Normalised softmax where the right class has to win by a cosine.

    Formula: s_y becomes s_y - m. Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face
    Recognition", CVPR 2018.

    Args:
        num_classes: Number of classes C, at least 2.
        embedding_dim: Length D of the embeddings.
        scale: Logit of cosine 1. Default 30.
        margin: Cosine m, 0 or more. Default 0.35.
        soft_labels: What a clip of several classes means, see `SoftLabels`.

    Examples:
        >>> loss = CosFaceLoss(num_classes=3, embedding_dim=8)
        >>> loss(torch.randn(4, 8), torch.tensor([0, 1, 2, -1])).shape
        torch.Size([])
    """

    classifier: CosineHead

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        scale: float = 30.0,
        margin: float = 0.35,
        soft_labels: SoftLabels = "per_class",
    ) -> None:
        check_not_negative("margin", margin)
        check_choice("soft_labels", soft_labels, SoftLabels)
        super().__init__(CosineHead(embedding_dim, num_classes, scale=scale))
        self.margin = margin
        self.soft_labels: SoftLabels = soft_labels

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss; no parts."""

        def margin(s: Tensor) -> Tensor:
            return s - self.margin

        return _loss_of_head(self.classifier, embeddings, labels, margin, self.soft_labels), {}


class ArcFaceLoss(ClassifierLoss):
    """Normalised softmax where the right class has to win by an angle.

    Formula: s_y = cos(theta) becomes cos(theta + m). Deng et al., "ArcFace: Additive Angular
    Margin Loss for Deep Face Recognition", CVPR 2019.

    Args:
        num_classes: Number of classes C, at least 2.
        embedding_dim: Length D of the embeddings.
        scale: Logit of cosine 1. Default 30.
        margin: Angle m in radians, in [0, pi). Default 0.5.
        mode: What happens far from the centre, see `ArcFaceMode`. Default `"guarded"`, which falls
            up to theta = pi.
        soft_labels: What a clip of several classes means, see `SoftLabels`.

    Examples:
        >>> loss = ArcFaceLoss(num_classes=3, embedding_dim=8)
        >>> loss(torch.randn(4, 8), torch.tensor([0, 1, 2, -1])).shape
        torch.Size([])
    """

    classifier: CosineHead

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        scale: float = 30.0,
        margin: float = 0.5,
        mode: ArcFaceMode = "guarded",
        soft_labels: SoftLabels = "per_class",
    ) -> None:
        if not 0.0 <= margin < math.pi:
            raise UsageError(f"margin must be an angle in [0, pi) radians, got {margin}")
        check_choice("mode", mode, ArcFaceMode)
        check_choice("soft_labels", soft_labels, SoftLabels)
        super().__init__(CosineHead(embedding_dim, num_classes, scale=scale))
        self.margin = margin
        self.mode: ArcFaceMode = mode
        self.soft_labels: SoftLabels = soft_labels

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss; no parts."""

        def margin(s: Tensor) -> Tensor:
            return arcface_cosine(s, self.margin, self.mode)

        return _loss_of_head(self.classifier, embeddings, labels, margin, self.soft_labels), {}


def _loss_of_head(
    head: CosineHead,
    embeddings: Tensor,
    labels: Tensor,
    margin: Margin | None = None,
    soft_labels: SoftLabels = "per_class",
) -> Tensor:
    return margin_softmax_loss(
        embeddings,
        head.centres.to(embeddings.dtype),
        labels,
        scale=head.scale,
        margin=margin,
        soft_labels=soft_labels,
    )
