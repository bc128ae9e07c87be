"""How far predicted paths are from the true ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tonotopy.labels import UNKNOWN, LabelTree
from tonotopy.metrics.tree._clips import paired_codes
from tonotopy.metrics.tree._shape import TreeShape


class HierarchicalScores(NamedTuple):
    """Agreement of the nodes on predicted and true paths.

    Attributes:
        precision: Share of the predicted nodes that are true.
        recall: Share of the true nodes that are predicted.
        f1: Their harmonic mean.
    """

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Mistakes:
    """How wrong the wrong predictions are.

    Args:
        count: Wrong predictions.
        judged: Predictions that could be judged: those of clips with a complete label.
        severity: Mean height of the lowest common ancestor of prediction and truth over the wrong
            ones; NaN without any.
        mean_lca_height: The same over all that were judged, 0 for those that are right.
    """

    count: int
    judged: int
    severity: float
    mean_lca_height: float


@torch.no_grad()
def hierarchical_scores(predicted: Tensor, codes: Tensor, tree: LabelTree) -> HierarchicalScores:
    """Give precision, recall and F1 of the sets of ancestors, summed over clips.

    hP = sum |A(pred) and A(true)| / sum |A(pred)|, hR the same over |A(true)|, A(v) being v and its
    ancestors but the root. Levels that a partial label leaves unknown are left out. It is the micro
    average over nodes as labels. Kiritchenko et al., 2006.

    Args:
        predicted: (N, L) codes of the predicted paths; a path may end early.
        codes: (N, L) codes of the true paths, partial ones allowed.
        tree: The tree.

    Returns:
        0 to 1 each; NaN where a sum is empty.

    Raises:
        UsageError: Shapes do not fit.

    Examples:
        >>> tree = LabelTree([("a", "x"), ("a", "y"), ("b", "z")])
        >>> true, guess = tree.encode([("a", "x")]), tree.encode([("a", "y")])
        >>> hierarchical_scores(guess, true, tree)
        HierarchicalScores(precision=0.5, recall=0.5, f1=0.5)
    """
    predicted, codes = paired_codes(predicted, codes, tree)
    guessed = (predicted >= 0) & (codes != UNKNOWN)
    actual = codes >= 0
    right = int(((predicted == codes) & actual).sum())
    guesses, truths = int(guessed.sum()), int(actual.sum())
    return HierarchicalScores(
        right / guesses if guesses else math.nan,
        right / truths if truths else math.nan,
        2 * right / (guesses + truths) if guesses and truths else math.nan,
    )


@torch.no_grad()
def mistakes(predicted: Tensor, codes: Tensor, tree: LabelTree) -> Mistakes:
    """Count the wrong predictions and say how far up the tree one must go to find them right.

    The height of a node is the longest way down from it to a leaf. A prediction that ends above the
    true leaf is wrong. Severity alone rewards adding easy mistakes: read it beside their number.

    Bertinetto et al., "Making Better Mistakes", CVPR 2020.

    Args:
        predicted: (N, L) codes of the predicted paths; a path may end early.
        codes: (N, L) codes of the true paths; clips without a complete label are not judged.
        tree: The tree.

    Raises:
        UsageError: Shapes do not fit.
    """
    predicted, codes = paired_codes(predicted, codes, tree)
    judged = (codes != UNKNOWN).all(dim=1) & (codes >= 0).any(dim=1)
    predicted, codes = predicted[judged], codes[judged]
    right = ((predicted == codes) | ((predicted < 0) & (codes < 0))).all(dim=1)
    heights = lca_heights(predicted, codes, tree).double()
    return Mistakes(
        count=int((~right).sum()),
        judged=len(right),
        severity=heights[~right].mean().item(),
        mean_lca_height=heights.mean().item(),
    )


def lca_heights(predicted: Tensor, codes: Tensor, tree: LabelTree) -> Tensor:
    """Give the (N,) heights of the lowest common ancestor of each predicted and true path."""
    agree = ((predicted == codes) & (codes >= 0)).long().cumprod(dim=1)
    depth = agree.sum(dim=1, keepdim=True)
    if not tree.num_levels:
        return depth[:, 0]
    node = codes.gather(1, (depth - 1).clamp_min(0)).where(depth > 0, -1)
    return TreeShape.of(tree).node_height(node[:, 0])
