"""How much nearer clips are to their own class than to the next, level by level."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tonotopy.labels import LabelTree
from tonotopy.metrics._ranking import ZERO
from tonotopy.metrics._validation import labelled_rows, to_units
from tonotopy.metrics.tree._clips import TreeClips, level_column, tree_clips
from tonotopy.metrics.tree._rankings import BLOCK


@dataclass(frozen=True)
class LevelSilhouettes:
    """Silhouettes of all levels.

    Args:
        levels: That of each level, coarse to fine; NaN where it is undefined.
        mean: Mean over the levels that have one; NaN if none has.
    """

    levels: tuple[float, ...]
    mean: float


@torch.no_grad()
def silhouette(embeddings: Tensor, labels: Tensor) -> float:
    """Give the mean silhouette of classes under the cosine distance.

    (b - a) / max(a, b) of each clip, a its mean distance 1 - cos to the others of its class and b
    the least mean distance to another class; 0 for the only clip of a class. That mean distance is
    1 - u · (mean of the class's unit vectors), so no pair is visited: O(N C D). It is
    scikit-learn's `silhouette_score` of the clamped distance matrix. Rousseeuw, 1987.

    Args:
        embeddings: (N, D) floats, not necessarily normalised.
        labels: (N,) class ids; negative = unknown, left out.

    Returns:
        -1 to 1; NaN with fewer than two classes, or where every clip is a class of its own.

    Raises:
        UsageError: Shapes do not fit.
        DataError: A labelled embedding is not finite.

    Examples:
        >>> x = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
        >>> silhouette(x, torch.tensor([0, 0, 1, 1]))
        1.0
    """
    embeddings, labels = labelled_rows(embeddings, labels)
    return _silhouette(to_units(embeddings), labels)


@torch.no_grad()
def level_silhouettes(embeddings: Tensor, codes: Tensor, tree: LabelTree) -> LevelSilhouettes:
    """Give the `silhouette` of the nodes of each level and the mean over levels.

    A level looks at the clips whose node there is known.

    Args:
        embeddings: (N, D) floats, not necessarily normalised.
        codes: (N, L) codes of `tree.encode`, partial ones allowed.
        tree: The tree.

    Raises:
        UsageError: Shapes do not fit.
        DataError: A labelled embedding is not finite.
    """
    return silhouettes_of(tree_clips(embeddings, codes, tree))


def silhouettes_of(clips: TreeClips) -> LevelSilhouettes:
    """Give the silhouettes of checked clips."""
    values = []
    for level in range(1, clips.tree.num_levels + 1):
        labels = level_column(clips.codes, level)
        known = labels >= 0
        values.append(_silhouette(clips.vectors[known], labels[known]))
    defined = [value for value in values if not math.isnan(value)]
    return LevelSilhouettes(tuple(values), sum(defined) / len(defined) if defined else math.nan)


def _silhouette(units: Tensor, labels: Tensor) -> float:
    classes, own, sizes = torch.unique(labels, return_inverse=True, return_counts=True)
    if not 2 <= len(classes) < len(labels):
        return math.nan
    sums = torch.zeros(len(classes), units.shape[1], dtype=units.dtype).index_add_(0, own, units)
    total = 0.0
    for rows in torch.split(torch.arange(len(units)), max(1, BLOCK // len(classes))):
        to_sums = units[rows] @ sums.mT
        mine = own[rows, None]
        others = sizes[own[rows]] - 1
        itself = units[rows].square().sum(dim=1)
        within = others - (to_sums.gather(1, mine)[:, 0] - itself)
        a = within / others.clamp_min(1)
        b = (1.0 - to_sums / sizes).scatter_(1, mine, torch.inf).amin(dim=1)
        # What rounding leaves of a distance of 0 is 0, on either side of it.
        a, b = (F.hardshrink(distance, ZERO).clamp_min(0.0) for distance in (a, b))
        larger = torch.maximum(a, b)
        scores = (b - a) / larger.where(larger > 0, 1.0)
        total += scores[others > 0].sum().item()
    return total / len(units)
