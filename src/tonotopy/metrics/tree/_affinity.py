"""How near two leaves of a tree are: graded relevance."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from tonotopy.metrics.tree._clips import TreeClips
from tonotopy.metrics.tree._rankings import Ranking
from tonotopy.metrics.tree._shape import TreeShape

Affinity = Literal["max", "sum"]


class PairAffinity:
    """Affinity of the leaves of two clips, 1 for the same leaf, where the labels determine it.

    With `up` and `down` the edges from the two leaves to their lowest common ancestor,
    max: 1 - max(up, down) / height(tree), and sum: 1 - (up + down) / diameter(tree). They are the
    same in a tree whose leaves are equally deep and whose diameter is twice its height.

    Args:
        clips: The clips.
        kind: "max" or "sum".
    """

    def __init__(self, clips: TreeClips, kind: Affinity) -> None:
        shape = TreeShape.of(clips.tree)
        self.low, self.high = shape.shallowest[clips.node], shape.deepest[clips.node]
        self.kind = kind
        self.longest = max(1, shape.height if kind == "max" else shape.diameter)

    def of(self, ranking: Ranking) -> tuple[Tensor, Tensor]:
        """Give (B, M) float64 affinities, 0 where not certain, and bool: it is certain."""
        low = self._edges(self.low, ranking)
        certain = (ranking.lo == ranking.hi) & (low == self._edges(self.high, ranking))
        affinity = 1.0 - low.double() / self.longest
        return affinity.masked_fill_(~certain, 0.0), certain

    def _edges(self, depth: Tensor, ranking: Ranking) -> Tensor:
        here, there = depth[ranking.queries][:, None], depth[ranking.others]
        if self.kind == "max":
            return torch.maximum(here, there) - ranking.lo
        return here + there - 2 * ranking.lo.long()
