"""A label tree as tensors: what losses look up in it for a whole batch at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.labels import UNKNOWN, LabelTree
from tonotopy.losses._targets import class_ids

ROOT = -1
"""The root is no node; its entry is the last of each table, where index -1 finds it."""


class TreeIndex(nn.Module):
    """Tables of a label tree; they move with the loss and are no part of its state.

    Nodes are numbered depth first, so what lies below a node is one range of nodes, and one of
    leaves.

    Args:
        tree: The tree, with one node at least.

    Attributes:
        num_nodes: N, without the root.
        num_leaves: C.
        num_levels: L.
        height: (N + 1,) longest way down from each node; the root's is L.
    """

    height: Tensor
    _leaf_codes: Tensor
    _leaf_of_node: Tensor
    _first_leaf: Tensor
    _leaf_stop: Tensor
    _node_stop: Tensor

    def __init__(self, tree: LabelTree) -> None:
        super().__init__()
        if tree.num_nodes == 0:
            raise UsageError("a loss over a label tree needs a tree with a node, got an empty one")
        self.num_nodes = tree.num_nodes
        self.num_leaves = tree.num_leaves
        self.num_levels = tree.num_levels
        for name, table in _tables(tree).items():
            self.register_buffer(name, table, persistent=False)

    def codes(self, labels: Tensor) -> Tensor:
        """Give (B, L) codes of labels that are codes or (B,) leaf indices, negative = unknown.

        Raises:
            UsageError: The labels have another form, or other levels than the tree.
        """
        if labels.ndim == 1:
            return self._leaf_codes[labels.clamp_min(UNKNOWN)]
        if labels.is_floating_point() or labels.shape[1] != self.num_levels:
            raise UsageError(
                f"a loss over a label tree of {self.num_levels} levels takes codes "
                f"(B, {self.num_levels}) of its tree.encode(paths), or (B,) leaf indices, got "
                f"{tuple(labels.shape)} {labels.dtype}"
            )
        return labels

    def leaf_index(self, codes: Tensor) -> Tensor:
        """Give (B,) leaf indices of codes, -1 where the leaf is not known."""
        return self._leaf_of_node[class_ids(codes)]

    def deepest(self, codes: Tensor) -> Tensor:
        """Give (B,) the deepest known node of codes, -1 where nothing is known."""
        return codes.amax(dim=1).clamp_min(ROOT)  # a node's number is above its ancestors'

    def on_path(self, codes: Tensor) -> Tensor:
        """Give (B, N) bool: the node is the deepest known one or above it."""
        nodes = codes.where(codes >= 0, self.num_nodes)
        path = torch.zeros(
            len(codes), self.num_nodes + 1, dtype=torch.bool, device=codes.device
        ).scatter(1, nodes, True)
        return path[:, :-1]

    def unknown(self, codes: Tensor) -> Tensor:
        """Give (B, N) bool: the node is below the deepest known one, so it may hold or not."""
        deepest = self.deepest(codes)[:, None]
        node = torch.arange(self.num_nodes, device=codes.device)
        return (node > deepest) & (node < self._node_stop[deepest])

    def leaves_under(self, codes: Tensor) -> Tensor:
        """Give (B, L, C) bool: the leaf is at or below the code's node; negative codes: all are."""
        node = codes.clamp_min(ROOT)[:, :, None]
        leaf = torch.arange(self.num_leaves, device=codes.device)
        return (leaf >= self._first_leaf[node]) & (leaf < self._leaf_stop[node])

    def lca_height(self, codes: Tensor) -> Tensor:
        """Give (B, C) the height of the lowest common ancestor of the code's node and each leaf."""
        node_height = self.height[codes.clamp_min(ROOT)][:, :, None]  # falls along the path
        return node_height.where(self.leaves_under(codes), self.num_levels).amin(dim=1)


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Give sum w v / sum w over the first dimension; 0, attached to the graph, where no w is."""
    total = weights.sum(dim=0)
    return (weights * values).sum(dim=0) / total.where(total > 0, 1.0)


def _tables(tree: LabelTree) -> dict[str, Tensor]:
    nodes = tree.num_nodes
    order = {leaf: index for index, leaf in enumerate(tree.leaves)}
    leaf_of_node = [order.get(node, UNKNOWN) for node in range(nodes)]
    height = [0] * nodes
    node_stop = [node + 1 for node in range(nodes)]
    leaf_stop = [index + 1 for index in leaf_of_node]
    first_leaf = list(leaf_of_node)
    for node in reversed(range(nodes)):  # children before their parents
        children = tree.children(node)
        if children:
            height[node] = 1 + max(height[child] for child in children)
            first_leaf[node] = first_leaf[children[0]]
            leaf_stop[node] = leaf_stop[children[-1]]
            node_stop[node] = node_stop[children[-1]]
    codes = tree.encode([*(tree.path(leaf) for leaf in tree.leaves), ()])
    return {
        "height": torch.tensor([*height, tree.num_levels]),
        "_leaf_codes": codes,
        "_leaf_of_node": torch.tensor([*leaf_of_node, UNKNOWN]),
        "_first_leaf": torch.tensor([*first_leaf, 0]),
        "_leaf_stop": torch.tensor([*leaf_stop, tree.num_leaves]),
        "_node_stop": torch.tensor([*node_stop, nodes]),
    }
