"""Losses of pytorch-metric-learning as ours, and ours as its; neither package needs the other."""

from __future__ import annotations

from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.losses._base import Loss, PairLoss, Terms


class FromMetricLearning(PairLoss):
    """Use a loss of pytorch-metric-learning, with or without a miner, as a loss of tonotopy.

    Clips without a label are dropped before it is called. Codes of a label tree become flat
    classes, partial labels being dropped too; the ids are then node ids, so a loss that has one
    weight vector a class needs (B,) leaf indices instead. Its own rules for degenerate batches
    hold, except that a batch without labels gives 0. It does not compile into one graph, as the
    number of clips that are kept depends on the labels.

    Musgrave, Belongie and Lim, "PyTorch Metric Learning", arXiv 2008.09164, 2020.

    Args:
        loss: Called as `loss(embeddings, labels, indices_tuple)`; gives a scalar.
        miner: Called as `miner(embeddings, labels)`; gives the pairs or triplets that count.

    Raises:
        UsageError: When called, the loss gives no scalar.

    Examples:
        >>> import torch
        >>> class Pull(torch.nn.Module):
        ...     def forward(self, embeddings, labels, indices_tuple=None):
        ...         return embeddings.square().mean()
        >>> FromMetricLearning(Pull())(2 * torch.eye(2), torch.tensor([0, -1]))
        tensor(2.)
    """

    takes_relations = False

    def __init__(self, loss: nn.Module, miner: nn.Module | None = None) -> None:
        super().__init__()
        self.loss = loss
        self.miner = miner

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss; no parts."""
        ids = self.class_ids(labels)
        known = ids >= 0
        z, ids = embeddings[known], ids[known]
        if len(z) == 0:
            return z.sum(), {}
        mined = None if self.miner is None else self.miner(z, ids)
        value = self.loss(z, ids, mined)
        if not isinstance(value, Tensor) or value.ndim > 0:
            raise UsageError(
                f"{type(self.loss).__name__} must give a scalar: set a reducer that gives one, "
                "such as MeanReducer"
            )
        return value, {}


class ToMetricLearning(nn.Module):
    """Use a loss of tonotopy where pytorch-metric-learning expects one of its own.

    Musgrave, Belongie and Lim, "PyTorch Metric Learning", arXiv 2008.09164, 2020.

    Args:
        loss: The loss.

    Examples:
        >>> import torch
        >>> from tonotopy.losses import OrthogonalProjectionLoss
        >>> loss = ToMetricLearning(OrthogonalProjectionLoss())
        >>> loss(torch.eye(2), torch.tensor([0, 1]))
        tensor(0.)
    """

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.loss = loss

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        indices_tuple: tuple[Tensor, ...] | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """Give the loss of a batch.

        Args:
            embeddings: (B, D) floats, not normalised.
            labels: In any form that the loss takes.
            indices_tuple: Must be None: which pairs count is up to the loss.
            ref_emb: Must be None: the loss compares the clips of one batch.
            ref_labels: Must be None.

        Returns:
            Scalar.

        Raises:
            UsageError: A miner's pairs or reference embeddings are given.
        """
        if indices_tuple is not None:
            raise UsageError(
                f"{type(self.loss).__name__} chooses its pairs itself, but a miner's are given; "
                "leave the miner out"
            )
        if ref_emb is not None or ref_labels is not None:
            raise UsageError(
                f"{type(self.loss).__name__} compares the clips of one batch, but reference "
                "embeddings are given; concatenate them with the batch"
            )
        value: Tensor = self.loss(embeddings, labels)
        return value
