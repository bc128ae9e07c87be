"""Clips in the order of a label tree, so that those of a node stand side by side."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.labels import LabelTree

ROOT = -1
"""The root is no node; its entry is the last of each table, where index -1 finds it."""


class ClipRanges:
    """The clips at or below every node, as a range of one list.

    Nodes are numbered depth first, so sorting the clips by their deepest known node puts all clips
    of a node next to each other, those known to this node only before those of its children. The
    clips without a label come first of all; they are what is known only to the root.

    Args:
        codes: (N, L) codes of `LabelTree.encode`.
        tree: The tree of L levels that they are codes of.

    Raises:
        UsageError: The codes are not of this tree, or no clip has a label.

    Attributes:
        codes: (N, L) int64.
        deepest: (N,) deepest known node of each clip, -1 where nothing is known.
        order: (N,) clips, depth first.
        start: (nodes + 1,) first place of each node in `order`.
        own_stop: (nodes + 1,) end of the clips that are known to the node and no further.
        stop: (nodes + 1,) end of all clips at or below the node.
        children: Children with clips, for each node; the root's come last.
    """

    def __init__(self, codes: Tensor, tree: LabelTree) -> None:
        if codes.is_floating_point() or codes.ndim != 2 or codes.shape[1] != tree.num_levels:
            raise UsageError(
                f"expected codes (N, {tree.num_levels}) of the tree's encode(paths), got "
                f"{tuple(codes.shape)} {codes.dtype}"
            )
        self.tree = tree
        self.codes: np.ndarray = codes.cpu().numpy().astype(np.int64)
        self.deepest = np.maximum(self.codes.max(axis=1, initial=ROOT), ROOT)
        if not (self.deepest > ROOT).any():
            raise UsageError("no clip has a label: batches by tree need labelled clips")
        if self.deepest.max() >= tree.num_nodes:
            raise UsageError(
                f"code {self.deepest.max()} is no node of this tree of {tree.num_nodes} nodes: "
                "make the codes with its own encode(paths)"
            )
        self.order = np.argsort(self.deepest, kind="stable")
        nodes = np.append(np.arange(tree.num_nodes), ROOT)
        placed = self.deepest[self.order]
        self.start = np.searchsorted(placed, nodes)
        self.own_stop = np.searchsorted(placed, nodes, side="right")
        self.stop = np.searchsorted(placed, _node_stops(tree))
        self.children = [
            [child for child in tree.children(node) if self.start[child] < self.stop[child]]
            for node in nodes.tolist()
        ]

    def __len__(self) -> int:
        return len(self.order)

    def nodes(self) -> list[int]:
        """The root and all nodes with clips, each before its children."""
        sizes = self.stop - self.start
        return [ROOT, *np.flatnonzero(sizes[:-1]).tolist()]

    def size(self, node: int) -> int:
        """Clips at or below a node."""
        return int(self.stop[node] - self.start[node])

    def own_size(self, node: int) -> int:
        """Clips known to a node and no further; all of a leaf's."""
        return int(self.own_stop[node] - self.start[node])

    def own(self, node: int) -> np.ndarray:
        """Give the clips known to a node and no further."""
        own: np.ndarray = self.order[self.start[node] : self.own_stop[node]]
        return own


def _node_stops(tree: LabelTree) -> list[int]:
    """Give, for each node, the number after that of the last node below it; the root's is last."""
    stops = list(range(1, tree.num_nodes + 1))
    for node in reversed(range(tree.num_nodes)):
        children = tree.children(node)
        if children:
            stops[node] = stops[children[-1]]
    return [*stops, tree.num_nodes]
