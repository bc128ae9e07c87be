"""Rank-based loss: the order of the distances shall follow the order of kinship.

Nolasco and Stowell, "Rank-Based Loss for Learning Hierarchical Representations", ICASSP 2022.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tonotopy.geometry import pairwise_cosine, pairwise_euclidean, unit_vectors
from tonotopy.labels import PairRelations
from tonotopy.losses._base import Labels, PairLoss, Terms, check_choice

RankTarget = Literal["block_nearest", "block_mean", "block_first", "block_middle", "rank_index"]
RankScope = Literal["batch", "anchor"]
RankReduction = Literal["mean_all", "mean_misplaced"]
SphereDistance = Literal["cosine", "euclidean"]


EDGE_TARGETS = ("block_nearest", "block_first")
"""Targets that need no more of the sorted distances than the edges of the blocks."""


class RankBlocks(NamedTuple):
    """The sorted distances of each row and the block of places that each rank owns in them.

    Attributes:
        ordered: (R, M) ascending, unknown pairs last; None where only edges were selected.
        start: (R, K) first place of each rank.
        stop: (R, K) place after its last.
        first: (R, K) distance at the first place.
        last: (R, K) distance at the last.
    """

    ordered: Tensor | None
    start: Tensor
    stop: Tensor
    first: Tensor
    last: Tensor


def rank_based_loss(
    d: Tensor,
    ranks: Tensor,
    num_ranks: int,
    *,
    target: RankTarget = "block_nearest",
    stop_gradient: bool = True,
    reduction: RankReduction = "mean_all",
) -> tuple[Tensor, Tensor]:
    """Give the mean of (d - t)² over the pairs of a row, counting those outside their rank's block.

    The pairs of each row are sorted by distance; rank r owns the places after those of all lower
    ranks. A pair between the two distances at the edges of its block contributes 0, whatever the
    order of ties.

    Args:
        d: (R, M) distances; each row is ranked by itself.
        ranks: (R, M) ints in [0, K), 0 for the nearest kin; -1 for pairs that are left out.
        num_ranks: K.
        target: Where t lies: at the nearest edge of the block, its mean, its first or its middle
            distance; or, as published, at the 2r-th smallest distance of the row.
        stop_gradient: Whether t is a constant.
        reduction: Over all pairs, or over the misplaced ones.

    Returns:
        Scalar, 0 without pairs; and the share of misplaced pairs.
    """
    if d.shape[1] == 0:
        return d.sum(), d.new_zeros(())
    known = ranks >= 0
    index = ranks.clamp_min(0).long()
    blocks = _blocks(d, ranks, num_ranks, edges_only=stop_gradient and target in EDGE_TARGETS)
    low, high = blocks.first.detach().gather(1, index), blocks.last.detach().gather(1, index)
    misplaced = known & ((d.detach() < low) | (d.detach() > high))
    if target == "block_nearest" and stop_gradient:
        wanted = torch.where(d.detach() < low, low, high)
    else:
        wanted = _targets(d, index, blocks, target)
        wanted = wanted.detach() if stop_gradient else wanted
    # Pairs that do not count may have no block at all, whose edges are infinite.
    wanted = torch.where(misplaced, wanted, d.detach())
    error = torch.where(misplaced, d - wanted, torch.zeros_like(d)).square().sum()
    pairs, wrong = known.count_nonzero(), misplaced.count_nonzero()
    number = pairs if reduction == "mean_all" else wrong
    return error / number.clamp_min(1), wrong / pairs.clamp_min(1)


def _blocks(d: Tensor, ranks: Tensor, num_ranks: int, *, edges_only: bool) -> RankBlocks:
    counts = torch.stack([_count_rows(ranks == r) for r in range(num_ranks)], dim=1)
    stop = counts.cumsum(dim=1)
    start = stop - counts
    places = torch.cat([start, stop - 1], dim=1).clamp(0, d.shape[1] - 1)
    cpu = d.device.type == "cpu" and not torch.compiler.is_compiling()
    if edges_only and cpu and len(d) == 1:
        ordered, edges = None, _selected(d.detach(), ranks, places)
    else:
        ordered, _ = d.masked_fill(ranks < 0, torch.inf).sort(dim=1)
        edges = ordered.gather(1, places)
    return RankBlocks(ordered, start, stop, edges[:, :num_ranks], edges[:, num_ranks:])


def _count_rows(mask: Tensor) -> Tensor:
    # Counting all at once is several times as fast as along a dimension.
    return mask.count_nonzero().reshape(1) if len(mask) == 1 else mask.sum(dim=1)


def _selected(d: Tensor, ranks: Tensor, places: Tensor) -> Tensor:
    """Give the distances at some places of the sorted row, several times as fast as a sort."""
    values = d.masked_fill(ranks < 0, torch.inf).numpy()
    chosen = np.partition(values, np.unique(places.numpy()), axis=1)
    return torch.from_numpy(chosen).gather(1, places)


def _targets(d: Tensor, index: Tensor, blocks: RankBlocks, target: RankTarget) -> Tensor:
    first, last = blocks.first.gather(1, index), blocks.last.gather(1, index)
    if target == "block_nearest":
        return torch.where(d.detach() < first.detach(), first, last)
    if target == "block_first":
        return first
    assert blocks.ordered is not None, "only edges need no order"
    if target == "block_mean":
        finite = blocks.ordered.masked_fill(blocks.ordered.isinf(), 0.0)
        sums = torch.cat([torch.zeros_like(finite[:, :1]), finite.cumsum(dim=1)], dim=1)
        block_sums = sums.gather(1, blocks.stop) - sums.gather(1, blocks.start)
        means = block_sums / (blocks.stop - blocks.start).clamp_min(1)
        return means.gather(1, index)
    if target == "block_middle":
        places = (blocks.start + blocks.stop - 1) // 2
        return blocks.ordered.gather(1, places.clamp(0, d.shape[1] - 1)).gather(1, index)
    # Tree distances are even: 0 for the same leaf, 2 for siblings, ...
    return blocks.ordered.gather(1, (2 * index).clamp_max(d.shape[1] - 1))


class RankBasedLoss(PairLoss):
    """Sort the distances of the batch: nearer kin shall come before farther kin.

    With the pairs sorted by distance, those of rank r (levels of the label tree that the two do
    not share) own a block of places after all lower ranks. A pair outside its block pays
    (d - t)², t a distance of its own block. The loss is 0 where the order is right, however close
    the clusters lie, and also where all embeddings coincide: watch `misplaced` and the collapse
    monitor. Pairs whose rank is uncertain for missing labels are left out.

    A batch must hold pairs of all ranks, and more than a few: the blocks move with its
    composition. Cost: O(N² D) and a selection among N² distances.

    Args:
        target: t: `"block_nearest"` the nearest edge of the block, continuous and independent of
            ties; `"block_mean"`, `"block_first"`, `"block_middle"` of it; `"rank_index"`, the
            published rule, the 2r-th smallest distance of the batch, which draws far pairs
            together as well.
        stop_gradient: Whether t is a constant. Default True.
        distance: `"cosine"`, or `"euclidean"` between unit vectors. The order is the same.
        scope: `"batch"` sorts all pairs together; `"anchor"` the pairs of each clip.
        reduction: `"mean_all"` over all pairs whose rank is known; `"mean_misplaced"`.

    Examples:
        >>> loss = RankBasedLoss()
        >>> z = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
        >>> loss(z, torch.tensor([0, 0, 1])), loss(z, torch.tensor([0, 1, 0])) > 0
        (tensor(0.), tensor(True))
    """

    def __init__(
        self,
        *,
        target: RankTarget = "block_nearest",
        stop_gradient: bool = True,
        distance: SphereDistance = "cosine",
        scope: RankScope = "batch",
        reduction: RankReduction = "mean_all",
    ) -> None:
        super().__init__()
        choices = {
            "target": (target, RankTarget),
            "distance": (distance, SphereDistance),
            "scope": (scope, RankScope),
            "reduction": (reduction, RankReduction),
        }
        for name, (value, allowed) in choices.items():
            check_choice(name, value, allowed)
        self.target: RankTarget = target
        self.stop_gradient = stop_gradient
        self.distance: SphereDistance = distance
        self.scope: RankScope = scope
        self.reduction: RankReduction = reduction

    @classmethod
    def published(cls, *, distance: SphereDistance = "cosine") -> RankBasedLoss:
        """Make the loss of the authors' code: targets by rank index, with gradient.

        Args:
            distance: Their scripts ask for `"cosine"`; their model of TUT scenes was trained with
                `"euclidean"`.
        """
        return cls(target="rank_index", stop_gradient=False, distance=distance)

    def compute(self, embeddings: Tensor, labels: Labels) -> tuple[Tensor, Terms]:
        """Give the loss and the share of misplaced pairs."""
        relations = self.relations(labels)
        d, ranks = _pairs(unit_vectors(embeddings), relations, self.distance, self.scope)
        loss, misplaced = rank_based_loss(
            d,
            ranks,
            relations.num_levels + 1,
            target=self.target,
            stop_gradient=self.stop_gradient,
            reduction=self.reduction,
        )
        return loss, {"misplaced": misplaced}

    def extra_repr(self) -> str:
        """Say which loss it is."""
        return f"target={self.target!r}, distance={self.distance!r}, scope={self.scope!r}"


def _pairs(
    u: Tensor, relations: PairRelations, distance: SphereDistance, scope: RankScope
) -> tuple[Tensor, Tensor]:
    """Give distances and ranks, (1, pairs) or (N, N)."""
    d = 1.0 - pairwise_cosine(u) if distance == "cosine" else pairwise_euclidean(u)
    lo, hi = relations.bounds()
    ranks = (relations.num_levels - lo).where(lo == hi, -1)
    if scope == "batch":
        i, j = torch.triu_indices(len(u), len(u), 1, device=u.device)
        return d[i, j][None], ranks[i, j][None]
    itself = torch.eye(len(u), dtype=torch.bool, device=u.device)
    return d, ranks.masked_fill(itself, -1)
