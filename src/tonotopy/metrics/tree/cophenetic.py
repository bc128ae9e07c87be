"""Whether distances of class means follow the tree: cophenetic correlation."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tonotopy.labels import LabelTree
from tonotopy.labels.pairs import shared_prefix
from tonotopy.metrics._ranking import ZERO
from tonotopy.metrics.tree._clips import TreeClips, tree_clips
from tonotopy.metrics.tree._rankings import BLOCK

NOISE = 1e-9
"""A deviation below this share of the mean is rounding."""


@torch.no_grad()
def cophenetic_correlation(embeddings: Tensor, codes: Tensor, tree: LabelTree) -> float:
    """Give the correlation of the distances of leaves in the embedding and in the tree.

    Pearson's r, over pairs of leaves that have a clip, of the Euclidean distance of their mean unit
    vectors and the number of edges between them. Clips with partial labels are left out.

    Zeng, Des Combes and Zhao, "Learning Structured Representations by Embedding Class Hierarchy",
    ICLR 2023; there the embeddings are not normalised.

    Args:
        embeddings: (N, D) floats, not necessarily normalised.
        codes: (N, L) codes of `tree.encode`.
        tree: The tree.

    Returns:
        -1 to 1; NaN where all pairs have one distance, in the tree or in the embedding.

    Raises:
        UsageError: Shapes do not fit.
        DataError: A labelled embedding is not finite.
    """
    return correlation_of(tree_clips(embeddings, codes, tree))


def correlation_of(clips: TreeClips) -> float:
    """Give the cophenetic correlation of checked clips."""
    known = clips.complete
    names, own, sizes = torch.unique(clips.node[known], return_inverse=True, return_counts=True)
    if len(names) < 3:
        return math.nan
    leaves = clips.codes.new_empty(len(names), clips.tree.num_levels)
    leaves[own] = clips.codes[known]
    means = torch.zeros(len(leaves), clips.vectors.shape[1], dtype=torch.float64)
    means.index_add_(0, own, clips.vectors[known])
    means /= sizes[:, None]
    depth = (leaves >= 0).sum(dim=1)
    distances, edges = [], []
    for rows in torch.split(torch.arange(len(leaves)), max(1, BLOCK // len(leaves))):
        shared = shared_prefix(leaves[rows], leaves)[0]
        later = rows[:, None] < torch.arange(len(leaves))
        # Differences and no Gram matrix, which loses the digits of small distances.
        exact = "donot_use_mm_for_euclid_dist"
        apart = torch.cdist(means[rows], means, compute_mode=exact)[later]
        # What rounding leaves of equal means is no distance.
        distances.append(F.hardshrink(apart, ZERO))
        edges.append((depth[rows, None] + depth - 2 * shared.long())[later])
    a, b = (_deviations(torch.cat(parts).double()) for parts in (distances, edges))
    scale = a.square().sum() * b.square().sum()
    return (a @ b / scale.sqrt()).item() if scale > 0 else math.nan


def _deviations(x: Tensor) -> Tensor:
    """Give x less its mean; what rounding leaves of a constant is 0."""
    mean = x.mean()
    deviations = x - mean
    return torch.zeros_like(x) if deviations.abs().max() <= NOISE * mean.abs() else deviations
