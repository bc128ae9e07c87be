"""Cophenetic correlation: distances of class means that are proportional to those in the tree."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy.geometry import pairwise_euclidean
from tonotopy.labels import LabelTree, lca_depth_interval
from tonotopy.losses._base import Loss, Terms
from tonotopy.losses._tree_index import TreeIndex


def class_means(z: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Give every clip the mean of its class, and let one clip stand for each class.

    Args:
        z: (B, D) embeddings.
        classes: (B,) ids, -1 = ignored.

    Returns:
        (B, D) means, 0 for ignored clips, and (B,) bool: the clip is the first of its class.
    """
    known = classes >= 0
    same = (classes[:, None] == classes) & known
    means = same.to(z.dtype) @ z / same.sum(dim=1).clamp_min(1)[:, None]
    return means, known & ~same.tril(-1).any(dim=1)


def correlation(a: Tensor, b: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Give the Pearson correlation of two quantities of pairs.

    Args:
        a: (B, B) floats, 0 or more.
        b: (B, B) floats, 0 or more.
        pairs: (B, B) bool: the entries that count.

    Returns:
        The correlation, 0 without a gradient where it is undefined because `a` or `b` is constant,
        to rounding; and bool: it is defined.
    """
    a, b = (_deviations(x, pairs) for x in (a, b))
    spreads = a.square().sum(), b.square().sum()
    noise = pairs.sum() * (16 * torch.finfo(a.dtype).eps) ** 2
    defined = (spreads[0] > noise) & (spreads[1] > noise)
    scale = (spreads[0] * spreads[1]).where(defined, 1.0).sqrt()
    return defined * (a * b).sum() / scale, defined


class CPCCLoss(Loss):
    """Make the distances of class means grow with those of the classes in the label tree.

    1 - r, r the Pearson correlation, over pairs of the leaves in the batch, of the Euclidean
    distance of their mean embeddings and the number of edges between them in the tree. It looks at
    means only and trains no classifier: add it to a loss that does. It is 1, without a gradient,
    where r is undefined since all pairs have one distance, in the tree or in the embedding, and 0
    where the batch has no two leaves. Clips with partial labels are ignored. The embeddings are
    taken as they are. Cost: O(B² D).

    Zeng, Des Combes and Zhao, "Learning Structured Representations by Embedding Class Hierarchy",
    ICLR 2023.

    Args:
        tree: The tree.

    Examples:
        >>> tree = LabelTree([("a", "x"), ("a", "y"), ("b", "z")])
        >>> codes = tree.encode([("a", "x"), ("a", "y"), ("b", "z")])
        >>> z = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0]])
        >>> CPCCLoss(tree)(z, codes).abs() < 1e-6
        tensor(True)
    """

    kind = "batch"

    def __init__(self, tree: LabelTree) -> None:
        super().__init__()
        self.index = TreeIndex(tree)

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss, the `correlation` and the number of `pairs` of leaves."""
        codes = self.index.codes(labels)
        means, first = class_means(embeddings, self.index.leaf_index(codes))
        pairs = (first[:, None] & first).triu(1)
        edges = _edges_between(codes).to(means.dtype)
        r, _ = correlation(pairwise_euclidean(means), edges, pairs)
        loss = pairs.any() * (1.0 - r)
        return loss, {"correlation": r, "pairs": pairs.sum()}


def _deviations(x: Tensor, pairs: Tensor) -> Tensor:
    """Give x over its mean, less 1, and 0 where it does not count: of no unit, so none underflows.

    The correlation does not depend on the factor, so neither does its gradient.
    """
    x = x * pairs
    number = pairs.sum().clamp_min(1)
    unit = (x.sum() / number).detach()
    x = x / unit.where(unit > 0, 1.0)
    return (x - x.sum() / number) * pairs


def _edges_between(codes: Tensor) -> Tensor:
    """Give (B, B) the number of edges between the deepest known nodes of codes."""
    shared, _ = lca_depth_interval(codes, codes)
    depth = (codes >= 0).sum(dim=1)
    return depth[:, None] + depth - 2 * shared
