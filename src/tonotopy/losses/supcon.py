"""Supervised contrastive loss: the clips of a class against all others in the batch.

Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.geometry import unit_vectors
from tonotopy.labels import PairRelations
from tonotopy.losses._base import Labels, PairLoss, Terms
from tonotopy.losses._row_blocks import contrastive_means, row_statistics


def supervised_contrastive_loss(
    u: Tensor, relations: PairRelations, *, scale: Tensor
) -> tuple[Tensor, Terms]:
    """Give the mean over anchors i of the mean over their positives p of

        -log( exp(scale · s_ip) / sum over a of exp(scale · s_ia) )

    where a runs over the clips that are certainly of the class of i, or certainly not.

    Args:
        u: (N, D) unit vectors; s is the cosine of two.
        relations: Of the N clips.
        scale: Scalar 1/temperature; it may have a gradient.

    Returns:
        Scalar, and the number of anchors and the mean cosine of the positives. Clips without
        positives are no anchors; without anchors the loss is 0.
    """
    statistics = row_statistics(u, relations, scale)
    _, positives, counts = statistics
    terms = {
        "anchors": (counts > 0).sum(),
        "positive_cosine": positives.sum() / counts.sum().clamp_min(1.0),
    }
    return contrastive_means(statistics, scale).squeeze(0), terms


def check_temperature(temperature: float) -> None:
    """Raise `UsageError` unless a temperature is above 0."""
    if not 0.0 < temperature < float("inf"):
        raise UsageError(f"temperature must be above 0, such as 0.1, got {temperature}")


class SupConLoss(PairLoss):
    """Tell for every clip those of its class from those of others, by a softmax over cosines.

    Formula: mean over anchors i of the mean over their positives p of

        -log( exp(s_ip / temperature) / sum over a of exp(s_ia / temperature) )

    the form with the mean outside the logarithm. The sum runs over all clips of which it is certain
    whether they are of the class of i, but for i itself; clips without another of their class are
    no anchors. Its memory is O(B D): the pairs are computed twice, a block of clips at a time.

    Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020.

    Args:
        temperature: Difference of cosines that makes one clip e times as likely as another. Above
            0. Default 0.1.

    Raises:
        UsageError: `temperature` is not above 0.

    Examples:
        >>> loss = SupConLoss(temperature=0.5)
        >>> loss(torch.eye(4), torch.tensor([0, 0, 1, 1]))
        tensor(1.0986)
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        check_temperature(temperature)
        self.temperature = temperature

    def compute(self, embeddings: Tensor, labels: Labels) -> tuple[Tensor, Terms]:
        """Give the loss, the number of `anchors` and the mean `positive_cosine`."""
        u = unit_vectors(embeddings)
        scale = torch.full((), 1.0 / self.temperature, dtype=u.dtype, device=u.device)
        return supervised_contrastive_loss(u, self.relations(labels), scale=scale)

    def extra_repr(self) -> str:
        """Say which temperature it has."""
        return f"temperature={self.temperature}"
