"""How far a figure of anomaly scores may be off, from what each clip contributes to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch
from scipy import stats
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.metrics.anomaly import check_scores, partial_auc, roc_auc

JackknifeForm = Literal["pseudo_values", "released"]
"""The jack-knife; or what the evaluators of DCASE Task 2 print, which is N - 1 times narrower."""

CONFIDENCE = 0.95


class Jackknife(NamedTuple):
    """An estimate and its 95 % interval, estimate ± half_width.

    Args:
        estimate: Corrected for bias, N θ - (N - 1) mean of θ_i.
        half_width: The 0.975-quantile of Student's t with N - 1 degrees times the standard error.
    """

    estimate: float
    half_width: float


def jackknife_interval(
    statistic: Callable[[Tensor, Tensor], float],
    normal: Tensor,
    anomalous: Tensor,
    form: JackknifeForm = "pseudo_values",
) -> Jackknife:
    """Give the jack-knife interval of a statistic of normal and anomalous scores.

    The standard error is that of the mean of the N pseudo-values N θ - (N - 1) θ_i, where θ_i
    leaves out clip i: se² = (N - 1)/N sum_i (θ_i - mean)². Mesaros et al., "Sound Event Detection
    in the DCASE 2017 Challenge", TASLP 2019, section IV.

    The evaluators of DCASE Task 2 sum the deviations of θ_i itself, not those of the pseudo-values,
    which gives an interval that is N - 1 times narrower: `"released"`, for comparison only.

    Args:
        statistic: Of (N,) normal and (M,) anomalous scores, as `roc_auc`.
        normal: (N,) scores of normal clips, N of at least 2.
        anomalous: (M,) scores of anomalies, M of at least 2.
        form: See above.

    Raises:
        UsageError: Not two vectors of two scores or more, or an unknown form.
        DataError: A score is NaN.
    """
    if form not in get_args(JackknifeForm):
        raise UsageError(f"form must be 'pseudo_values' or 'released', got {form!r}")
    normal, anomalous = check_scores(normal, "normal"), check_scores(anomalous, "anomalous")
    if min(len(normal), len(anomalous)) < 2:
        raise UsageError(
            "leaving one out needs two normal clips and two anomalies, got "
            f"{len(normal)} and {len(anomalous)}"
        )
    whole = statistic(normal, anomalous)
    parts = [statistic(_without(normal, i), anomalous) for i in range(len(normal))]
    parts += [statistic(normal, _without(anomalous, i)) for i in range(len(anomalous))]
    count = len(parts)
    left_out = torch.tensor(parts, dtype=torch.float64)
    mean = left_out.mean()
    deviation = (left_out - mean).square().sum().sqrt().item() / math.sqrt(count * (count - 1))
    error = deviation if form == "released" else (count - 1) * deviation
    quantile = float(stats.t.ppf((1.0 + CONFIDENCE) / 2.0, count - 1))
    return Jackknife(count * whole - (count - 1) * mean.item(), quantile * error)


def pooled_interval(
    normal: Tensor, anomalous: Tensor, form: JackknifeForm = "pseudo_values"
) -> float:
    """Give what evaluators print beside the official score: a mean of two half-widths.

    They are those of the AUC and of the standardised pAUC over the scores of all sections put
    together; so this is no interval of the official score itself.

    Args:
        normal: (N,) scores of the normal test clips of all sections.
        anomalous: (M,) scores of all anomalies.
        form: See `jackknife_interval`; `"released"` equals the evaluators' number.

    Returns:
        The half-width.
    """
    intervals = [jackknife_interval(s, normal, anomalous, form) for s in (roc_auc, partial_auc)]
    return sum(interval.half_width for interval in intervals) / len(intervals)


def _without(scores: Tensor, row: int) -> Tensor:
    return torch.cat([scores[:row], scores[row + 1 :]])
