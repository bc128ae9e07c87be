"""Angular distance distribution (ADD) loss: tight classes, all equally far apart.

Almudévar, Serizel and Ortega, "Angular Distance Distribution Loss for Audio Classification",
arXiv 2411.00153, 2024.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.geometry import (
    Distance,
    distance_from_cosine,
    pairwise_cosine,
    right_angle,
    unit_vectors,
)
from tonotopy.labels import PairRelations
from tonotopy.losses._add_moments import (
    BatchMoments,
    Divisor,
    Pooling,
    Spread,
    batch_moments,
    masked_moments,
)
from tonotopy.losses._add_soft import soft_gram_loss, soft_gram_loss_low_rank
from tonotopy.losses._base import (
    Labels,
    PairLoss,
    Terms,
    check_choice,
    check_not_negative,
)

Form = Literal["moments", "gram"]
Weights = tuple[float, float, float, float]

EQUAL_WEIGHTS: Weights = (1.0, 1.0, 1.0, 1.0)


def moments_loss(
    moments: BatchMoments,
    *,
    targets: tuple[float, float],
    weights: Weights = EQUAL_WEIGHTS,
    spread: Spread = "var",
    divisor: Divisor = "population",
) -> Tensor:
    """Give l1 (mu+ - t+)² + l2 spread+ + l3 (mu- - t-)² + l4 spread-.

    Args:
        moments: Moments of the distances within (+) and between (-) classes.
        targets: Distances wanted, t+ and t-.
        weights: l1, l2, l3, l4.
        spread: Variance or standard deviation.
        divisor: Of the variance: the number of pairs, or the ordered number less one.

    Returns:
        Scalar; a side without pairs contributes 0.
    """
    total = torch.zeros_like(moments.intra.mean)
    sides = zip(moments, targets, (weights[:2], weights[2:]), strict=True)
    for side, target, (mean_weight, spread_weight) in sides:
        present = side.pairs > 0
        total = total + mean_weight * present * (side.mean - target).square()
        total = total + spread_weight * side.spread(spread, divisor)
    return total


def gram_loss(
    moments: BatchMoments, count: Tensor, *, targets: tuple[float, float], balanced: bool = False
) -> Tensor:
    """Give (1/N²) sum over i != j of (d_ij - t_ij)² for class ids, t_ij = t+ or t-.

    By moments: sum over the sides of (pairs/N²) ((mu - t)² + variance).

    Args:
        moments: Moments of the distances within and between classes.
        count: Number N of clips with a class.
        targets: Distances wanted, t+ and t-.
        balanced: Whether to divide each side by its own number of pairs instead of by N².

    Returns:
        Scalar; a side without pairs contributes 0.
    """
    total = torch.zeros_like(moments.intra.mean)
    for side, target in zip(moments, targets, strict=True):
        share = (side.pairs > 0) if balanced else side.pairs / count.square().clamp_min(1)
        total = total + share * ((side.mean - target).square() + side.variance)
    return total


class AngularDistanceDistributionLoss(PairLoss):
    """Make the distances within classes small, those between classes a right angle, and both alike.

    With d the distance of two unit vectors, mu+ and mu- its means over pairs of equal and of
    different classes:

        moments:  l1 (mu+ - t+)² + l2 spread+ + l3 (mu- - t-)² + l4 spread-
        gram:     (1/N²) sum over i != j of (d_ij - t_ij)²

    Both are 0 exactly when every class is one direction and all directions are orthogonal, which
    needs D >= C. Add it to a loss that classifies: `WeightedSumLoss`. A batch needs three clips or
    more of a class for a spread within it. Cost: O(N² D); for the cosine distance and N > D
    automatically O(N D²).

    Almudévar et al., "Angular Distance Distribution Loss for Audio Classification", 2024.

    Args:
        form: `"moments"` weighs the four parts; `"gram"` matches every distance to its target and
            takes soft targets as they are, so it is the one for mixup.
        distance: `"cosine"` 1 - s, `"angle"` arccos s, `"angle_quad"` (2/pi) arccos s.
        spread: `"var"` or `"std"`; moments only. The standard deviation's pull never fades, and it
            pushes close pairs of a class apart.
        pooling: `"pooled"`: every pair counts equally; `"macro"`: every pair of classes, so rare
            classes count as much as common ones. `"macro"` needs class ids.
        balanced: Whether the two sides of `"gram"` weigh equally rather than by their pairs. In
            batches of many classes those between classes are nearly all. For class ids this is
            `"moments"` with its defaults.
        weights: l1, l2, l3, l4: mean and spread within, mean and spread between classes; moments
            only.
        intra_target: t+, distance wanted within a class. Default 0.
        inter_target: t-, distance wanted between classes. Default: the right angle. C/(C-1) in
            cosine distance is the regular simplex.
        divisor: Of the variance: `"population"` the number of pairs; `"ordered"` twice that, less
            one, as published; moments only.

    Examples:
        >>> loss = AngularDistanceDistributionLoss()
        >>> loss(torch.eye(4), torch.tensor([0, 1, 2, 3]))
        tensor(0.)
    """

    def __init__(
        self,
        *,
        form: Form = "moments",
        distance: Distance = "cosine",
        spread: Spread = "var",
        pooling: Pooling = "pooled",
        balanced: bool = False,
        weights: Weights = EQUAL_WEIGHTS,
        intra_target: float = 0.0,
        inter_target: float | None = None,
        divisor: Divisor = "population",
    ) -> None:
        super().__init__()
        choices = {
            "form": (form, Form),
            "distance": (distance, Distance),
            "spread": (spread, Spread),
            "pooling": (pooling, Pooling),
            "divisor": (divisor, Divisor),
        }
        for name, (value, allowed) in choices.items():
            check_choice(name, value, allowed)
        _check_weights(weights)
        _check_form(form, balanced, moments_only=(tuple(weights), spread, divisor))
        self.form: Form = form
        self.distance: Distance = distance
        self.spread: Spread = spread
        self.pooling: Pooling = pooling
        self.balanced = balanced
        self.weights = weights
        self.targets = (
            intra_target,
            right_angle(distance) if inter_target is None else inter_target,
        )
        self.divisor: Divisor = divisor
        self.takes_relations = pooling == "pooled"  # pairs alone name no classes

    @classmethod
    def published(cls, *, form: Form = "moments") -> AngularDistanceDistributionLoss:
        """Make the loss of the authors' code, for comparison.

        Cosine distance, all pairs pooled, all weights 1. The moments form takes the standard
        deviation with the ordered number of pairs less one as divisor; the Gram form is this
        class's default. A batch without pairs on one side, NaN in their code, contributes 0.

        Args:
            form: `"moments"` or `"gram"`, both of which their code contains.
        """
        if form == "gram":
            return cls(form="gram")
        return cls(form=form, spread="std", divisor="ordered")

    def compute(self, embeddings: Tensor, labels: Labels) -> tuple[Tensor, Terms]:
        """Give the loss and mean, standard deviation and ordered number of pairs of each side."""
        u = unit_vectors(embeddings)
        if isinstance(labels, Tensor) and labels.is_floating_point() and self.form == "gram":
            return self._soft(u, labels.to(u.dtype))
        if isinstance(labels, PairRelations) or (self.pooling == "pooled" and _are_codes(labels)):
            moments, count = self._related(u, self.relations(labels))
        else:
            ids = self.class_ids(labels)
            count = (ids >= 0).sum()
            moments = batch_moments(u, ids, distance=self.distance, pooling=self.pooling)
        if self.form == "gram":
            loss = gram_loss(moments, count, targets=self.targets, balanced=self.balanced)
        else:
            loss = moments_loss(
                moments,
                targets=self.targets,
                weights=self.weights,
                spread=self.spread,
                divisor=self.divisor,
            )
        return loss, _terms(moments, self.divisor)

    def extra_repr(self) -> str:
        """Say which loss it is."""
        return (
            f"form={self.form!r}, distance={self.distance!r}, spread={self.spread!r}, "
            f"pooling={self.pooling!r}, targets={self.targets}"
        )

    def _related(self, u: Tensor, relations: PairRelations) -> tuple[BatchMoments, Tensor]:
        d = distance_from_cosine(pairwise_cosine(u), self.distance)
        return masked_moments(d, *relations.masks()), relations.known().sum()

    def _soft(self, u: Tensor, q: Tensor) -> tuple[Tensor, Terms]:
        if self.pooling == "macro":
            raise UsageError(
                "pooling='macro' needs class ids: soft targets belong to no pair of classes; "
                "use pooling='pooled'"
            )
        low_rank = self.distance == "cosine" and not self.balanced
        worth_it = len(u) > u.shape[1] + q.shape[1]
        if low_rank and worth_it and u.device.type != "mps":  # which has no float64
            return soft_gram_loss_low_rank(u, q, targets=self.targets), {}
        loss, moments = soft_gram_loss(
            u, q, distance=self.distance, targets=self.targets, balanced=self.balanced
        )
        return loss, _terms(moments, "population")


def _are_codes(labels: Tensor) -> bool:
    return labels.ndim == 2 and not labels.is_floating_point()


def _terms(moments: BatchMoments, divisor: Divisor) -> Terms:
    terms: Terms = {}
    for name, side in zip(("intra", "inter"), moments, strict=True):
        terms[f"{name}_mean"] = side.mean
        terms[f"{name}_std"] = side.spread("std", divisor)
        terms[f"{name}_pairs"] = side.pairs
    return terms


def _check_weights(weights: Weights) -> None:
    if len(weights) != 4:
        raise UsageError(
            "weights must be four numbers (mean and spread within, mean and spread between "
            f"classes), got {len(weights)}"
        )
    check_not_negative("weights", *weights)


def _check_form(form: Form, balanced: bool, moments_only: tuple[object, ...]) -> None:
    if form == "gram" and moments_only != (EQUAL_WEIGHTS, "var", "population"):
        raise UsageError("weights, spread and divisor belong to form='moments'; leave them out")
    if form == "moments" and balanced:
        raise UsageError("balanced belongs to form='gram': the sides of 'moments' have weights")
