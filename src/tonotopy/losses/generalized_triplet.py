"""Generalised triplet loss: whoever is nearer in the label tree shall be nearer in the embedding.

Zhang, Zhou, Lin and Zhang, "Embedding Label Structures for Fine-Grained Feature Representation",
CVPR 2016; used for audio in Tian, Lattner, McFee and Saitis, "Hybrid Losses for Hierarchical
Embedding Learning", ICASSP 2025.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.geometry import (
    pairwise_cosine,
    pairwise_euclidean,
    pairwise_poincare,
    poincare_ball,
    unit_vectors,
)
from tonotopy.labels import LabelTree, PairRelations
from tonotopy.losses._base import Labels, PairLoss, Terms, check_choice
from tonotopy.losses._triplet_counts import TripletCounts, count_by_groups, count_by_masks
from tonotopy.losses.margin_bound import largest_margin

Pairs = Literal["all", "adjacent", "drawn"]
TripletReduction = Literal["mean_all", "mean_active"]
TripletDistance = Literal["cosine", "euclidean", "poincare"]

AUTO_SHARE = 0.9
"""Share of the largest feasible margin that `margin="auto"` takes."""

DENSE = 256
"""Clips up to which all pairs are counted at once, which compiles; more go node by node."""


def triplet_distances(embeddings: Tensor, distance: TripletDistance) -> Tensor:
    """Give (N, N) distances of embeddings (N, D).

    `"cosine"` 1 - s; `"euclidean"` of the embeddings as they are; `"poincare"` the hyperbolic
    distance after the exponential map at the origin.
    """
    if distance == "cosine":
        return 1.0 - pairwise_cosine(unit_vectors(embeddings))
    if distance == "euclidean":
        return pairwise_euclidean(embeddings)
    return pairwise_poincare(poincare_ball(embeddings))


def generalized_triplet_loss(
    d: Tensor, counts: TripletCounts, *, reduction: TripletReduction = "mean_all"
) -> Tensor:
    """Give the mean of max(0, m + d(a, p) - d(a, n)) over triplets, from their counts.

    Args:
        d: (N, N) distances with gradient.
        counts: Of the same distances.
        reduction: Over all valid triplets, or over those with a positive hinge.

    Returns:
        Scalar; 0 where there is no triplet.
    """
    total = counts.margins + (counts.slope * d).sum(dtype=torch.float64)
    number = counts.triplets if reduction == "mean_all" else counts.active
    return (total / number.clamp_min(1.0)).to(d.dtype)


def drawn_triplet_loss(
    d: Tensor,
    relations: PairRelations,
    margin: Tensor | float,
    *,
    reduction: TripletReduction = "mean_all",
) -> tuple[Tensor, Terms]:
    """Give the mean of max(0, m + d(a, p) - d(a, n)) over triplets that were drawn beforehand.

    Args:
        d: (3 B, 3 B) distances of B anchors, B positives and B negatives.
        relations: Of the same clips; triplets that they do not order for certain are left out.
        margin: m, or (H + 1, H + 1) by the levels shared with positive and negative.
        reduction: Over all valid triplets, or over those with a positive hinge.

    Returns:
        Scalar, and the terms of `GeneralizedTripletLoss`.

    Raises:
        UsageError: The batch is not made of threes.
    """
    if len(d) % 3:
        raise UsageError(
            f"pairs='drawn' takes anchors, positives and negatives, as many of each, got {len(d)} "
            "clips: use TreeTripletSampler"
        )
    lo, hi = relations.bounds()
    anchor, positive, negative = torch.arange(len(d), device=d.device).reshape(3, -1)
    near, far = lo[anchor, positive].long(), hi[anchor, negative].long()
    valid = near > far
    m = margin if isinstance(margin, float) else margin[near, far]
    hinges = (m + d[anchor, positive] - d[anchor, negative]).clamp_min(0.0) * valid
    active = (hinges > 0.0).sum()
    number = valid.sum() if reduction == "mean_all" else active
    share = active / valid.sum().clamp_min(1)
    return hinges.sum() / number.clamp_min(1), {"triplets": valid.sum(), "active": share}


class GeneralizedTripletLoss(PairLoss):
    """Ask of every three clips that the two of deeper kinship lie nearer, by a margin.

    Mean over triplets of max(0, m + d(a, p) - d(a, n)), valid where depth lca(a, p) > depth
    lca(a, n); with partial labels only where that is certain. For flat classes it is the triplet
    loss over all triplets of the batch. Cost: O(N² log N) time, O(N²) memory for all O(N³)
    triplets, none of which is listed. Up to 256 clips it compiles into one graph; above, its
    sizes depend on the labels.

    A batch needs several clips of each node on each level to have triplets of all levels. The
    gradient is 0 when all embeddings coincide, where the loss is exactly the margin.

    Args:
        margin: m: a number; one for each level from coarse to fine, the margin of a triplet being
            the sum over the levels that p shares with the anchor and n does not; or `"auto"`, 0.9
            of the largest that `tree` allows. Default 0.3, as published.
        pairs: `"all"`: every valid triplet; `"adjacent"`: p shares only one more level with the
            anchor than n, of those levels that the anchor has in the batch; `"drawn"`, published,
            for training in one process: the batch is B anchors, then B positives, then B negatives,
            as `TreeTripletSampler` stacks them, and only the triplets (i, B + i, 2 B + i) count.
            In evaluation mode, where nothing is stacked, it is `"adjacent"`.
        distance: `"cosine"`; `"euclidean"`, of the embeddings as they are; `"poincare"`, after the
            exponential map into the ball.
        reduction: `"mean_all"` over all valid triplets, or `"mean_active"` over those with a loss.
        tree: With it, a margin that cannot be satisfied is warned of.

    Raises:
        UsageError: `"auto"` without a tree, or a margin for another number of levels.

    Examples:
        >>> loss = GeneralizedTripletLoss(margin=0.5)
        >>> loss(torch.eye(3), torch.tensor([0, 0, 1]))
        tensor(0.5000)
    """

    def __init__(
        self,
        margin: float | Sequence[float] | Literal["auto"] = 0.3,
        *,
        pairs: Pairs = "all",
        distance: TripletDistance = "cosine",
        reduction: TripletReduction = "mean_all",
        tree: LabelTree | None = None,
    ) -> None:
        super().__init__()
        choices = {
            "pairs": (pairs, Pairs),
            "distance": (distance, TripletDistance),
            "reduction": (reduction, TripletReduction),
        }
        for name, (value, allowed) in choices.items():
            check_choice(name, value, allowed)
        self.margin = _checked_margin(margin, distance, tree)
        self.pairs: Pairs = pairs
        self.distance: TripletDistance = distance
        self.reduction: TripletReduction = reduction

    def compute(self, embeddings: Tensor, labels: Labels) -> tuple[Tensor, Terms]:
        """Give the loss, the number of triplets and the share of them with a loss."""
        relations = self.relations(labels)
        margin = self._margin_for(relations.num_levels, embeddings)
        if self.pairs == "drawn" and self.training:
            d = triplet_distances(embeddings, self.distance)
            return drawn_triplet_loss(d, relations, margin, reduction=self.reduction)
        adjacent = self.pairs != "all"
        codes = None if relations.remembered else relations.codes
        if codes is None or len(embeddings) <= DENSE:
            d = triplet_distances(embeddings, self.distance)
            counts = count_by_masks(d.detach(), relations, margin, adjacent=adjacent)
        else:
            order = _lexicographic(codes)
            d = triplet_distances(embeddings[order], self.distance)
            counts = count_by_groups(d.detach(), codes[order], margin, adjacent=adjacent)
        loss = generalized_triplet_loss(d, counts, reduction=self.reduction)
        share = counts.active / counts.triplets.clamp_min(1.0)
        return loss, {"triplets": counts.triplets, "active": share}

    def _margin_for(self, num_levels: int, like: Tensor) -> Tensor | float:
        """Give the margin, or (H + 1, H + 1) by the levels shared with positive and negative."""
        if isinstance(self.margin, float):
            return self.margin
        if len(self.margin) != num_levels:
            raise UsageError(
                f"there are margins for {len(self.margin)} levels, but the labels have {num_levels}"
            )
        potential = torch.tensor([0.0, *self.margin], dtype=torch.float64).cumsum(0).to(like)
        return potential[:, None] - potential

    def extra_repr(self) -> str:
        """Say which loss it is."""
        return f"margin={self.margin}, pairs={self.pairs!r}, distance={self.distance!r}"


def _checked_margin(
    margin: float | Sequence[float] | str, distance: TripletDistance, tree: LabelTree | None
) -> float | tuple[float, ...]:
    if isinstance(margin, str):
        if margin != "auto" or tree is None or distance != "cosine":
            raise UsageError(
                "margin must be a number, one for each level, or 'auto', which needs tree=... and "
                f"distance='cosine' for its bound; got {margin!r}"
            )
        return AUTO_SHARE * largest_margin(tree)
    levels = (margin,) if isinstance(margin, int | float) else tuple(margin)
    if not levels or not all(0.0 <= m < float("inf") for m in levels):
        raise UsageError(f"margin must be 0 or more, for every level, got {margin}")
    per_level = not isinstance(margin, int | float)
    if tree is not None and distance == "cosine":
        steps = levels if per_level else None
        bound = largest_margin(tree, steps)
        if (1.0 if per_level else levels[0]) > bound:
            warnings.warn(_infeasible(levels, bound, per_level), stacklevel=3)
    return tuple(float(m) for m in levels) if per_level else float(levels[0])


def _infeasible(levels: tuple[float, ...], bound: float, per_level: bool) -> str:
    what = (
        f"margins {levels} can be kept at most {bound:.4g} times"
        if per_level
        else (f"margin {levels[0]:g} is above {bound:.4g}, the largest that can be kept")
    )
    return (
        f"{what} by cosines over the whole tree: the loss cannot reach 0 and never stops pulling; "
        "take a smaller margin, or 'auto'"
    )


def _lexicographic(codes: Tensor) -> Tensor:
    """Give the order that sorts rows by their first column, then by the next."""
    order = torch.arange(len(codes), device=codes.device)
    for column in codes.T.flip(0):
        order = order[column[order].argsort(stable=True)]
    return order
