"""Coherent probabilities of the nodes of a label tree, and where they lead."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.labels.tree import NO_LEVEL, LabelTree

Reading = Literal["leaves", "levels", "nodes"]
"""How logits become probabilities: a softmax over the C leaves, a softmax over the nodes of each
level, or a sigmoid of each node."""


class _Tables(NamedTuple):
    """The tree as tensors; N stands for the root, which is the last column where there is one."""

    parent: Tensor  # (N,)
    levels: tuple[Tensor, ...]  # nodes of each depth
    on_path: Tensor  # (C, N) whether a node is a leaf or above it


@torch.no_grad()
def node_probabilities(logits: Tensor, tree: LabelTree, reading: Reading) -> Tensor:
    """Give the probability of every node; a child is never likelier than its parent.

    Leaves: the softmax, summed upwards. Levels: top-down, the probability of the parent shared out
    among its children by the softmax over them, which is what a softmax over the level says of
    siblings. Nodes: the least sigmoid on the way down; what no child explains remains unexplained,
    so children may sum to less than their parent.

    Args:
        logits: (B, C) or (B, N) floats, in the order of `tree.leaves` or of the nodes.
        tree: The tree of N nodes and C leaves.
        reading: What the logits are.

    Returns:
        (B, N) float32 or float64.

    Raises:
        UsageError: There is not one logit for each leaf or node.

    Examples:
        >>> tree = LabelTree([("a", "x"), ("a", "y"), ("b",)])  # nodes a, a/x, a/y, b
        >>> node_probabilities(torch.zeros(1, 3), tree, "leaves").mul(3).round().tolist()
        [[2.0, 1.0, 1.0, 1.0]]
        >>> node_probabilities(torch.zeros(1, 4), tree, "levels").tolist()
        [[0.5, 0.25, 0.25, 0.5]]
    """
    wanted = tree.num_leaves if reading == "leaves" else tree.num_nodes
    if logits.ndim != 2 or logits.shape[1] != wanted:
        what = "leaves" if reading == "leaves" else "nodes"
        raise UsageError(
            f"expected a logit for each of the {wanted} {what} of the tree, got "
            f"{tuple(logits.shape)}"
        )
    tables = _tables(tree)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if reading == "leaves":
        given = logits.softmax(dim=1) @ tables.on_path.to(logits)
    elif reading == "levels":
        given = _sibling_softmax(logits, tables.parent.to(logits.device))
    else:
        given = logits.sigmoid()
    return _from_the_top(given, tables, multiply=reading == "levels")


def decode_paths(probabilities: Tensor, tree: LabelTree) -> Tensor:
    """Go from the top to the likeliest child, down to a leaf.

    Args:
        probabilities: (B, N) of `node_probabilities`.
        tree: Its tree.

    Returns:
        (B, L) codes of the paths, as `tree.encode` gives them for complete labels.
    """
    tables = _tables(tree)
    parent = tables.parent.to(probabilities.device)
    at = torch.full((len(probabilities),), tree.num_nodes, device=probabilities.device)
    codes = []
    for _ in range(tree.num_levels):
        children = parent == at[:, None]
        best = probabilities.masked_fill(~children, -1.0).argmax(dim=1)
        best = best.where(children.any(dim=1), NO_LEVEL)
        codes.append(best)
        at = best  # nothing is below NO_LEVEL
    if not codes:
        return torch.empty(len(probabilities), 0, dtype=torch.long)
    return torch.stack(codes, dim=1)


def path_probabilities(probabilities: Tensor, codes: Tensor) -> Tensor:
    """Give the probability of each node on a path, (B, L); 0 where there is no level."""
    found = probabilities.gather(1, codes.clamp_min(0))
    return found.where(codes >= 0, 0.0)


def stopping_depth(probabilities: Tensor, codes: Tensor, threshold: float) -> Tensor:
    """Give the depth of the deepest node on a decoded path that is likely enough.

    Args:
        probabilities: (B, N) of `node_probabilities`.
        codes: (B, L) of `decode_paths`.
        threshold: The least probability. From 0.5 on, no node off the path reaches it.

    Returns:
        (B,) depths; 0 for the root, where not even the top level is sure.

    Raises:
        UsageError: The threshold is not in (0, 1].
    """
    if not 0.0 < threshold <= 1.0:
        raise UsageError(f"threshold must be above 0 and at most 1, got {threshold}")
    return (path_probabilities(probabilities, codes) >= threshold).sum(dim=1)


def _sibling_softmax(logits: Tensor, parent: Tensor) -> Tensor:
    groups = parent.expand_as(logits)
    empty = logits.new_full((len(logits), len(parent) + 1), -torch.inf)
    top = empty.scatter_reduce(1, groups, logits, "amax").gather(1, groups)
    raised = (logits - top).exp()
    total = torch.zeros_like(empty).scatter_add(1, groups, raised)
    return raised / total.gather(1, groups)


def _from_the_top(given: Tensor, tables: _Tables, multiply: bool) -> Tensor:
    """Bound every node by its parent, or multiply it with it; the root has probability 1."""
    parent = tables.parent.to(given.device)
    result = torch.cat([given, given.new_ones(len(given), 1)], dim=1)
    for nodes in tables.levels:
        above = result[:, parent[nodes]]
        own = result[:, nodes]
        result[:, nodes] = own * above if multiply else torch.minimum(own, above)
    return result[:, :-1]


@lru_cache(maxsize=8)
def _tables(tree: LabelTree) -> _Tables:
    root = tree.num_nodes
    parents = [tree.parent(node) for node in range(root)]
    depth = torch.tensor([tree.depth(node) for node in range(root)])
    on_path = torch.zeros(tree.num_leaves, root, dtype=torch.bool)
    for row, leaf in enumerate(tree.leaves):
        node = leaf
        while node >= 0:
            on_path[row, node] = True
            node = parents[node]
    return _Tables(
        torch.tensor([root if node < 0 else node for node in parents], dtype=torch.long),
        tuple((depth == level + 1).nonzero().flatten() for level in range(tree.num_levels)),
        on_path,
    )
