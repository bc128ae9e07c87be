"""Classifiers over embeddings: what a class-based loss trains and the model keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tonotopy._components import Configurable
from tonotopy._errors import UsageError
from tonotopy.geometry.unit import unit_vectors


class Head(Configurable, nn.Module, ABC):
    """Map embeddings to one logit a class.

    Args:
        embedding_dim: Length D of the embeddings.
        num_classes: Number of classes C.

    Attributes:
        reading: What the logits are: of classes, to be read by a softmax over all (`"leaves"`), or
            of the nodes of a label tree, by a softmax over each level (`"levels"`) or a sigmoid of
            each (`"nodes"`).
    """

    reading: ClassVar[Literal["leaves", "levels", "nodes"]] = "leaves"

    def __init__(self, embedding_dim: int, num_classes: int) -> None:
        super().__init__()
        if embedding_dim < 1 or num_classes < 1:
            raise UsageError(
                f"a head needs at least 1 dimension and 1 class, got embedding_dim={embedding_dim} "
                f"and num_classes={num_classes}"
            )
        self.embedding_dim = embedding_dim
        self.num_classes = num_classes

    @abstractmethod
    def forward(self, embeddings: Tensor) -> Tensor:
        """Give (B, C) logits of (B, D) embeddings."""


class LinearHead(Head):
    """One linear layer with bias on the embeddings as they are.

    Args:
        embedding_dim: Length D of the embeddings.
        num_classes: Number of classes C.
    """

    def __init__(self, embedding_dim: int, num_classes: int) -> None:
        super().__init__(embedding_dim, num_classes)
        self.linear = nn.Linear(embedding_dim, num_classes)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Give (B, C) logits of (B, D) embeddings."""
        dtype = embeddings.dtype  # a bfloat16 model's loss still computes in float32
        return F.linear(embeddings, self.linear.weight.to(dtype), self.linear.bias.to(dtype))


class RBFHead(Head):
    """Logits that fall with the squared distance to a trained centre of each class.

    Formula: scale · exp(-||z - w_c||² / gamma), w_c the centre. Zhang et al., "RBF-Softmax:
    Learning Deep Representative Prototypes with Radial Basis Function Softmax", ECCV 2020.

    Args:
        embedding_dim: Length D of the embeddings.
        num_classes: Number of classes C.
        scale: Logit at a centre. Default 14; 4 for about ten classes.
        gamma: Squared distance at which a logit has fallen to 1/e. Default 2.2; 1.8 for about ten
            classes.
        normalise: Whether embeddings are scaled to unit length first. Without it, the published
            form, all logits and gradients underflow to 0 for embeddings longer than a few units.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        scale: float = 14.0,
        gamma: float = 2.2,
        normalise: bool = True,
    ) -> None:
        super().__init__(embedding_dim, num_classes)
        if not (scale > 0 and gamma > 0):
            raise UsageError(f"scale and gamma must be above 0, got {scale} and {gamma}")
        self.scale = scale
        self.gamma = gamma
        self.normalise = normalise
        self.centres = nn.Parameter(torch.empty(num_classes, embedding_dim))
        nn.init.xavier_uniform_(self.centres)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Give (B, C) logits of (B, D) embeddings."""
        points = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
        if self.normalise:
            points = unit_vectors(points)
        return rbf_logits(points, self.centres.to(points.dtype), self.scale, self.gamma)


def rbf_logits(points: Tensor, centres: Tensor, scale: float, gamma: float) -> Tensor:
    """Give scale · exp(-||z - w||² / gamma) of all pairs.

    Args:
        points: (B, D) embeddings z.
        centres: (C, D) centres w.
        scale: Logit at a centre.
        gamma: Squared distance at which a logit has fallen to 1/e.

    Returns:
        (B, C) logits.
    """
    # The expanded square loses every digit next to a centre.
    distance = torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist")
    return scale * torch.exp(-distance.square() / gamma)
