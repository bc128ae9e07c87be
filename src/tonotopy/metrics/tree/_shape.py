"""Depths and heights of the nodes of a label tree."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tonotopy.labels import LabelTree


@dataclass(frozen=True)
class TreeShape:
    """Where the nodes of a tree stand.

    Args:
        depth: (V,) depth of each node; 1 is the coarsest level.
        shallowest: (V,) depth of the shallowest leaf at or below each node.
        deepest: (V,) depth of the deepest leaf at or below each node.
        height: Of the tree: depth of its deepest leaf.
        diameter: Edges between the two leaves that are farthest apart.
    """

    depth: Tensor
    shallowest: Tensor
    deepest: Tensor
    height: int
    diameter: int

    @classmethod
    def of(cls, tree: LabelTree) -> TreeShape:
        """Measure a tree."""
        nodes = range(tree.num_nodes)
        depth = [tree.depth(node) for node in nodes]
        shallowest, deepest = depth.copy(), depth.copy()
        diameter = 0
        # Nodes come before their children, so this meets children first; -1 is the root.
        for node in range(tree.num_nodes - 1, -2, -1):
            below = tree.children(node)
            if not below:
                continue
            far = sorted(deepest[child] for child in below)
            if len(far) > 1:
                diameter = max(diameter, far[-1] + far[-2] - 2 * tree.depth(node))
            if node >= 0:
                shallowest[node] = min(shallowest[child] for child in below)
                deepest[node] = far[-1]
        return cls(
            torch.tensor(depth, dtype=torch.long),
            torch.tensor(shallowest, dtype=torch.long),
            torch.tensor(deepest, dtype=torch.long),
            tree.num_levels,
            diameter,
        )

    def node_height(self, nodes: Tensor) -> Tensor:
        """Give the longest way down from each node to a leaf; -1 stands for the root."""
        if not len(self.depth):
            return torch.zeros_like(nodes)
        below = (self.deepest - self.depth)[nodes.clamp_min(0)]
        return below.where(nodes >= 0, self.height)
