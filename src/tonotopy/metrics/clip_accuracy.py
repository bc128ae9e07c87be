"""Accuracy of clips that were cut into patches: five numbers that papers all call accuracy."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tonotopy._errors import UsageError

CLIP_ACCURACIES = (
    "accuracy_clip_micro",
    "accuracy_clip_macro",
    "accuracy_patch_micro",
    "accuracy_patch_macro",
    "accuracy_patch_weighted",
)
"""Names of the accuracies; `clip_accuracies` says what each is."""

BLOCK_VALUES = 2**22
"""Bootstrap weights held at once."""

Array = NDArray[np.float64]


class BootstrapInterval(NamedTuple):
    """A figure with its 95 % bootstrap interval.

    Args:
        value: Of the clips as they are.
        low: 2.5th percentile over the resampled clips; NaN where none were drawn.
        high: 97.5th percentile.
    """

    value: float
    low: float
    high: float


def clip_probabilities(probabilities: Tensor, owners: Tensor, num_clips: int) -> Tensor:
    """Give the mean of the probabilities of each clip's patches.

    Args:
        probabilities: (P, C) of every patch.
        owners: (P,) the clip of every patch, in [0, num_clips).
        num_clips: Number of clips N; each has at least one patch.

    Returns:
        (N, C) float64.

    Raises:
        UsageError: Shapes do not fit, or a clip has no patch.

    Examples:
        >>> p = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
        >>> clip_probabilities(p, torch.tensor([0, 0, 1]), 2)
        tensor([[0.7500, 0.2500],
                [0.0000, 1.0000]], dtype=torch.float64)
    """
    patches = _patches_of(owners, len(probabilities), num_clips)
    sums = torch.zeros(num_clips, probabilities.shape[1], dtype=torch.float64)
    sums.index_add_(0, owners, probabilities.double())
    return sums / patches[:, None]


def clip_majority(predicted: Tensor, owners: Tensor, num_clips: int, num_classes: int) -> Tensor:
    """Give the class that most patches of each clip were taken for; ties go to the lowest id.

    Args:
        predicted: (P,) class of every patch, in [0, num_classes).
        owners: (P,) the clip of every patch, in [0, num_clips).
        num_clips: Number of clips N; each has at least one patch.
        num_classes: Number of classes C.

    Returns:
        (N,) class ids.

    Raises:
        UsageError: Shapes do not fit, or a clip has no patch.

    Examples:
        >>> clip_majority(torch.tensor([2, 1, 1, 0]), torch.tensor([0, 0, 0, 1]), 2, 3)
        tensor([1, 0])
    """
    _patches_of(owners, len(predicted), num_clips)
    votes = torch.bincount(owners * num_classes + predicted, minlength=num_clips * num_classes)
    return first_largest(votes.reshape(num_clips, num_classes))


def first_largest(scores: Tensor) -> Tensor:
    """Give the column of the largest value of each row of (N, C); of equal ones the first."""
    # NumPy promises the first of equal values, PyTorch any.
    return torch.from_numpy(scores.numpy().argmax(axis=1))


@torch.no_grad()
def clip_accuracies(
    patch_predicted: Tensor,
    clip_predicted: Tensor,
    owners: Tensor,
    labels: Tensor,
    *,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, BootstrapInterval]:
    """Measure the decisions about patches and about the clips that they make up.

    With r_n = 1 where clip n is decided right, m_n its patches, of which q_n are decided right:

    - `accuracy_clip_micro`: mean of r_n over the clips;
    - `accuracy_clip_macro`: mean over the classes of the mean of r_n over the class's clips;
    - `accuracy_patch_micro`: sum q_n / sum m_n;
    - `accuracy_patch_macro`: mean over the classes of sum q_n / sum m_n over the class's clips;
    - `accuracy_patch_weighted`: sum m_n r_n / sum m_n, clip decisions weighted by their patches.
      Long clips count more; the self-supervised results of Wang et al., "Self-supervised learning
      of audio representations using angular contrastive loss", ICASSP 2023, are of this kind.

    A macro mean is over the classes that have a clip. The intervals resample clips, with all their
    patches, since the patches of one clip are anything but independent.

    Args:
        patch_predicted: (P,) class ids.
        clip_predicted: (N,) class ids.
        owners: (P,) the clip of every patch, in [0, N).
        labels: (N,) class ids; negative = unknown: the clip is left out with its patches.
        draws: Resamples of the bootstrap; 0 for none. Default 1000.
        seed: Of the resamples.

    Returns:
        The accuracies by name, 0 to 1; NaN when no clip has a label.

    Raises:
        UsageError: Shapes do not fit, a clip has no patch, or `draws` is negative.

    Examples:
        >>> found = clip_accuracies(
        ...     torch.tensor([0, 0, 1, 1]),
        ...     torch.tensor([0, 1]),
        ...     torch.tensor([0, 0, 0, 1]),
        ...     torch.tensor([0, 0]),
        ...     draws=0,
        ... )
        >>> [round(found[name].value, 3) for name in CLIP_ACCURACIES]
        [0.5, 0.5, 0.5, 0.5, 0.75]
    """
    if clip_predicted.shape != labels.shape or labels.ndim != 1:
        raise UsageError(
            f"expected clip_predicted (N,) and labels (N,), got {tuple(clip_predicted.shape)} and "
            f"{tuple(labels.shape)}"
        )
    if draws < 0:
        raise UsageError(f"draws must be 0 or more, got {draws}")
    patches = _patches_of(owners, len(patch_predicted), len(labels))
    right_patches = torch.zeros(len(labels), dtype=torch.float64)
    right_patches.index_add_(0, owners, (patch_predicted == labels[owners]).double())
    # In the order of the classes, so that a class is one stretch of clips.
    order = labels.argsort(stable=True)
    order = order[labels[order] >= 0]
    counts = np.stack(
        [
            torch.ones(len(order), dtype=torch.float64).numpy(),
            (clip_predicted == labels)[order].double().numpy(),
            patches[order].numpy(),
            right_patches[order].numpy(),
            (patches * (clip_predicted == labels))[order].numpy(),
        ]
    )
    if not len(order):
        return {name: BootstrapInterval(math.nan, math.nan, math.nan) for name in CLIP_ACCURACIES}
    known = labels[order].numpy()
    starts = np.flatnonzero(np.r_[True, known[1:] != known[:-1]])
    values = _accuracies(np.ones((1, len(order))), counts, starts)[0]
    low, high = _percentiles(counts, starts, draws, seed)
    found = zip(CLIP_ACCURACIES, values, low, high, strict=True)
    return {name: BootstrapInterval(float(v), float(a), float(b)) for name, v, a, b in found}


def _percentiles(
    counts: Array, starts: NDArray[np.int64], draws: int, seed: int
) -> tuple[Array, Array]:
    if draws == 0:
        missing = np.full(len(CLIP_ACCURACIES), math.nan)
        return missing, missing
    generator = np.random.default_rng(seed)
    clips = counts.shape[1]
    rows = max(1, BLOCK_VALUES // clips)
    parts = []
    for first in range(0, draws, rows):
        number = min(rows, draws - first)
        drawn = generator.integers(0, clips, size=(number, clips))
        drawn += np.arange(number)[:, None] * clips
        weights = np.bincount(drawn.ravel(), minlength=number * clips).reshape(number, clips)
        parts.append(_accuracies(weights.astype(np.float64), counts, starts))
    low, high = np.percentile(np.concatenate(parts), [2.5, 97.5], axis=0)
    return low, high


def _accuracies(weights: Array, counts: Array, starts: NDArray[np.int64]) -> Array:
    """Give the (draws, 5) accuracies of clips that count `weights` (draws, N) times.

    `counts` (5, N) is, of every clip, 1, whether it is right, its patches, its right patches, and
    its patches if it is right; a class's clips begin at `starts`.
    """
    clips, right, patches, right_patches, weighted = (
        np.add.reduceat(weights * row, starts, axis=1) for row in counts
    )
    present = clips > 0
    with np.errstate(invalid="ignore"):
        recall = np.where(present, right / clips, 0.0).sum(axis=1) / present.sum(axis=1)
        patch_recall = np.where(present, right_patches / patches, 0.0).sum(axis=1)
    patch_recall /= present.sum(axis=1)
    all_patches = patches.sum(axis=1)
    return np.stack(
        [
            right.sum(axis=1) / clips.sum(axis=1),
            recall,
            right_patches.sum(axis=1) / all_patches,
            patch_recall,
            weighted.sum(axis=1) / all_patches,
        ],
        axis=1,
    )


def _patches_of(owners: Tensor, num_patches: int, num_clips: int) -> Tensor:
    """Count the patches of each clip, (N,) float64; refuse owners that do not fit."""
    if owners.shape != (num_patches,):
        raise UsageError(
            f"expected one owner for each of {num_patches} patches, got {owners.shape}"
        )
    if num_patches and (int(owners.min()) < 0 or int(owners.max()) >= num_clips):
        raise UsageError(f"owners must lie in 0 to {num_clips - 1}, the clips")
    patches = torch.bincount(owners, minlength=num_clips)
    if bool((patches == 0).any()):
        raise UsageError(f"clip {int((patches == 0).nonzero()[0])} has no patch")
    return patches.double()
