"""What labels say to a flat loss: one class id a clip, or one row of class weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.labels import UNKNOWN


def class_ids(labels: Tensor) -> Tensor:
    """Give one int a clip, equal exactly where two clips are known to be of one class.

    Args:
        labels: (B,) class ids, any negative = ignored; or (B, L) codes: the class is the whole
            path, so a partial or empty one is ignored; or (B, C) float targets: the class is that
            of the largest, and a row of zeros is ignored.

    Returns:
        (B,) long ids, -1 = ignored. Ids of codes are node ids.
    """
    if labels.is_floating_point():
        return torch.where(labels.sum(dim=1) > 0, labels.argmax(dim=1), UNKNOWN)
    if labels.ndim == 1:
        return labels.clamp_min(UNKNOWN)
    depth = (labels >= 0).sum(dim=1, keepdim=True)
    leaf = labels.gather(1, (depth - 1).clamp_min(0)).squeeze(1)
    complete = (labels != UNKNOWN).all(dim=1)
    return torch.where(complete, leaf, UNKNOWN).clamp_min(UNKNOWN)


def class_weights(labels: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
    """Give the target distribution of every clip over the classes.

    Args:
        labels: (B,) class ids in [0, C), negative = ignored; or (B, C) float targets.
        num_classes: Number of classes C.
        dtype: Of the result.

    Returns:
        (B, C) rows that sum to 1, or to 0 for ignored clips.

    Raises:
        UsageError: Codes of a tree, or targets for another number of classes.
    """
    if labels.is_floating_point():
        if labels.ndim != 2 or labels.shape[1] != num_classes:
            raise UsageError(
                f"soft targets must be (B, {num_classes}), one column a class, "
                f"got {tuple(labels.shape)}"
            )
        return labels.to(dtype)
    if labels.ndim != 1:
        raise UsageError(
            "a loss with one output a class takes (B,) class ids or (B, C) float targets, got "
            f"{tuple(labels.shape)} integers; for codes of a tree pass tree.leaf_index(paths)"
        )
    known = (labels >= 0).unsqueeze(1)
    return F.one_hot(labels.clamp_min(0), num_classes).to(dtype) * known


def mean_over_labelled(values: Tensor, weights: Tensor) -> Tensor:
    """Average per-clip values over the clips that have a label.

    Args:
        values: (B,) floats.
        weights: (B, C) rows of `class_weights`.

    Returns:
        Scalar; 0 attached to the graph when no clip has a label.
    """
    labelled = (weights.sum(dim=1) > 0).to(values.dtype)
    return (values * labelled).sum() / labelled.sum().clamp_min(1.0)
