"""Accuracy where some labels are surer than others."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.metrics._validation import check_classes, labelled_rows
from tonotopy.metrics.classification import calibration_gap


@dataclass(frozen=True)
class ConfidenceScores:
    """How right a classifier is by labels of different confidence; NaN where there is none.

    Attributes:
        verified: Clips whose label is sure, confidence 1.
        unverified: All others.
        accuracy_verified: Share of the verified clips that are predicted as labelled.
        accuracy_unverified: The same of the others, whose labels may be wrong: high values on
            training clips mean that wrong labels were learnt by heart.
        accuracy_weighted: sum c_i right_i / sum c_i with the confidences c; with confidences of 0
            and 1 it is `accuracy_verified`.
        ece_verified: Expected calibration error on the verified clips.
        ece_unverified: The same on the others.
    """

    verified: int
    unverified: int
    accuracy_verified: float
    accuracy_unverified: float
    accuracy_weighted: float
    ece_verified: float
    ece_unverified: float


def confidence_scores(
    probabilities: Tensor, labels: Tensor, confidence: Tensor
) -> ConfidenceScores:
    """Judge predictions apart by how sure the labels are.

    Args:
        probabilities: (N, C) rows that sum to 1.
        labels: (N,) class ids in [0, C); negative = ignored.
        confidence: (N,) confidence in each label, from 0 to 1, or booleans: 1 is verified.

    Raises:
        UsageError: Shapes do not fit, a label is C or more, or a confidence is not in 0 to 1.
        DataError: A probability is not finite.

    Examples:
        >>> says = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> confidence_scores(says, torch.tensor([0, 1, 1]), torch.tensor([1.0, 0.5, 0.5]))
        ... # doctest: +ELLIPSIS
        ConfidenceScores(verified=1, unverified=2, accuracy_verified=1.0, accuracy_unverified=0.5, \
accuracy_weighted=0.75, ...)
    """
    if confidence.shape != labels.shape:
        raise UsageError(
            f"expected one confidence for each of {len(labels)} labels, got "
            f"{tuple(confidence.shape)}"
        )
    sure = confidence.detach().cpu().double()[labels.cpu() >= 0]
    if not ((sure >= 0.0) & (sure <= 1.0)).all():
        raise UsageError(f"confidences must lie in 0 to 1, got {sure.tolist()[:5]} and so on")
    probabilities, labels = labelled_rows(probabilities, labels, "probabilities")
    check_classes(labels, probabilities.shape[1])
    top, predicted = probabilities.double().max(dim=1)
    right, verified = predicted == labels, sure == 1.0
    total = sure.sum().item()
    return ConfidenceScores(
        verified=int(verified.sum()),
        unverified=int((~verified).sum()),
        accuracy_verified=_share(right[verified]),
        accuracy_unverified=_share(right[~verified]),
        accuracy_weighted=(sure * right).sum().item() / total if total else math.nan,
        ece_verified=calibration_gap(top[verified], right[verified]),
        ece_unverified=calibration_gap(top[~verified], right[~verified]),
    )


def _share(right: Tensor) -> float:
    return torch.mean(right.double()).item()
