"""Where a score becomes an alarm, from scores of normal clips alone.

Calibration scores must be of clips that the scorer has not seen, for instance its leave-one-out
scores: a reference that is compared with itself scores too low.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy.detection._score_tails import GammaTail, ParetoTail, Tail

ThresholdMethod = Literal["conformal", "gamma", "pareto"]
"""Rank among the scores; a gamma distribution of them; a generalised Pareto tail on the rest."""

_SLACK = 1e-9
"""Products such as 0.05 * 20 may miss their integer by rounding."""


@dataclass(frozen=True)
class Threshold:
    """A threshold with the scores that it comes from.

    Args:
        method: How it was set.
        false_alarm_rate: Rate of false alarms on normal clips that it was set for.
        value: Alarm above it; infinite where the scores are too few for any alarm.
        scores: Calibration scores, ascending.
        guarantee: What is known of its false alarms, in words.
        parameters: Of the fitted distribution; empty for `"conformal"`.

    Examples:
        >>> threshold = fit_threshold(torch.arange(19.0), false_alarm_rate=0.1)
        >>> threshold.value
        17.0
        >>> threshold.exceeded(torch.tensor([17.0, 17.1])).tolist()
        [False, True]
        >>> threshold.p_values(torch.tensor([17.0, 17.1, -1.0])).tolist()
        [0.15, 0.1, 1.0]
    """

    method: ThresholdMethod
    false_alarm_rate: float
    value: float
    scores: tuple[float, ...]
    guarantee: str
    parameters: dict[str, float] = field(default_factory=dict, hash=False)

    @property
    def never_alarms(self) -> bool:
        """Whether no score can exceed it."""
        return self.value == math.inf

    def exceeded(self, scores: Tensor) -> Tensor:
        """Give (M,) bool, whether each of (M,) scores is above the threshold.

        Raises:
            UsageError: Not a vector.
            DataError: A score is NaN.
        """
        return _checked(scores) > self.value

    def p_values(self, scores: Tensor) -> Tensor:
        """Give the probability that a normal clip scores as high, for each of (M,) scores.

        For `"conformal"` (1 + number of calibration scores as high) / (n + 1), which is at most the
        false alarm rate exactly where the threshold is exceeded; otherwise that of the fitted
        distribution.

        Returns:
            (M,) float64 in [0, 1], not increasing in the score.

        Raises:
            UsageError: Not a vector.
            DataError: A score is NaN.
        """
        values = _checked(scores)
        if self.method == "conformal":
            calibration = torch.tensor(self.scores, dtype=torch.float64)
            as_high = len(calibration) - torch.searchsorted(calibration, values)
            return (1.0 + as_high.double()) / (len(calibration) + 1.0)
        return torch.from_numpy(self._tail().survival(values.numpy()))

    def to_dict(self) -> dict[str, Any]:
        """Give plain JSON; an infinite value is None."""
        return {
            "method": self.method,
            "false_alarm_rate": self.false_alarm_rate,
            "value": None if self.never_alarms else self.value,
            "guarantee": self.guarantee,
            "parameters": dict(self.parameters),
            "scores": list(self.scores),
        }

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Threshold:
        """Make the threshold of `to_dict` again.

        Raises:
            DataError: Something is missing or wrong.
        """
        try:
            threshold = cls(
                method=state["method"],
                false_alarm_rate=float(state["false_alarm_rate"]),
                value=math.inf if state["value"] is None else float(state["value"]),
                scores=tuple(float(score) for score in state["scores"]),
                guarantee=str(state["guarantee"]),
                parameters={name: float(v) for name, v in state["parameters"].items()},
            )
            _check(threshold.method, threshold.false_alarm_rate)
            if threshold.method != "conformal":
                threshold._tail()
        except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
            raise DataError(
                f"this is no saved threshold ({error}): fit it anew from the references"
            ) from error
        return threshold

    def _tail(self) -> Tail:
        if self.method == "gamma":
            return GammaTail(**self.parameters)
        return ParetoTail.restore(np.array(self.scores), self.parameters)


def fit_threshold(
    scores: Tensor,
    *,
    false_alarm_rate: float = 0.01,
    method: ThresholdMethod = "conformal",
) -> Threshold:
    """Set a threshold that normal clips exceed at a given rate.

    - `"conformal"`: the k-th lowest score, k = ceil((n + 1) (1 - rate)). If the n scores and that
      of a new normal clip are exchangeable, it is exceeded with probability at most the rate,
      whatever their distribution and for any n, on average over calibrations. With fewer than
      1 / rate - 1 scores it is infinite: no alarm is possible.
    - `"gamma"`: quantile of a gamma distribution fitted to the scores; at least 20 of them.
    - `"pareto"`: quantile of a generalised Pareto tail fitted to the top tenth; at least 200
      scores, and a rate of at most 0.1.

    The last two reach rates that the scores are too few for, and promise nothing where the
    distribution does not fit.

    Args:
        scores: (n,) scores of normal clips that the scorer has not seen, or leave-one-out scores.
        false_alarm_rate: In (0, 1). Default 0.01.
        method: See above.

    Raises:
        UsageError: Not a vector, a rate out of range, an unknown method, or scores too few or too
            equal for the method.
        DataError: A score is not finite.
    """
    _check(method, false_alarm_rate)
    values = _checked(scores)
    infinite = int(values.isinf().sum())
    if infinite:
        raise DataError(
            f"{infinite} of {len(values)} calibration scores are infinite: check the references"
        )
    ordered: np.ndarray[tuple[int], np.dtype[np.float64]] = np.sort(values.numpy())
    kept = tuple(ordered.tolist())
    if method == "conformal":
        value = _conformal_value(kept, false_alarm_rate)
        guarantee = _conformal_guarantee(len(kept), false_alarm_rate)
        return Threshold(method, false_alarm_rate, value, kept, guarantee)
    tail: Tail = GammaTail.fit(ordered) if method == "gamma" else ParetoTail.fit(ordered)
    return Threshold(
        method,
        false_alarm_rate,
        tail.quantile(false_alarm_rate),
        kept,
        _fitted_guarantee(method, len(kept), false_alarm_rate),
        tail.to_dict(),
    )


def _conformal_value(ordered: tuple[float, ...], rate: float) -> float:
    rank = len(ordered) + 1 - math.floor((len(ordered) + 1) * rate + _SLACK)
    return math.inf if rank > len(ordered) else ordered[rank - 1]


def _conformal_guarantee(count: int, rate: float) -> str:
    needed = math.ceil(1.0 / rate - _SLACK) - 1
    if count < needed:
        return (
            f"never alarms: a false alarm rate of {rate:g} needs at least {needed} calibration "
            f"scores, there are {count}"
        )
    return (
        f"a normal clip exceeds it with probability at most {rate:g}, if its score and the {count} "
        "calibration scores are exchangeable; on average over calibrations, for any distribution"
    )


def _fitted_guarantee(method: str, count: int, rate: float) -> str:
    name = {"gamma": "gamma distribution", "pareto": "generalised Pareto tail"}[method]
    return (
        f"a normal clip exceeds it with probability {rate:g} as far as normal scores follow the "
        f"{name} fitted to {count} calibration scores; no guarantee otherwise"
    )


def _check(method: str, rate: float) -> None:
    if method not in get_args(ThresholdMethod):
        known = ", ".join(map(repr, get_args(ThresholdMethod)))
        raise UsageError(f"method must be one of {known}, got {method!r}")
    if not 0.0 < rate < 1.0:
        raise UsageError(f"false_alarm_rate must be in (0, 1), got {rate}")


def _checked(scores: Tensor) -> Tensor:
    if scores.ndim != 1:
        raise UsageError(f"expected scores (M,), got {tuple(scores.shape)}")
    scores = scores.detach().cpu().double()
    missing = int(scores.isnan().sum())
    if missing:
        raise DataError(f"{missing} of {len(scores)} scores are NaN: check the clips they are of")
    return scores
