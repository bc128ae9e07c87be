"""Losses that pull embeddings to fixed, mutually orthogonal class prototypes."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.geometry import unit_vectors
from tonotopy.losses._base import Loss, Terms
from tonotopy.losses._targets import class_weights, mean_over_labelled


def orthogonal_prototypes(num_classes: int, embedding_dim: int, seed: int) -> Tensor:
    """Draw one unit vector a class, orthonormal where the dimension allows.

    Args:
        num_classes: Number of prototypes C.
        embedding_dim: Their length D.
        seed: Equal seeds give equal prototypes.

    Returns:
        (C, D) float32: rows of a Haar-random orthogonal matrix; for D < C its first D columns,
        scaled back to unit length.
    """
    if num_classes < 1 or embedding_dim < 1:
        raise UsageError(
            f"prototypes need at least 1 class and 1 dimension, got num_classes={num_classes} and "
            f"embedding_dim={embedding_dim}"
        )
    size = max(num_classes, embedding_dim)
    generator = torch.Generator().manual_seed(seed)
    gaussian = torch.randn(size, size, generator=generator, dtype=torch.float64)
    orthogonal, triangular = torch.linalg.qr(gaussian)
    haar = orthogonal * triangular.diagonal().sign()  # QR alone is not uniform over rotations
    return unit_vectors(haar[:num_classes, :embedding_dim]).float()


def prototype_loss(embeddings: Tensor, weights: Tensor, prototypes: Tensor, scale: float) -> Tensor:
    """Give the mean over labelled clips and dimensions of (z - scale · sum_c q_c p_c)².

    Args:
        embeddings: (B, D) floats z, not normalised.
        weights: (B, C) target rows q that sum to 1; a row of zeros is ignored.
        prototypes: (C, D) prototypes p.
        scale: Length of the targets.

    Returns:
        Scalar.
    """
    error = (embeddings - scale * (weights @ prototypes)).square().mean(dim=1)
    return mean_over_labelled(error, weights)


def angular_prototype_loss(embeddings: Tensor, weights: Tensor, prototypes: Tensor) -> Tensor:
    """Give the mean over labelled clips of sum_c q_c (1 - cos(z, p_c)).

    Args:
        embeddings: (B, D) floats z, not normalised.
        weights: (B, C) target rows q that sum to 1; a row of zeros is ignored.
        prototypes: (C, D) prototypes p.

    Returns:
        Scalar.
    """
    target = weights @ unit_vectors(prototypes)
    distance = weights.sum(dim=1) - (unit_vectors(embeddings) * target).sum(dim=1)
    return mean_over_labelled(distance, weights)


class PrototypeLoss(Loss):
    """Mean squared error to fixed orthogonal prototypes, on the embeddings as they are.

    It trains no classifier: add it to one that does, such as `CrossEntropyLoss`. Compared against
    in Almudévar et al., "Angular Distance Distribution Loss for Audio Classification", 2024.

    Args:
        num_classes: Number of classes C.
        embedding_dim: Length D of the embeddings.
        scale: Length of the prototypes. Default 10; published runs tried 1, 10, 50 and 100.
        seed: Equal seeds give equal prototypes.
    """

    def __init__(
        self, num_classes: int, embedding_dim: int, scale: float = 10.0, seed: int = 0
    ) -> None:
        super().__init__()
        if not scale > 0:
            raise UsageError(f"scale must be above 0, got {scale}")
        self.scale = scale
        self.prototypes: Tensor
        self.register_buffer("prototypes", orthogonal_prototypes(num_classes, embedding_dim, seed))

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss; no parts."""
        weights = class_weights(labels, len(self.prototypes), embeddings.dtype)
        prototypes = self.prototypes.to(embeddings.dtype)
        return prototype_loss(embeddings, weights, prototypes, self.scale), {}


class AngularPrototypeLoss(Loss):
    """Cosine distance to fixed orthogonal prototypes.

    It trains no classifier: add it to one that does, such as `CrossEntropyLoss`. Compared against
    in Almudévar et al., "Angular Distance Distribution Loss for Audio Classification", 2024.

    Args:
        num_classes: Number of classes C.
        embedding_dim: Length D of the embeddings.
        seed: Equal seeds give equal prototypes.
    """

    def __init__(self, num_classes: int, embedding_dim: int, seed: int = 0) -> None:
        super().__init__()
        self.prototypes: Tensor
        self.register_buffer("prototypes", orthogonal_prototypes(num_classes, embedding_dim, seed))

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss; no parts."""
        weights = class_weights(labels, len(self.prototypes), embeddings.dtype)
        prototypes = self.prototypes.to(embeddings.dtype)
        return angular_prototype_loss(embeddings, weights, prototypes), {}
