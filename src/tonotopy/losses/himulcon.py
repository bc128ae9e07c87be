"""Hierarchical multi-label contrastive loss: a supervised contrastive loss at every level.

Zhang et al., "Use All the Labels: A Hierarchical Multi-Label Contrastive Learning Framework",
CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.geometry import unit_vectors
from tonotopy.labels import PairRelations
from tonotopy.losses._base import Labels, PairLoss, Terms, check_choice, check_not_negative
from tonotopy.losses._row_blocks import (
    RowStatistics,
    contrastive_means,
    map_row_blocks,
    pair_masks,
    row_statistics,
)
from tonotopy.losses.supcon import check_temperature

Constraint = Literal["level", "pair"]


def level_losses(
    u: Tensor, relations: PairRelations, *, scale: float, constraint: Constraint | None = None
) -> Tensor:
    """Give the supervised contrastive loss of each level.

    Args:
        u: (N, D) unit vectors.
        relations: Of the N clips; H levels.
        scale: 1/temperature.
        constraint: None; `"level"`: no level costs less than a finer one; `"pair"`: no pair costs
            less than the costliest pair of any finer level.

    Returns:
        (H,) coarse to fine; 0 for a level without positives.
    """
    factor = torch.full((), scale, dtype=u.dtype, device=u.device)
    statistics = row_statistics(u, relations, factor, by_level=True)
    if constraint == "pair":
        return _pair_constrained(u, relations, statistics, scale)
    means = contrastive_means(statistics, factor)
    if constraint == "level":
        return means.flip(0).cummax(dim=0).values.flip(0)
    return means


def _pair_constrained(
    u: Tensor, relations: PairRelations, statistics: RowStatistics, scale: float
) -> Tensor:
    lse, _, counts = statistics

    def farthest(s: Tensor, rows: slice) -> Tensor:
        masks = pair_masks(relations, rows, by_level=True)
        # A column more, as an empty batch has no least cosine.
        lowest = [
            F.pad(s.masked_fill(~positive, torch.inf), (0, 1), value=torch.inf).amin(dim=1)
            for positive, _ in masks
        ]
        return torch.stack(lowest, dim=1)

    least = map_row_blocks(farthest, u)
    anchors = counts > 0
    costs = torch.where(anchors, lse - scale * torch.where(anchors, least, 0.0), -torch.inf)
    costliest = F.pad(costs, (0, 0, 0, 1), value=-torch.inf).amax(dim=0)
    finer = F.pad(costliest[1:], (0, 1), value=-torch.inf)
    floors = finer.flip(0).cummax(dim=0).values.flip(0)

    def raised(s: Tensor, rows: slice, lse: Tensor, floors: Tensor) -> Tensor:
        sums = []
        for level, (positive, _) in enumerate(pair_masks(relations, rows, by_level=True)):
            column = slice(level, level + 1)
            pairs = torch.maximum(lse[:, column] - scale * s, floors[:, column])
            sums.append(pairs.masked_fill(~positive, 0.0).sum(dim=1))
        return torch.stack(sums, dim=1)

    sums = map_row_blocks(raised, u, lse, floors.expand_as(lse))
    return (sums / counts.clamp_min(1.0)).sum(dim=0) / anchors.sum(dim=0).clamp_min(1)


class HiMulConLoss(PairLoss):
    """Contrast clips at every level of a label tree, with finer levels weighing more.

    Formula: with P_l(i) the clips that share level l with i, and weights lambda_l,

        (1/H) sum over l of lambda_l · mean over i of mean over p in P_l(i) of
            -log( exp(s_ip / temperature) / sum over a of exp(s_ia / temperature) )

    Clips without positives at a level are no anchors there. With partial labels, a level counts the
    pairs that certainly share it as positives; the sum runs over those and the pairs that certainly
    do not share it, and pairs that may are left out. Labels are codes of `LabelTree.encode`; with
    class ids there is one level. Its memory is O(B D).

    Zhang et al., "Use All the Labels: A Hierarchical Multi-Label Contrastive Learning Framework",
    CVPR 2022: HiMulCon without a constraint, HiMulConE with `constraint="pair"`.

    Args:
        temperature: Difference of cosines that makes one clip e times as likely as another. Above
            0. Default 0.1.
        constraint: None; `"level"` raises the loss of a level to the largest of the finer levels;
            `"pair"` raises that of every pair to the largest of any pair of a finer level.
        level_weights: lambda of each level, coarse to fine, 0 or more. Default: 2^(1/k), where
            k = 1 is the finest level.

    Raises:
        UsageError: An argument is out of range; when called: not one weight for each level.

    Examples:
        >>> from tonotopy.labels import LabelTree
        >>> paths = [("bird", "owl"), ("bird", "owl"), ("bird", "pipit"), ("frog", "toad")]
        >>> loss = HiMulConLoss(temperature=0.5)
        >>> loss(torch.eye(4), LabelTree.from_paths(paths).encode(paths))
        tensor(1.8754)
    """

    def __init__(
        self,
        temperature: float = 0.1,
        *,
        constraint: Constraint | None = None,
        level_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        check_temperature(temperature)
        if constraint is not None:
            check_choice("constraint", constraint, Constraint)
        if level_weights is not None:
            check_not_negative("level_weights", *level_weights)
        self.temperature = temperature
        self.constraint: Constraint | None = constraint
        self.level_weights = None if level_weights is None else tuple(level_weights)

    @classmethod
    def published(cls, temperature: float = 0.1) -> HiMulConLoss:
        """Make the loss of the authors' code, for comparison: the constraint is on whole levels.

        Their code also drops all but one clip of a group after each level; that is left out.
        """
        return cls(temperature, constraint="level")

    def compute(self, embeddings: Tensor, labels: Labels) -> tuple[Tensor, Terms]:
        """Give the loss and, as `level_1` (coarse) and so on, that of each level, unweighted."""
        relations = self.relations(labels)
        losses = level_losses(
            unit_vectors(embeddings),
            relations,
            scale=1.0 / self.temperature,
            constraint=self.constraint,
        )
        weights = losses.new_tensor(self._weights(relations.num_levels))
        terms = {f"level_{level}": value for level, value in enumerate(losses.unbind(), start=1)}
        return (weights * losses).mean(), terms

    def extra_repr(self) -> str:
        """Say which loss it is."""
        return f"temperature={self.temperature}, constraint={self.constraint!r}"

    def _weights(self, levels: int) -> tuple[float, ...]:
        if self.level_weights is None:
            return tuple(2.0 ** (1.0 / k) for k in range(levels, 0, -1))
        if len(self.level_weights) != levels:
            raise UsageError(
                f"level_weights must be one number a level, coarse to fine: the labels have "
                f"{levels} levels, got {len(self.level_weights)} weights"
            )
        return self.level_weights
