"""Quadruplet loss: same class nearer than same parent, same parent nearer than the rest.

Zhang, Zhou, Lin and Zhang, "Embedding Label Structures for Fine-Grained Feature Representation",
CVPR 2016; in audio Jati et al., ICASSP 2019, and the baseline of Nolasco and Stowell, "Rank-Based
Loss for Learning Hierarchical Representations", ICASSP 2022.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.geometry import pairwise_cosine, unit_vectors
from tonotopy.labels import PairRelations
from tonotopy.losses._base import Labels, PairLoss, Terms, check_choice
from tonotopy.losses._triplet_counts import active_counts

Quadruplets = Literal["all", "rows", "released"]
QuadrupletDistance = Literal["cosine", "squared_euclidean"]


def all_quadruplets_loss(
    d: Tensor, relations: PairRelations, *, margins: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Give the mean loss over all quadruplets of a batch, without listing one.

    An anchor's first hinge does not depend on n, nor its second on p+: each is a sum over triplets
    times the number of clips that complete them.

    Args:
        d: (N, N) distances.
        relations: Of the N clips; H levels.
        margins: Of p+ against p- and of p- against n.

    Returns:
        Scalar, 0 where there is no quadruplet; and their number.
    """
    top = relations.num_levels
    lo, hi = relations.bounds()
    itself = torch.eye(len(d), dtype=torch.bool, device=d.device)
    same = (lo == top) & ~itself
    sibling = (lo == top - 1) & (hi == top - 1) if top > 1 else torch.zeros_like(same)
    other = hi < top - 1
    number = [mask.sum(dim=1, keepdim=True, dtype=torch.float64) for mask in (same, sibling, other)]
    total = torch.zeros((), dtype=torch.float64, device=d.device)
    for near, far, margin, completions in (
        (same, sibling, margins[0], number[2]),
        (sibling, other, margins[1], number[0]),
    ):
        nearer, farther = active_counts(d.detach() + margin, d.detach(), near, far)
        hinges = margin * nearer.to(d.dtype) + (nearer - farther) * d
        total = total + (completions * hinges).sum()
    quadruplets = (number[0] * number[1] * number[2]).sum()
    return (total / quadruplets.clamp_min(1.0)).to(d.dtype), quadruplets


def row_quadruplets_loss(
    d: Tensor, valid: Tensor, *, margins: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Give the mean loss over given quadruplets.

    Args:
        d: (Q, 3) distances of the anchor to p+, p- and n.
        valid: (Q,) bool.
        margins: Of p+ against p- and of p- against n.

    Returns:
        Scalar, 0 where none is valid; and their number.
    """
    first = torch.relu(d[:, 0] - d[:, 1] + margins[0])
    second = torch.relu(d[:, 1] - d[:, 2] + margins[1])
    number = valid.sum()
    return ((first + second) * valid).sum() / number.clamp_min(1), number


class QuadrupletLoss(PairLoss):
    """Order one clip of the same class, one of a sibling class and one of neither, by margins.

    Mean over quadruplets (a, p+, p-, n) of

        max(0, d(a, p+) - d(a, p-) + alpha - beta) + max(0, d(a, p-) - d(a, n) + beta)

    p+ shares all H levels of the label with the anchor, p- all but the last, n fewer, and all that
    for certain. Flat classes have no siblings, hence no loss. Cost over all quadruplets of a batch:
    O(N² log N), none is listed.

    Args:
        alpha: Margin of p+ against n. Default 0.2.
        beta: Margin of p- against n, at most alpha. Default 0.1.
        distance: `"cosine"` 1 - s, or `"squared_euclidean"` between unit vectors, 2 - 2s.
        quadruplets: `"all"` of the batch; `"rows"`: every four consecutive clips are one, and
            those whose labels do not say so are left out; `"released"`: see `published`.

    Raises:
        UsageError: alpha < beta or beta < 0; or, when called, `"rows"` of a number of clips that is
            no multiple of four.

    Examples:
        >>> codes = torch.tensor([[0, 2], [0, 2], [0, 3], [1, 4]])
        >>> QuadrupletLoss()(torch.eye(4), codes)
        tensor(0.2000)
    """

    def __init__(
        self,
        alpha: float = 0.2,
        beta: float = 0.1,
        *,
        distance: QuadrupletDistance = "cosine",
        quadruplets: Quadruplets = "all",
    ) -> None:
        super().__init__()
        if not 0.0 <= beta <= alpha < float("inf"):
            raise UsageError(f"expected 0 <= beta <= alpha, got alpha={alpha} and beta={beta}")
        check_choice("distance", distance, QuadrupletDistance)
        check_choice("quadruplets", quadruplets, Quadruplets)
        self.margins = (alpha - beta, beta)
        self.distance: QuadrupletDistance = distance
        self.quadruplets: Quadruplets = quadruplets

    @classmethod
    def published(cls) -> QuadrupletLoss:
        """Make the baseline that was released with the rank-based loss, defect included.

        Rows come as for `"rows"`, but its cosine distance compares the anchor of quadruplet k with
        p+, p- and n of every *later* quadruplet and never with its own. Labels are not looked at.
        """
        return cls(quadruplets="released")

    def compute(self, embeddings: Tensor, labels: Labels) -> tuple[Tensor, Terms]:
        """Give the loss and the number of quadruplets."""
        s = pairwise_cosine(unit_vectors(embeddings))
        d = 1.0 - s if self.distance == "cosine" else 2.0 - 2.0 * s
        relations = self.relations(labels)
        if self.quadruplets == "all":
            loss, number = all_quadruplets_loss(d, relations, margins=self.margins)
        else:
            loss, number = self._by_rows(d, relations)
        return loss, {"quadruplets": number}

    def _by_rows(self, d: Tensor, relations: PairRelations) -> tuple[Tensor, Tensor]:
        if len(d) % 4:
            raise UsageError(f"quadruplets are four clips each, got a batch of {len(d)}")
        count = len(d) // 4
        anchor = torch.arange(0, len(d), 4, device=d.device)
        if self.quadruplets == "released":
            k, later = torch.triu_indices(count, count, 1, device=d.device)
            rows = torch.stack([d[anchor[k], anchor[later] + place] for place in (1, 2, 3)], dim=1)
            valid = torch.ones(len(rows), dtype=torch.bool, device=d.device)
        else:
            rows = torch.stack([d[anchor, anchor + place] for place in (1, 2, 3)], dim=1)
            lo, hi = relations.bounds()
            top = relations.num_levels
            sibling = lo[anchor, anchor + 2] == top - 1
            valid = (lo[anchor, anchor + 1] == top) & sibling & (hi[anchor, anchor + 2] == top - 1)
            valid = valid & (hi[anchor, anchor + 3] < top - 1)
        return row_quadruplets_loss(rows, valid, margins=self.margins)

    def extra_repr(self) -> str:
        """Say which loss it is."""
        return (
            f"margins={self.margins}, distance={self.distance!r}, quadruplets={self.quadruplets!r}"
        )
