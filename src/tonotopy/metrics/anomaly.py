"""How well scores tell anomalies from normal clips, whatever the threshold.

Scores are higher for what looks more anomalous, and a clip is taken for an anomaly where its score
is above a threshold. Only the order of the scores counts here, so they may be infinite, not NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from tonotopy._errors import DataError, UsageError

PartialForm = Literal["mcclish", "counting"]
"""Standardised, as evaluators of DCASE compute it; or as the challenge's text defines it."""


@dataclass(frozen=True)
class RocCurve:
    """Points of a receiver operating characteristic, from nothing to everything detected.

    Args:
        false_positive_rates: (K,) float64 shares of normal clips above the threshold, ascending.
        true_positive_rates: (K,) float64 shares of anomalies above it.
        thresholds: (K,) float64, descending; the last is minus infinity, where all counts as above.
    """

    false_positive_rates: Tensor
    true_positive_rates: Tensor
    thresholds: Tensor


def roc_auc(normal: Tensor, anomalous: Tensor) -> float:
    """Give the probability that an anomaly scores above a normal clip, a tie counting half.

    The area under the ROC curve, equal to the Mann-Whitney statistic over N M.

    Args:
        normal: (N,) scores of normal clips.
        anomalous: (M,) scores of anomalies.

    Returns:
        0 to 1, 0.5 for chance; NaN where there is no normal clip or no anomaly.

    Raises:
        UsageError: Not two vectors.
        DataError: A score is NaN.

    Examples:
        >>> roc_auc(torch.tensor([0.1, 0.2]), torch.tensor([0.2, 0.9]))
        0.875
    """
    normal, anomalous = check_scores(normal, "normal"), check_scores(anomalous, "anomalous")
    if not len(normal) or not len(anomalous):
        return math.nan
    ordered = normal.sort().values
    below = torch.searchsorted(ordered, anomalous)
    not_above = torch.searchsorted(ordered, anomalous, right=True)
    return float((below + not_above).sum()) / (2.0 * len(normal) * len(anomalous))


def partial_auc(
    normal: Tensor, anomalous: Tensor, max_fpr: float = 0.1, form: PartialForm = "mcclish"
) -> float:
    """Give the area under the ROC curve where few normal clips are taken for anomalies.

    The two forms are different quantities; say which one a figure is.

    - `"mcclish"`: 0.5 (1 + (A - p²/2) / (p - p²/2)) for the area A left of p = max_fpr, the curve
      being a straight line between its points. Chance is 0.5, and less is possible. McClish,
      "Analyzing a Portion of the ROC Curve", 1989; scikit-learn's `roc_auc_score(max_fpr=p)`.
    - `"counting"`: share of the pairs of an anomaly and one of the floor(p N) highest normal scores
      where the anomaly is above. Chance is p/2.

    Args:
        normal: (N,) scores of normal clips.
        anomalous: (M,) scores of anomalies.
        max_fpr: Largest share p of normal clips, in (0, 1]. Default 0.1.
        form: See above.

    Returns:
        NaN where there is no normal clip or no anomaly, and for `"counting"` where p N is below 1.

    Raises:
        UsageError: Not two vectors, an unknown form, or `max_fpr` out of range.
        DataError: A score is NaN.
    """
    if form not in get_args(PartialForm):
        raise UsageError(f"form must be 'mcclish' or 'counting', got {form!r}")
    if not 0.0 < max_fpr <= 1.0:
        raise UsageError(f"max_fpr must be in (0, 1], got {max_fpr}")
    normal, anomalous = check_scores(normal, "normal"), check_scores(anomalous, "anomalous")
    if not len(normal) or not len(anomalous):
        return math.nan
    if form == "counting":
        return _counted(normal, anomalous, max_fpr)
    area = _area_left_of(roc_curve(normal, anomalous), max_fpr)
    chance = max_fpr**2 / 2.0
    return 0.5 * (1.0 + (area - chance) / (max_fpr - chance))


def roc_curve(normal: Tensor, anomalous: Tensor) -> RocCurve:
    """Give the ROC curve, one point for each different score and one for everything detected.

    Args:
        normal: (N,) scores of normal clips, N of at least 1.
        anomalous: (M,) scores of anomalies, M of at least 1.

    Raises:
        UsageError: Not two vectors, or one is empty.
        DataError: A score is NaN.
    """
    normal, anomalous = check_scores(normal, "normal"), check_scores(anomalous, "anomalous")
    if not len(normal) or not len(anomalous):
        raise UsageError(
            f"a ROC curve needs normal clips and anomalies, got {len(normal)} and {len(anomalous)}"
        )
    scores = torch.unique(torch.cat([normal, anomalous])).flip(0)
    # Minus infinity as a score is above no threshold, so the last point is added, not counted.
    end = scores.new_ones(1)
    fpr, tpr = (torch.cat([_share_above(x, scores), end]) for x in (normal, anomalous))
    return RocCurve(fpr, tpr, torch.cat([scores, -torch.inf * end]))


def check_scores(scores: Tensor, name: str) -> Tensor:
    """Give (N,) scores in float64 on the CPU; refuse other shapes and NaN."""
    if scores.ndim != 1:
        raise UsageError(f"expected {name} scores (N,), got {tuple(scores.shape)}")
    scores = scores.detach().cpu().double()
    missing = int(scores.isnan().sum())
    if missing:
        raise DataError(
            f"{missing} of {len(scores)} {name} scores are NaN: check the clips they come from"
        )
    return scores


def _share_above(scores: Tensor, thresholds: Tensor) -> Tensor:
    at_most = torch.searchsorted(scores.sort().values, thresholds, right=True)
    return (len(scores) - at_most).double() / len(scores)


def _area_left_of(curve: RocCurve, p: float) -> float:
    fpr, tpr = curve.false_positive_rates, curve.true_positive_rates
    inside = fpr <= p
    x, y = fpr[inside], tpr[inside]
    if not inside.all():
        after = int(inside.sum())
        slope = (tpr[after] - y[-1]) / (fpr[after] - x[-1])
        y = torch.cat([y, (y[-1] + slope * (p - x[-1])).reshape(1)])
        x = torch.cat([x, x.new_tensor([p])])
    return float(torch.trapezoid(y, x))


def _counted(normal: Tensor, anomalous: Tensor, p: float) -> float:
    highest = math.floor(p * len(normal) + 1e-9)  # 0.29 * 100 is 28.999...
    if not highest:
        return math.nan
    top = normal.sort(descending=True).values[:highest]
    return (anomalous[:, None] > top).double().mean().item()
