"""Weights that let rare nodes of a label tree count as much as common ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.labels import LabelTree
from tonotopy.losses._base import check_not_negative


class CountWeighted(ABC):
    """A loss whose weights follow from how often each node occurs."""

    @abstractmethod
    def set_counts(self, counts: Sequence[int]) -> None:
        """Set the weights from counts of all nodes, as `tree.counts(paths)` gives them."""


def node_class_weights(tree: LabelTree, counts: Sequence[int]) -> list[float]:
    """Give the weight of every node in a cross-entropy over its level: (1/k) / sum of 1/k.

    Args:
        tree: The tree.
        counts: k, clips at or below each node, as `tree.counts(paths)` gives them.

    Returns:
        N weights that sum to 1 in each level; 0 for a node without clips, of which no clip asks.

    Raises:
        UsageError: There is not one count of 0 or more for each node.

    Examples:
        >>> tree = LabelTree([("a", "x"), ("a", "y"), ("b",)])
        >>> counts = tree.counts([("a", "x"), ("a", "x"), ("a", "y"), ("b",)])
        >>> [round(weight, 3) for weight in node_class_weights(tree, counts)]
        [0.25, 0.333, 0.667, 0.75]
    """
    inverse = _inverse(tree, counts)
    depth = [tree.depth(node) for node in range(tree.num_nodes)]
    totals = [0.0] * (tree.num_levels + 1)
    for node, value in enumerate(inverse):
        totals[depth[node]] += value
    return [value / (totals[d] or 1.0) for value, d in zip(inverse, depth, strict=True)]


def leaf_class_weights(tree: LabelTree, counts: Sequence[int]) -> list[float]:
    """Give the weight of every leaf in a cross-entropy over the leaves: (1/k) / sum of 1/k.

    Args:
        tree: The tree.
        counts: k, clips at or below each node, as `tree.counts(paths)` gives them.

    Returns:
        C weights, in the order of `tree.leaves`, that sum to 1; 0 for a leaf without clips.

    Raises:
        UsageError: There is not one count of 0 or more for each node.
    """
    inverse = _inverse(tree, counts)
    total = sum(inverse[leaf] for leaf in tree.leaves) or 1.0
    return [inverse[leaf] / total for leaf in tree.leaves]


def node_positive_weights(tree: LabelTree, counts: Sequence[int]) -> list[float]:
    """Give the weight of every node's positives in `NodeBCELoss`: (K - k)/k.

    Args:
        tree: The tree.
        counts: k, clips at or below each node, as `tree.counts(paths)` gives them. K is their sum
            over the top level: all clips of which anything is known.

    Returns:
        N weights; 0 for a node without clips, of which no clip asks, and for one that all are in.

    Raises:
        UsageError: There is not one count of 0 or more for each node.
    """
    inverse = _inverse(tree, counts)
    total = sum(counts[node] for node in tree.children(-1))
    return [(total - k) * value for k, value in zip(counts, inverse, strict=True)]


def as_weights(name: str, weights: Sequence[float] | Tensor | None, number: int) -> Tensor | None:
    """Give weights as a float tensor, or None; raise `UsageError` unless they fit."""
    if weights is None:
        return None
    table = torch.as_tensor(weights)
    if table.shape != (number,):
        raise UsageError(f"{name} must be {number} numbers, got {tuple(table.shape)}")
    check_not_negative(name, *table.tolist())
    return table if table.is_floating_point() else table.to(torch.get_default_dtype())


def _inverse(tree: LabelTree, counts: Sequence[int]) -> list[float]:
    if len(counts) != tree.num_nodes:
        raise UsageError(
            f"expected a count for each of the {tree.num_nodes} nodes, as tree.counts(paths) gives "
            f"them, got {len(counts)}"
        )
    check_not_negative("counts", *counts)
    return [1.0 / k if k else 0.0 for k in counts]
