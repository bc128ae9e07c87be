"""NT-Xent: two views of a clip against all other clips of the batch.

Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tonotopy.geometry import unit_vectors
from tonotopy.losses._base import Labels, PairLoss, Terms
from tonotopy.losses.supcon import check_temperature, supervised_contrastive_loss

LARGEST_SCALE = 100.0
"""Of a trained 1/temperature, as in CLIP: beyond it the largest cosine alone counts."""


def bounded_scale(log_scale: Tensor) -> Tensor:
    """Give exp(log_scale) within [1, 100].

    Beyond the bounds the gradient is that at the bound, so that a parameter that an optimiser has
    pushed too far comes back.
    """
    bounded = log_scale.clamp(0.0, math.log(LARGEST_SCALE))
    return (log_scale + (bounded - log_scale).detach()).exp()


class NTXentLoss(PairLoss):
    """Tell for every view of a clip its other views from those of other clips.

    Formula: with positives p(i), the other views of the clip of i, and one label for each clip,

        mean over i of -log( exp(s_ip / temperature) / sum over a != i of exp(s_ia / temperature) )

    A clip with more than two views has the mean over its p. A clip with one view is a negative to
    others, but no anchor; one with label -1 is nothing. It is `SupConLoss` at another temperature,
    with class labels it does the same. Its memory is O(B D).

    Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020.

    Args:
        temperature: Difference of cosines that makes one clip e times as likely as another. Above
            0. Default 0.2; at first, where it is trained.
        learnable_temperature: Whether it is trained, within [0.01, 1].

    Attributes:
        log_scale: Scalar log(1/temperature), a parameter where it is trained.

    Raises:
        UsageError: `temperature` is not above 0.

    Examples:
        >>> loss = NTXentLoss()
        >>> two_views = torch.eye(3).repeat(2, 1)
        >>> loss(two_views, torch.tensor([0, 1, 2, 0, 1, 2]))
        tensor(0.0266)
    """

    log_scale: Tensor

    def __init__(self, temperature: float = 0.2, *, learnable_temperature: bool = False) -> None:
        super().__init__()
        check_temperature(temperature)
        self.learnable_temperature = learnable_temperature
        self.temperature = temperature
        if learnable_temperature:
            self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def compute(self, embeddings: Tensor, labels: Labels) -> tuple[Tensor, Terms]:
        """Give the loss, the number of `anchors`, the mean `positive_cosine`, `temperature`."""
        u = unit_vectors(embeddings)
        scale = self.scale(u)
        loss, terms = supervised_contrastive_loss(u, self.relations(labels), scale=scale)
        return loss, terms | {"temperature": 1.0 / scale}

    def scale(self, like: Tensor) -> Tensor:
        """Give the scalar 1/temperature, in the type of a tensor."""
        if self.learnable_temperature:
            return bounded_scale(self.log_scale.to(like.dtype))
        return torch.full((), 1.0 / self.temperature, dtype=like.dtype, device=like.device)

    def extra_repr(self) -> str:
        """Say which temperature it began with."""
        return f"temperature={self.temperature}, learnable_temperature={self.learnable_temperature}"
