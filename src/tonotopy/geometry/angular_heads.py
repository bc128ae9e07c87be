"""Classifiers by the angle to trained or frozen vectors of each class."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.geometry.heads import Head
from tonotopy.geometry.unit import pairwise_cosine, unit_vectors

SHORTEST_PROJECTION = 1e-6
"""Floor of the length of a projection; an embedding orthogonal to a subspace has cosine 0."""


class AngularHead(Head):
    """Logits that grow with the cosine to what stands for a class, `vectors` rows of it.

    Attributes:
        centres: (C * vectors, D), class-major: class c owns the rows from c * vectors on. Their
            length does not matter. A parameter, or a buffer where they are frozen.
        scale: Scalar buffer; a loss may adapt it.

    Args:
        embedding_dim: Length D of the embeddings.
        num_classes: Number of classes C, at least 2.
        vectors: Rows that a class owns.
        scale: Logit of cosine 1.
        trainable: Whether the centres are trained, or stay as they were drawn.
    """

    def __init__(
        self, embedding_dim: int, num_classes: int, vectors: int, scale: float, trainable: bool
    ) -> None:
        super().__init__(embedding_dim, num_classes)
        if num_classes < 2:
            raise UsageError(
                "an angular softmax needs at least 2 classes, got 1: with one class everything is "
                "right and nothing is learned; label recordings by source or setting, or by which "
                "augmentation they went through"
            )
        if vectors < 1 or not 0.0 < scale < float("inf"):
            raise UsageError(
                f"a class needs at least 1 vector and a scale above 0, got {vectors} and {scale}"
            )
        self.trainable = trainable
        self.scale: Tensor
        self.centres: Tensor
        self.register_buffer("scale", torch.tensor(float(scale)))
        centres = torch.empty(num_classes * vectors, embedding_dim)
        nn.init.xavier_uniform_(centres)
        if trainable:
            self.centres = nn.Parameter(centres)
        else:
            self.register_buffer("centres", centres)

    @abstractmethod
    def cosines(self, embeddings: Tensor) -> Tensor:
        """Give (B, C, S) cosines of (B, D) embeddings, at least in float32."""


class CosineHead(AngularHead):
    """Scaled cosines to one or more centres of each class.

    Formula: scale · cos(z, w_c); with sub-centres, log sum_j exp(scale · cos(z, w_cj)), whose
    softmax is the sum of the probabilities of a class's sub-centres.

    Args:
        embedding_dim: Length D of the embeddings.
        num_classes: Number of classes C, at least 2.
        subclusters: Sub-centres S of each class. Default 1.
        scale: Logit of cosine 1. Default 30.
        trainable: Whether the centres are trained, or stay as they were drawn.

    Examples:
        >>> CosineHead(embedding_dim=8, num_classes=3)(torch.ones(2, 8)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        subclusters: int = 1,
        scale: float = 30.0,
        trainable: bool = True,
    ) -> None:
        super().__init__(embedding_dim, num_classes, subclusters, scale, trainable)
        self.subclusters = subclusters

    def cosines(self, embeddings: Tensor) -> Tensor:
        """Give (B, C, S) cosines of (B, D) embeddings, at least in float32."""
        u, w = _units(embeddings, self.centres)
        return pairwise_cosine(u, w).view(-1, self.num_classes, self.subclusters)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Give (B, C) logits of (B, D) embeddings."""
        s = self.cosines(embeddings)
        return class_logits(s, self.scale.to(s.dtype))


class SubspaceHead(AngularHead):
    """Scaled cosines between embeddings and their projections onto a subspace of each class.

    Formula: scale · cos(z, v_c) with v_c = sum_j <z, w_cj> w_cj: the projection onto the span of
    the J unit vectors w_cj where these are orthogonal, and close to it for few random ones.

    Args:
        embedding_dim: Length D of the embeddings.
        num_classes: Number of classes C, at least 2.
        subspace_dim: Vectors J of each class, less than D. Default 16.
        scale: Logit of cosine 1. Default 30.
        trainable: Whether the vectors are trained, or stay as they were drawn.

    Examples:
        >>> SubspaceHead(embedding_dim=8, num_classes=3, subspace_dim=2)(torch.ones(2, 8)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        subspace_dim: int = 16,
        scale: float = 30.0,
        trainable: bool = True,
    ) -> None:
        super().__init__(embedding_dim, num_classes, subspace_dim, scale, trainable)
        if subspace_dim >= embedding_dim:
            raise UsageError(
                f"subspace_dim must be below embedding_dim, got {subspace_dim} and {embedding_dim}:"
                " a subspace that is the whole space holds every embedding"
            )
        self.subspace_dim = subspace_dim

    def cosines(self, embeddings: Tensor) -> Tensor:
        """Give (B, C, 1) cosines of (B, D) embeddings, at least in float32."""
        u, w = _units(embeddings, self.centres)
        bases = w.view(self.num_classes, self.subspace_dim, -1)
        return projection_cosines(u, bases).unsqueeze(2)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Give (B, C) logits of (B, D) embeddings."""
        s = self.cosines(embeddings)
        return class_logits(s, self.scale.to(s.dtype))


def class_logits(cosines: Tensor, scale: Tensor | float) -> Tensor:
    """Give log sum_j exp(scale · s_cj) of every class c.

    Args:
        cosines: (..., S) cosines s to the sub-centres of a class.
        scale: Logit of cosine 1.

    Returns:
        (...) logits.
    """
    scaled = scale * cosines
    return scaled.squeeze(-1) if cosines.shape[-1] == 1 else scaled.logsumexp(dim=-1)


def projection_cosines(u: Tensor, bases: Tensor) -> Tensor:
    """Give cos(u, v_c), v_c = sum_j a_cj w_cj with a_cj = <u, w_cj>.

    With the Gram matrices G_c of the w_cj it is sum_j a_cj² / sqrt(a_c' G_c a_c), which needs no
    vector v of every clip and class.

    Args:
        u: (B, D) unit vectors.
        bases: (C, J, D) unit vectors w.

    Returns:
        (B, C) cosines.
    """
    a = torch.einsum("bd,cjd->bcj", u, bases)
    gram = bases @ bases.mT
    square = (a * torch.einsum("bcj,cjk->bck", a, gram)).sum(dim=2)
    return a.square().sum(dim=2) / square.clamp_min(SHORTEST_PROJECTION**2).sqrt()


def _units(embeddings: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(embeddings.dtype, torch.float32)
    return unit_vectors(embeddings.to(dtype)), unit_vectors(centres.to(dtype))
