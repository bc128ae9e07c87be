"""Angular contrastive loss (ACL): NT-Xent on projections, angles on the embeddings themselves.

Wang, Tripathy and Mesaros, "Self-Supervised Learning of Audio Representations Using Angular
Contrastive Loss", ICASSP 2023.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.geometry import unit_vectors
from tonotopy.labels import PairRelations
from tonotopy.losses._base import Labels, Terms
from tonotopy.losses.angular_margin_contrastive import (
    REFERENCE_WEIGHTS,
    AngularReduction,
    angle_sums,
    angle_terms,
    angular_margin_contrastive_loss,
    check_margin,
    check_reduction,
)
from tonotopy.losses.ntxent import NTXentLoss
from tonotopy.losses.projected import ProjectionLoss
from tonotopy.losses.supcon import supervised_contrastive_loss


def angular_contrastive_loss(
    h: Tensor,
    z: Tensor,
    relations: PairRelations,
    *,
    alpha: float = 0.3,
    temperature: float | Tensor = 0.2,
    margin: float = 0.5,
    reduction: AngularReduction = "mean_split",
    weights: tuple[float, float] = REFERENCE_WEIGHTS,
    divisor: float = 25.0,
) -> tuple[Tensor, Terms]:
    """Give alpha · NT-Xent(z) + (1 - alpha) · angular margin loss(h).

    Args:
        h: (N, D) embeddings, not normalised.
        z: (N, P) projections of them, not normalised.
        relations: Of the N clips.
        alpha: Share of NT-Xent, in [0, 1].
        temperature: Of NT-Xent; a scalar tensor may have a gradient.
        margin: In radians.
        reduction: Of the angular part, as in `AngularMarginContrastiveLoss`.
        weights: Likewise.
        divisor: Likewise.

    Returns:
        Scalar, and the two parts and what can be said about angles.
    """
    scale = 1.0 / torch.as_tensor(temperature, dtype=z.dtype, device=z.device)
    contrastive, _ = supervised_contrastive_loss(unit_vectors(z), relations, scale=scale)
    sums = angle_sums(unit_vectors(h), relations, margin=margin)
    angular = angular_margin_contrastive_loss(
        sums, reduction=reduction, weights=weights, divisor=divisor
    )
    terms = {"contrastive": contrastive, "angular": angular, **angle_terms(sums)}
    return alpha * contrastive + (1.0 - alpha) * angular, terms


class AngularContrastiveLoss(ProjectionLoss):
    """Contrast projections of the views of clips, and put the embeddings a margin apart.

    Formula: alpha · NT-Xent(z) + (1 - alpha) · angular margin loss(h), where h are the embeddings
    and z = projection(h). See `NTXentLoss` and `AngularMarginContrastiveLoss`; labels are clips or
    classes. The best alpha of the authors, 0.3, belongs to the default weights.

    Wang, Tripathy and Mesaros, "Self-Supervised Learning of Audio Representations Using Angular
    Contrastive Loss", ICASSP 2023.

    Args:
        projection: Maps (B, D) embeddings to (B, P), and is trained with the loss, such as two
            linear layers with a ReLU between; None contrasts the embeddings themselves. It runs at
            least in float32.
        alpha: Share of NT-Xent, in [0, 1]. Default 0.3.
        temperature: Of NT-Xent, above 0. Default 0.2; at first, where it is trained.
        margin: In radians, between 0 and pi. Default 0.5.
        reduction: Of the angular part: `"mean_split"`, `"mean_all"` or `"published"`.
        weights: Of its two sides; `"mean_split"` only.
        divisor: Of its sums; `"published"` only.
        learnable_temperature: Whether the temperature is trained, within [0.01, 1].

    Raises:
        UsageError: An argument is out of range, or belongs to another reduction.

    Examples:
        >>> loss = AngularContrastiveLoss(nn.Linear(8, 4))
        >>> value = loss(torch.randn(6, 8), torch.tensor([0, 1, 2, 0, 1, 2]))
        >>> sorted(loss.terms())
        ['active', 'angular', 'contrastive', 'negative_angle', 'positive_angle', 'temperature']
    """

    def __init__(
        self,
        projection: nn.Module | None = None,
        *,
        alpha: float = 0.3,
        temperature: float = 0.2,
        margin: float = 0.5,
        reduction: AngularReduction = "mean_split",
        weights: tuple[float, float] = REFERENCE_WEIGHTS,
        divisor: float = 25.0,
        learnable_temperature: bool = False,
    ) -> None:
        super().__init__(projection)
        if not 0.0 <= alpha <= 1.0:
            raise UsageError(f"alpha must be in [0, 1], got {alpha}")
        self.contrastive = NTXentLoss(temperature, learnable_temperature=learnable_temperature)
        check_margin(margin)
        check_reduction(reduction, weights, divisor)
        self.alpha = alpha
        self.temperature = temperature
        self.margin = margin
        self.reduction: AngularReduction = reduction
        self.weights = weights
        self.divisor = divisor

    @classmethod
    def published(cls, projection: nn.Module | None = None) -> AngularContrastiveLoss:
        """Make the loss of the authors' code, for comparison: the angular part is a sum / 25.

        Their 1e-10 inside the logarithms is left out; it changes the value by some 1e-13.

        Args:
            projection: As above; theirs is an MLP.
        """
        return cls(projection, reduction="published")

    def compare(self, h: Tensor, z: Tensor, labels: Labels) -> tuple[Tensor, Terms]:
        """Give the loss, its parts `contrastive` and `angular`, angles, and the temperature."""
        temperature = 1.0 / self.contrastive.scale(z)
        loss, terms = angular_contrastive_loss(
            h,
            z,
            self.relations(labels),
            alpha=self.alpha,
            temperature=temperature,
            margin=self.margin,
            reduction=self.reduction,
            weights=self.weights,
            divisor=self.divisor,
        )
        return loss, terms | {"temperature": temperature}

    def extra_repr(self) -> str:
        """Say which loss it is."""
        return (
            f"alpha={self.alpha}, temperature={self.temperature}, margin={self.margin}, "
            f"reduction={self.reduction!r}"
        )
