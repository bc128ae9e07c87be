"""F1 of anomaly scores over thresholds: the best there is, and what an unlucky choice costs.

F1 = 2 TP / (detected + anomalies), where what scores above the threshold is detected.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy.metrics.anomaly import check_scores

MARGIN = 0.2
"""How far the bounded F1-EV goes beyond its two anchors, in deviations of the normal scores."""


class BestF1(NamedTuple):
    """The highest F1 and where it is reached.

    Args:
        f1: 0 to 1.
        threshold: The lowest of the scores that reach it, as a threshold.
    """

    f1: float
    threshold: float


def best_f1(normal: Tensor, anomalous: Tensor) -> BestF1:
    """Give the highest F1 over the thresholds at which a score lies.

    It needs anomalies, so it is a bound and no way to set a threshold.

    Args:
        normal: (N,) scores of normal clips, N of at least 1.
        anomalous: (M,) scores of anomalies, M of at least 1.

    Raises:
        UsageError: Not two vectors, or one is empty.
        DataError: A score is not finite.

    Examples:
        >>> best_f1(torch.tensor([0.0, 1.0]), torch.tensor([2.0, 3.0]))
        BestF1(f1=1.0, threshold=1.0)
    """
    normal, anomalous = _check(normal, anomalous)
    thresholds = torch.unique(torch.cat([normal, anomalous]))
    values = _f1_at(thresholds, normal, anomalous)
    best = int(values.argmax())  # the first of equals
    return BestF1(values[best].item(), thresholds[best].item())


def f1_ev(normal: Tensor, anomalous: Tensor, *, bounded: bool = False) -> float:
    """Give the mean F1 of a threshold drawn evenly from a range.

    The range is that of all scores or, bounded, from the mean of the normal scores to the best
    threshold and 0.2 of their deviation further on both sides. F1 is constant between scores, so
    the sum over them is the exact mean. Wilkinghoff and Imoto, "F1-EV Score: Measuring the
    Likelihood of Estimating a Good Decision Threshold for Semi-Supervised Anomaly Detection",
    ICASSP 2024.

    Args:
        normal: (N,) scores of normal clips, N of at least 1.
        anomalous: (M,) scores of anomalies, M of at least 1.
        bounded: Whether to leave out thresholds that nobody would choose.

    Returns:
        0 to 1; where the range is a single point, F1 there.

    Raises:
        UsageError: Not two vectors, or one is empty.
        DataError: A score is not finite.
    """
    normal, anomalous = _check(normal, anomalous)
    scores = torch.unique(torch.cat([normal, anomalous]))
    low, high = scores[0].item(), scores[-1].item()
    if bounded:
        anchors = normal.mean().item(), best_f1(normal, anomalous).threshold
        margin = MARGIN * normal.std(correction=0).item()
        low, high = min(anchors) - margin, max(anchors) + margin
    inside = scores[(scores > low) & (scores < high)]
    edges = torch.cat([scores.new_tensor([low]), inside, scores.new_tensor([high])])
    values = _f1_at(edges, normal, anomalous)
    if low == high:
        return values[0].item()
    return float((edges.diff() / (high - low) * values[:-1]).sum())


def _check(normal: Tensor, anomalous: Tensor) -> tuple[Tensor, Tensor]:
    both = check_scores(normal, "normal"), check_scores(anomalous, "anomalous")
    if not len(both[0]) or not len(both[1]):
        raise UsageError(
            f"F1 needs normal clips and anomalies, got {len(both[0])} and {len(both[1])}"
        )
    infinite = sum(int(scores.isinf().sum()) for scores in both)
    if infinite:
        raise DataError(f"{infinite} scores are infinite: a range of thresholds needs finite ones")
    return both


def _f1_at(thresholds: Tensor, normal: Tensor, anomalous: Tensor) -> Tensor:
    detected = [
        len(scores) - torch.searchsorted(scores.sort().values, thresholds, right=True)
        for scores in (normal, anomalous)
    ]
    return 2.0 * detected[1] / (detected[0] + detected[1] + len(anomalous)).double()
