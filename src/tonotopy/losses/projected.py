"""Losses over projections of embeddings, which are thrown away after training.

Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.losses._base import Labels, PairLoss, Terms


class ProjectionHead(nn.Sequential):
    """Map embeddings to where views are compared, so that embeddings may keep what views differ in.

    Linear layers with batch normalisation and ReLU between. A batch of one row, which has no
    statistics, is normalised by the running ones.

    Args:
        embedding_dim: Length D of the embeddings.
        sizes: Outputs of the layers, at least one; the last is the length P of a projection.
            Default (512, 512), as in the angular contrastive paper.

    Raises:
        UsageError: There is no layer, or a size is below 1.

    Examples:
        >>> import torch
        >>> ProjectionHead(8, [16, 4])(torch.randn(6, 8)).shape
        torch.Size([6, 4])
    """

    def __init__(self, embedding_dim: int, sizes: Sequence[int] = (512, 512)) -> None:
        if not sizes or min(embedding_dim, *sizes) < 1:
            raise UsageError(f"a projection needs sizes of at least 1, got {list(sizes)}")
        layers: list[nn.Module] = []
        before = embedding_dim
        for size in sizes[:-1]:
            layers += [nn.Linear(before, size), _RowNorm(size), nn.ReLU()]
            before = size
        super().__init__(*layers, nn.Linear(before, sizes[-1]))


class _RowNorm(nn.BatchNorm1d):
    def forward(self, rows: Tensor) -> Tensor:
        if self.training and len(rows) < 2:
            return F.batch_norm(
                rows, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(rows)


class ProjectionLoss(PairLoss, ABC):
    """A loss over embeddings h and projections z of them.

    Args:
        projection: Maps (B, D) embeddings to (B, P), and is trained with the loss; None takes the
            embeddings themselves.
    """

    def __init__(self, projection: nn.Module | None) -> None:
        super().__init__()
        self.projection = projection

    def project(self, embeddings: Tensor) -> Tensor:
        """Give (B, P) projections of (B, D) embeddings."""
        if self.projection is None:
            return embeddings
        projected: Tensor = self.projection(embeddings)
        return projected

    @abstractmethod
    def compare(self, h: Tensor, z: Tensor, labels: Labels) -> tuple[Tensor, Terms]:
        """Give the loss and its named parts of (B, D) embeddings and their (B, P) projections."""

    def compute(self, embeddings: Tensor, labels: Labels) -> tuple[Tensor, Terms]:
        """Project, and compare."""
        return self.compare(embeddings, self.project(embeddings), labels)


class ProjectedLoss(ProjectionLoss):
    """Compute any loss over pairs on projections instead of on the embeddings.

    Args:
        loss: Over pairs.
        projection: Such as `ProjectionHead`; it runs at least in float32.

    Examples:
        >>> import torch
        >>> from tonotopy.losses import NTXentLoss
        >>> loss = ProjectedLoss(NTXentLoss(), ProjectionHead(8, [16, 4]))
        >>> value = loss(torch.randn(6, 8), torch.tensor([0, 1, 2, 0, 1, 2]))
        >>> sorted(loss.terms())
        ['anchors', 'positive_cosine', 'temperature']
    """

    def __init__(self, loss: PairLoss, projection: nn.Module) -> None:
        super().__init__(projection)
        self.loss = loss
        self.takes_relations = loss.takes_relations
        self.kind = loss.kind

    def compare(self, h: Tensor, z: Tensor, labels: Labels) -> tuple[Tensor, Terms]:
        """Give the loss of the projections, and its parts."""
        value: Tensor = self.loss(z, labels)
        return value, self.loss.terms()
