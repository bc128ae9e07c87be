"""How often a classifier is right, and whether it knows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.metrics._validation import check_classes, labelled_rows


def confusion_matrix(predicted: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Count the clips of each class (row) by the class they were taken for (column).

    Args:
        predicted: (N,) class ids in [0, num_classes).
        labels: (N,) class ids; negative = ignored.
        num_classes: Number of classes C.

    Returns:
        (C, C) long counts.

    Raises:
        UsageError: Shapes do not fit, or a class id is out of range.

    Examples:
        >>> confusion_matrix(torch.tensor([0, 1, 1]), torch.tensor([0, 0, -1]), 2)
        tensor([[1, 1],
                [0, 0]])
    """
    if predicted.shape != labels.shape or labels.ndim != 1:
        raise UsageError(
            f"expected predicted (N,) and labels (N,), got {tuple(predicted.shape)} and "
            f"{tuple(labels.shape)}"
        )
    known = labels.cpu() >= 0
    predicted, labels = predicted.cpu().long()[known], labels.cpu().long()[known]
    check_classes(labels, num_classes)
    check_classes(predicted, num_classes)
    if predicted.numel() and int(predicted.min()) < 0:
        raise UsageError("every labelled clip needs a predicted class of 0 or more")
    cells = torch.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Give the share of labelled clips that are predicted right.

    Args:
        predicted: (N,) class ids.
        labels: (N,) class ids; negative = ignored.

    Returns:
        0 to 1; NaN when no clip has a label.

    Examples:
        >>> accuracy(torch.tensor([0, 1, 1]), torch.tensor([0, 0, -1]))
        0.5
    """
    known = labels >= 0
    return (predicted == labels)[known].double().mean().item()


def macro_f1(predicted: Tensor, labels: Tensor, num_classes: int) -> float:
    """Give the mean F1 over the classes that occur in `labels`.

    F1 = 2 TP / (2 TP + FP + FN). A class without a labelled clip is left out, even if it was
    predicted: scikit-learn's `f1_score(labels=np.unique(labels), average="macro")`.

    Args:
        predicted: (N,) class ids in [0, num_classes).
        labels: (N,) class ids; negative = ignored.
        num_classes: Number of classes C.

    Returns:
        0 to 1; NaN when no clip has a label.
    """
    counts = confusion_matrix(predicted, labels, num_classes).double()
    right, actual, guessed = counts.diagonal(), counts.sum(dim=1), counts.sum(dim=0)
    present = actual > 0
    return (2.0 * right / (actual + guessed))[present].mean().item()


def expected_calibration_error(
    probabilities: Tensor, labels: Tensor, *, num_bins: int = 15
) -> float:
    """Give the mean gap between confidence and accuracy over bins of confidence.

    ECE = sum_b (n_b / N) |accuracy_b - confidence_b|, the confidence being the largest
    probability. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3:
    bins have equal width and hold their upper edge, bin b = ((b - 1)/B, b/B]; a confidence of
    exactly 0 falls into the first. Of equal probabilities the first class is the prediction.

    Args:
        probabilities: (N, C) rows that sum to 1.
        labels: (N,) class ids in [0, C); negative = ignored.
        num_bins: Number of bins B. Default 15.

    Returns:
        0 to 1; NaN when no clip has a label.

    Raises:
        UsageError: Shapes do not fit, or a label is C or more.
        DataError: A probability is not finite.

    Examples:
        >>> expected_calibration_error(torch.tensor([[0.75, 0.25]]), torch.tensor([0]))
        0.25
    """
    if num_bins < 1:
        raise UsageError(f"num_bins must be at least 1, got {num_bins}")
    probabilities, labels = labelled_rows(probabilities, labels, "probabilities")
    check_classes(labels, probabilities.shape[1])
    confidence, predicted = probabilities.double().max(dim=1)
    return calibration_gap(confidence, predicted == labels, num_bins)


def calibration_gap(confidence: Tensor, right: Tensor, num_bins: int = 15) -> float:
    """Give the expected calibration error of (N,) float64 confidences and (N,) booleans."""
    edges = torch.arange(1, num_bins, dtype=torch.float64) / num_bins
    bins = torch.bucketize(confidence, edges)
    # n_b |accuracy_b - confidence_b| is the magnitude of the sum of the gaps in the bin.
    gaps = torch.zeros(num_bins, dtype=torch.float64)
    gaps.index_add_(0, bins, right.double() - confidence)
    return gaps.abs().sum().item() / len(right) if len(right) else math.nan
