"""Classifiers with a logit for every node of a label tree, not only for its leaves."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy.geometry.heads import Head, LinearHead
from tonotopy.geometry.unit import unit_vectors

NO_CENTROID = -1e4
"""Logit of a class without a centroid: no probability, yet finite in half precision."""


class LevelHead(LinearHead):
    """One linear layer with a logit a node, to be read by a softmax over the nodes of a level.

    Args:
        embedding_dim: Length D of the embeddings.
        num_classes: Number of nodes N.
    """

    reading = "levels"


class NodeHead(LinearHead):
    """One linear layer with a logit a node, to be read by a sigmoid of each.

    Args:
        embedding_dim: Length D of the embeddings.
        num_classes: Number of nodes N.
    """

    reading = "nodes"


class CentroidHead(Head):
    """Logits from the cosine to the centroid of each node: scale · cos(z, c).

    It is fitted, not trained, and so gives a classifier to any embedding, and takes new classes
    at any time. To be read by a softmax over the nodes of a level.

    Args:
        embedding_dim: Length D of the embeddings.
        num_classes: Number of nodes N.

    Attributes:
        centroids: (N, D) unit vectors; a row of zeros for a node without clips.
        scale: Scalar, above 0.
    """

    reading = "levels"

    centroids: Tensor
    scale: Tensor

    def __init__(self, embedding_dim: int, num_classes: int) -> None:
        super().__init__(embedding_dim, num_classes)
        self.register_buffer("centroids", torch.zeros(num_classes, embedding_dim))
        self.register_buffer("scale", torch.tensor(10.0))

    @torch.no_grad()
    def set_centroids(self, embeddings: Tensor, members: Tensor) -> None:
        """Set the centroid of every node to the direction of the mean of its unit vectors.

        Args:
            embeddings: (M, D) floats.
            members: (M, L) nodes that each belongs to; negative for none.
        """
        sums = torch.zeros(self.num_classes, self.embedding_dim, dtype=torch.float64)
        units = unit_vectors(embeddings.detach().cpu().double())
        for nodes in members.cpu().unbind(dim=1):
            known = nodes >= 0
            sums.index_add_(0, nodes[known], units[known])
        self.centroids.copy_(unit_vectors(sums))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Give (B, N) logits of (B, D) embeddings."""
        cosines = unit_vectors(embeddings.float()) @ self.centroids.mT
        missing = (self.centroids == 0).all(dim=1)
        return (self.scale * cosines).masked_fill(missing, NO_CENTROID)
