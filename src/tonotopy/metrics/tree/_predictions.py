"""What predicted paths say about the nodes of each level."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tonotopy.labels import LabelTree, display_name
from tonotopy.metrics.classification import accuracy, confusion_matrix, macro_f1
from tonotopy.metrics.tree._clips import level_column

CONFUSED = range(2, 61)
"""Nodes of the levels whose confusions are counted."""

MOST = 5
"""Mistakes that are named."""


def level_scores(
    codes: Tensor, predicted: Tensor | None, tree: LabelTree, level: int
) -> dict[str, Any]:
    """Give number of nodes and clips, accuracy and macro F1 of a level."""
    nodes = nodes_at(tree, level)
    labels = level_column(codes, level)
    right, f1 = None, None
    if predicted is not None:
        guess = level_column(predicted, level)
        right = accuracy(guess, labels)
        f1 = macro_f1(_position(guess, nodes), _position(labels, nodes, -1), len(nodes) + 1)
    return {
        "level": level,
        "classes": len(nodes),
        "clips": int((labels >= 0).sum()),
        "accuracy": right,
        "macro_f1": f1,
    }


def confusions(codes: Tensor, predicted: Tensor, tree: LabelTree) -> list[dict[str, Any]]:
    """Count the clips of each true node (row) by the node they were taken for, level by level."""
    found = []
    for level in range(1, tree.num_levels + 1):
        nodes = nodes_at(tree, level)
        if len(nodes) not in CONFUSED:
            continue
        guess = _position(level_column(predicted, level), nodes)
        labels = _position(level_column(codes, level), nodes, -1)
        counts = confusion_matrix(guess, labels, len(nodes) + 1)[:-1, :-1]
        names = [display_name(tree.path(node)) for node in nodes.tolist()]
        found.append({"level": level, "names": names, "counts": counts.tolist()})
    return found


def node_entries(codes: Tensor, predicted: Tensor | None, tree: LabelTree) -> list[dict[str, Any]]:
    """Describe every node, in their order; see `evaluate_tree`."""
    entries = []
    # The deepest predicted node down to each depth: a path that ends above is named by its end.
    reached = predicted.cummax(dim=1).values if predicted is not None and tree.num_nodes else None
    for node in range(tree.num_nodes):
        level = tree.depth(node)
        mine = codes[:, level - 1] == node
        entry = {"path": list(tree.path(node)), "clips": int(mine.sum())}
        if predicted is None or reached is None:
            entries.append(entry | {"recall": None, "precision": None, "mistakes": None})
            continue
        guess, known = predicted[:, level - 1], codes[:, level - 1] >= 0
        right = int((mine & (guess == node)).sum())
        wrong = reached[mine & (guess != node), level - 1]
        taken, counts = torch.unique(wrong, return_counts=True)
        pairs = sorted(zip(taken.tolist(), counts.tolist(), strict=True), key=_most_first)[:MOST]
        entries.append(
            entry
            | {
                "recall": _share(right, int(mine.sum())),
                "precision": _share(right, int((known & (guess == node)).sum())),
                "mistakes": [[_name(other, tree), count] for other, count in pairs],
            }
        )
    return entries


def nodes_at(tree: LabelTree, level: int) -> Tensor:
    """Give the nodes of a level, ascending."""
    nodes = [node for node in range(tree.num_nodes) if tree.depth(node) == level]
    return torch.tensor(nodes, dtype=torch.long)


def _position(column: Tensor, nodes: Tensor, elsewhere: int | None = None) -> Tensor:
    """Give the place of each node among those of its level, and `elsewhere` for no node.

    By default that is one more place: an end above the level is a class of its own.
    """
    position = torch.searchsorted(nodes, column.contiguous())
    return position.where(column >= 0, len(nodes) if elsewhere is None else elsewhere)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _most_first(pair: tuple[int, int]) -> tuple[int, int]:
    return -pair[1], pair[0]


def _name(node: int, tree: LabelTree) -> str:
    return display_name(tree.path(max(node, -1)))
