"""VICReg: views of a clip alike, every dimension in use, no two dimensions alike.

Bardes, Ponce and LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised
Learning", ICLR 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy._errors import MissingExtraError
from tonotopy.losses._base import PairLoss, Terms, check_not_negative

LARGEST = 1e8
"""Of a coordinate: the squares of covariances of larger ones overflow in float32."""


class VICRegLoss(PairLoss):
    """Pull views of a clip together while every dimension keeps its variance, and none repeats.

    Formula, over rows z of first views and z' of second ones in D dimensions, as
    pytorch-metric-learning computes it:

        invariance · mean (z - z')² + variance · (v(z) + v(z')) / 2 + covariance · (c(z) + c(z'))

    where v is the mean over dimensions of max(0, 1 - √(Var + eps)), and c the sum of the
    squared covariances of two different dimensions, / D. It needs no negatives and, other than most
    losses here, looks at the lengths of the vectors, which is why it is made for projections. A
    clip with more than two views counts once for every two successive ones; a clip with one view,
    or with label -1, is left out. With fewer than two clips there is no variance, and the loss is
    0.

    Bardes, Ponce and LeCun, "VICReg", ICLR 2022.

    Args:
        invariance: Weight of the distance of two views, 0 or more. Default 25.
        variance: Weight of the hinge on the deviation of each dimension. Default 25.
        covariance: Weight of the covariances. Default 1.
        eps: Added to variances. Default 1e-4.

    Raises:
        UsageError: A weight is negative.
        MissingExtraError: pytorch-metric-learning is not installed.
    """

    takes_relations = False

    def __init__(
        self,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        eps: float = 1e-4,
    ) -> None:
        super().__init__()
        check_not_negative("invariance, variance, covariance and eps", invariance, variance)
        check_not_negative("invariance, variance, covariance and eps", covariance, eps)
        try:
            from pytorch_metric_learning import losses
        except ImportError as error:
            raise MissingExtraError("VICRegLoss", "metric-learning") from error
        self._loss = losses.VICRegLoss(
            invariance_lambda=invariance, variance_mu=variance, covariance_v=covariance, eps=eps
        )

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss, and the mean squared distance of two views, `alignment`."""
        ids = self.class_ids(labels)
        embeddings = embeddings.clamp(-LARGEST, LARGEST)
        order = ids.argsort(stable=True)
        first, second = order[:-1], order[1:]
        paired = (ids[first] == ids[second]) & (ids[first] >= 0)
        one, other = embeddings[first[paired]], embeddings[second[paired]]
        if len(one) < 2:
            return embeddings.sum() * 0.0, {}
        value: Tensor = self._loss(one, ref_emb=other)
        return value, {"alignment": torch.mean((one - other).square().sum(dim=1))}
