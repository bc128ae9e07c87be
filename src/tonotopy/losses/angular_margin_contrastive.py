"""Angular margin contrastive loss: angles of 0 within classes, of a margin or more between them.

Choi et al., "AMC-Loss: Angular Margin Contrastive Loss for Improved Explainability in Image
Classification", CVPR Workshops 2020; over all pairs of a batch in Wang, Tripathy and Mesaros,
"Self-Supervised Learning of Audio Representations Using Angular Contrastive Loss", ICASSP 2023.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.geometry import (
    angle_slope,
    distance_from_cosine,
    pairwise_cosine,
    unit_vectors,
)
from tonotopy.labels import PairRelations
from tonotopy.losses._base import Labels, PairLoss, Terms, check_choice, check_not_negative
from tonotopy.losses._row_blocks import row_slices

AngularReduction = Literal["mean_split", "mean_all", "published"]
PublishedForm = Literal["self_supervised", "supervised"]

PUBLISHED_DIVISORS: dict[PublishedForm, float] = {"self_supervised": 25.0, "supervised": 50.0}
"""What the released code divides its sums by, whatever the size of the batch."""

REFERENCE_WEIGHTS = (10.24, 2600.96)
"""What those sums weigh as means over positives and negatives, for 128 clips in two views."""


class AngleSums(NamedTuple):
    """Sums over the ordered pairs of a batch.

    Attributes:
        pull: Of theta² over pairs of one class.
        push: Of max(0, margin - theta)² over pairs of different classes.
        same: Number of pairs of one class.
        different: Number of pairs of different classes.
        active: How many of those are nearer than the margin.
        same_angle: Of theta over pairs of one class, without gradient.
        different_angle: Of theta over pairs of different classes, without gradient.
    """

    pull: Tensor
    push: Tensor
    same: Tensor
    different: Tensor
    active: Tensor
    same_angle: Tensor
    different_angle: Tensor


def angle_sums(u: Tensor, relations: PairRelations, *, margin: float) -> AngleSums:
    """Sum over all ordered pairs, a block of clips at a time.

    Args:
        u: (N, D) unit vectors.
        relations: Of the N clips.
        margin: In radians.
    """

    sums = _AngleSums.apply(u, relations, margin)  # type: ignore[no-untyped-call]  # torch's own
    return AngleSums(*sums.unbind())


class _AngleSums(torch.autograd.Function):
    """The sums as one vector; the backward pass computes the angles again, block by block."""

    @staticmethod
    def forward(u: Tensor, relations: PairRelations, margin: float) -> Tensor:
        total = torch.zeros(7, dtype=torch.float64, device=u.device)
        for rows in row_slices(u):
            same, different = relations.masks(rows)
            theta = distance_from_cosine(pairwise_cosine(u[rows], u), "angle")
            near = (margin - theta).clamp_min_(0.0).mul_(different)
            active = (near > 0).count_nonzero()
            parts = [
                (theta * same).square_().sum(dim=1),
                near.square_().sum(dim=1),
                (theta * same).sum(dim=1),
                (theta * different).sum(dim=1),
            ]
            # A sum of 1e9 terms would lose its digits in float32.
            pull, push, same_angle, different_angle = (part.double().sum() for part in parts)
            counts = [same.count_nonzero(), different.count_nonzero(), active]
            row = [pull, push, *(n.double() for n in counts), same_angle, different_angle]
            total = total + torch.stack(row)
        return total.to(u.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        u, ctx.relations, ctx.margin = inputs
        ctx.save_for_backward(u)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (u,) = ctx.saved_tensors
        grad_u = torch.zeros_like(u)
        for rows in row_slices(u):
            same, different = ctx.relations.masks(rows)
            s = pairwise_cosine(u[rows], u)
            theta = distance_from_cosine(s, "angle")
            slope = (ctx.margin - theta).clamp_min_(0.0).mul_(different).mul_(-2.0 * grad[1])
            slope += theta.mul_(same).mul_(2.0 * grad[0])
            slope *= angle_slope(s)
            grad_u[rows] += slope @ u
            grad_u.addmm_(slope.mT, u[rows])
        return grad_u, None, None


def angular_margin_contrastive_loss(
    sums: AngleSums,
    *,
    reduction: AngularReduction = "mean_split",
    weights: tuple[float, float] = REFERENCE_WEIGHTS,
    divisor: float = 25.0,
) -> Tensor:
    """Reduce sums to the loss.

    Args:
        sums: Of a batch.
        reduction: `"mean_split"` w_pos · mean of theta² + w_neg · mean of max(0, margin - theta)²;
            `"mean_all"` the mean of both over all pairs; `"published"` their sum / divisor.
        weights: w_pos and w_neg; `"mean_split"` only.
        divisor: `"published"` only.

    Returns:
        Scalar; a side without pairs contributes 0.
    """
    if reduction == "published":
        return (sums.pull + sums.push) / divisor
    if reduction == "mean_all":
        return (sums.pull + sums.push) / (sums.same + sums.different).clamp_min(1.0)
    pull = sums.pull / sums.same.clamp_min(1.0)
    return weights[0] * pull + weights[1] * sums.push / sums.different.clamp_min(1.0)


def angle_terms(sums: AngleSums) -> Terms:
    """Give the mean angles of both sides, and the share of negatives nearer than the margin."""
    negatives = sums.different.clamp_min(1.0)
    return {
        "positive_angle": sums.same_angle / sums.same.clamp_min(1.0),
        "negative_angle": sums.different_angle / negatives,
        "active": sums.active / negatives,
    }


def check_margin(margin: float) -> None:
    """Raise `UsageError` unless a margin is an angle between 0 and pi."""
    if not 0.0 < margin < math.pi:
        raise UsageError(f"margin is an angle in radians between 0 and pi, got {margin}")


class AngularMarginContrastiveLoss(PairLoss):
    """Pull the angle theta within classes to 0, and push that between classes beyond a margin.

    Formula, over all ordered pairs:

        w_pos · mean within of theta²  +  w_neg · mean between of max(0, margin - theta)²

    Both are 0 where every class is one direction and classes are a margin apart, which leaves no
    gradient from other classes: join it with one that has, as `AngularContrastiveLoss` does. At
    first the embeddings of a deep network point the same way, so all negatives are nearer than the
    margin and the default weights give hundreds: warm up, or clip gradients. The gradient is 0
    where two clips coincide. Its memory is O(B D): the pairs are computed twice.

    Choi et al., "AMC-Loss", 2020; Wang, Tripathy and Mesaros, "Self-Supervised Learning of Audio
    Representations Using Angular Contrastive Loss", 2023.

    Args:
        margin: In radians, between 0 and pi. Default 0.5.
        reduction: `"mean_split"` as above; `"mean_all"` one mean over all pairs, equally weighted;
            `"published"` the sum over all pairs / divisor, which grows with the batch.
        weights: w_pos and w_neg, 0 or more; `"mean_split"` only. Default (10.24, 2600.96), the
            published sums at their 128 clips in two views. Equal weights make the negatives some
            250 times weaker.
        divisor: Above 0; `"published"` only. Default 25.

    Raises:
        UsageError: An argument is out of range, or belongs to another reduction.

    Examples:
        >>> loss = AngularMarginContrastiveLoss(weights=(1.0, 1.0))
        >>> loss(torch.eye(3), torch.tensor([0, 0, 1]))  # one right angle, squared
        tensor(2.4674)
    """

    def __init__(
        self,
        margin: float = 0.5,
        *,
        reduction: AngularReduction = "mean_split",
        weights: tuple[float, float] = REFERENCE_WEIGHTS,
        divisor: float = 25.0,
    ) -> None:
        super().__init__()
        check_margin(margin)
        check_reduction(reduction, weights, divisor)
        self.margin = margin
        self.reduction: AngularReduction = reduction
        self.weights = weights
        self.divisor = divisor

    @classmethod
    def published(cls, form: PublishedForm = "self_supervised") -> AngularMarginContrastiveLoss:
        """Make the loss of the authors' code, for comparison: sums / 25, or / 50 with classes.

        Its scale is that of their batches, 128 clips in two views, or 64 clips with classes.
        """
        check_choice("form", form, PublishedForm)
        return cls(reduction="published", divisor=PUBLISHED_DIVISORS[form])

    def compute(self, embeddings: Tensor, labels: Labels) -> tuple[Tensor, Terms]:
        """Give the loss, the mean angles of both sides and the share of negatives that count."""
        relations = self.relations(labels)
        sums = angle_sums(unit_vectors(embeddings), relations, margin=self.margin)
        loss = angular_margin_contrastive_loss(
            sums, reduction=self.reduction, weights=self.weights, divisor=self.divisor
        )
        return loss, angle_terms(sums)

    def extra_repr(self) -> str:
        """Say which loss it is."""
        return f"margin={self.margin}, reduction={self.reduction!r}"


def check_reduction(
    reduction: AngularReduction, weights: tuple[float, float], divisor: float
) -> None:
    """Raise `UsageError` unless weights and divisor fit a reduction."""
    check_choice("reduction", reduction, AngularReduction)
    if len(weights) != 2:
        raise UsageError(f"weights must be two numbers, w_pos and w_neg, got {len(weights)}")
    check_not_negative("weights", *weights)
    if not 0.0 < divisor < float("inf"):
        raise UsageError(f"divisor must be above 0, got {divisor}")
    if reduction != "mean_split" and tuple(weights) != REFERENCE_WEIGHTS:
        raise UsageError("weights belong to reduction='mean_split'; leave them out")
    if reduction != "published" and divisor != PUBLISHED_DIVISORS["self_supervised"]:
        raise UsageError("divisor belongs to reduction='published'; leave it out")
