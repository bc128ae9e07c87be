"""Distributions of normal scores, for thresholds beyond what the scores themselves reach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tonotopy._errors import UsageError

Floats = NDArray[np.float64]

FEWEST_FOR_GAMMA = 20
TAIL_SHARE = 0.1
"""Share of the scores, the highest, that the Pareto tail is fitted to."""
FEWEST_IN_TAIL = 20

_SHIFTS = tuple(2.0**power for power in range(-12, 9))
"""Candidates for how far the lowest score lies above the gamma's location, in ranges."""


class Tail(Protocol):
    """A distribution of normal scores."""

    def survival(self, scores: Floats) -> Floats:
        """Give the probability of a normal score as high as each of (M,) scores."""

    def quantile(self, rate: float) -> float:
        """Give the score that normal ones exceed at a rate in (0, 1)."""

    def to_dict(self) -> dict[str, float]:
        """Give the parameters as plain numbers."""


@dataclass(frozen=True)
class GammaTail:
    """A gamma distribution with a location, so that scores may be negative.

    Args:
        shape: At least 1.
        location: Below all scores.
        scale: Positive.
    """

    shape: float
    location: float
    scale: float

    @classmethod
    def fit(cls, scores: Floats) -> GammaTail:
        """Fit by maximum likelihood for each of 21 locations, and keep the likeliest.

        The location lies 1/4096 to 256 ranges of the scores below the lowest; at the far end the
        gamma is nearly normal. With a shape below 1 the likelihood would have no bound where the
        location nears the lowest score, so the shape is at least 1.

        Args:
            scores: (N,) ascending.

        Raises:
            UsageError: Fewer than 20 scores, or all of them equal.
        """
        spread = float(scores[-1] - scores[0]) if len(scores) else 0.0
        if len(scores) < FEWEST_FOR_GAMMA or not spread > 0.0:
            raise UsageError(
                f"a gamma threshold needs {FEWEST_FOR_GAMMA} calibration scores that are not all "
                f"equal, got {len(scores)} from {_range(scores)}: add references, or use method "
                "'conformal'"
            )
        # In units of the spread, so that the fit does not depend on the unit of the scores.
        units = (scores - scores[0]) / spread
        fits = [_gamma_of(units + shift) for shift in _SHIFTS]
        likelihoods = [
            stats.gamma.logpdf(units + shift, shape, scale=scale).sum()
            for (shape, scale), shift in zip(fits, _SHIFTS, strict=True)
        ]
        best = int(np.argmax(likelihoods))
        (shape, scale), shift = fits[best], _SHIFTS[best]
        return cls(shape, float(scores[0] - shift * spread), scale * spread)

    def survival(self, scores: Floats) -> Floats:
        """Give the probability of a normal score as high as each of (M,) scores."""
        found: Floats = stats.gamma.sf(scores, self.shape, self.location, self.scale)
        return found

    def quantile(self, rate: float) -> float:
        """Give the score that normal ones exceed at a rate in (0, 1)."""
        return float(stats.gamma.isf(rate, self.shape, self.location, self.scale))

    def to_dict(self) -> dict[str, float]:
        """Give the parameters as plain numbers."""
        return asdict(self)


@dataclass(frozen=True)
class ParetoTail:
    """The empirical distribution, and above one of its scores a generalised Pareto tail.

    Args:
        start: The score where the tail begins.
        share: Share of the scores above it.
        shape: 0 (exponential) or more, below 1.
        scale: Positive.
        below: Ascending scores up to `start`.
    """

    start: float
    share: float
    shape: float
    scale: float
    below: tuple[float, ...]

    @classmethod
    def fit(cls, scores: Floats) -> ParetoTail:
        """Fit the tail to what the top tenth of the scores lie above the rest.

        By probability-weighted moments (Hosking and Wallis, "Parameter and Quantile Estimation for
        the Generalized Pareto Distribution", 1987). A shape below 0, which would make scores
        beyond some end impossible, is raised to 0.

        Args:
            scores: (N,) ascending.

        Raises:
            UsageError: Fewer than 20 scores in the tail.
        """
        wanted = int(TAIL_SHARE * len(scores) + 1e-9)
        start = float(scores[-wanted - 1]) if wanted else math.inf
        excesses = scores[scores > start] - start
        if len(excesses) < FEWEST_IN_TAIL:
            raise UsageError(
                f"a Pareto threshold needs {FEWEST_IN_TAIL} scores in the top {TAIL_SHARE:.0%}, "
                f"got {len(excesses)} of {len(scores)} from {_range(scores)}: give at least "
                f"{math.ceil(FEWEST_IN_TAIL / TAIL_SHARE)} without many ties, or use method "
                "'conformal'"
            )
        below = tuple(scores[scores <= start].tolist())
        shape, scale = _weighted_moments(excesses)
        return cls(start, len(excesses) / len(scores), shape, scale, below)

    @classmethod
    def restore(cls, scores: Floats, parameters: dict[str, float]) -> ParetoTail:
        """Make the tail of `to_dict` again, with the scores that it was fitted to."""
        below = tuple(scores[scores <= parameters["start"]].tolist())
        return cls(**parameters, below=below)

    def survival(self, scores: Floats) -> Floats:
        """Give the probability of a normal score as high as each of (M,) scores."""
        excess = np.maximum(scores - self.start, 0.0)
        tail = self.share * stats.genpareto.sf(excess, self.shape, scale=self.scale)
        at_least = len(self.below) - np.searchsorted(np.array(self.below), scores, side="left")
        body = self.share + (1.0 - self.share) * at_least / len(self.below)
        found: Floats = np.where(scores > self.start, tail, body)
        return found

    def quantile(self, rate: float) -> float:
        """Give the score that normal ones exceed at a rate in (0, share].

        Raises:
            UsageError: A greater rate.
        """
        if rate > self.share:
            raise UsageError(
                f"the Pareto tail is the top {self.share:.1%} of the scores: false_alarm_rate "
                f"cannot be {rate:g}; use method 'conformal'"
            )
        inside = stats.genpareto.isf(rate / self.share, self.shape, scale=self.scale)
        return self.start + float(inside)

    def to_dict(self) -> dict[str, float]:
        """Give the parameters as plain numbers, without the scores."""
        return {name: getattr(self, name) for name in ("start", "share", "shape", "scale")}


def _gamma_of(values: Floats) -> tuple[float, float]:
    """Give shape, at least 1, and scale of the likeliest gamma at location 0."""
    shape = max(float(stats.gamma.fit(values, floc=0.0)[0]), 1.0)
    return shape, float(values.mean()) / shape


def _weighted_moments(excesses: Floats) -> tuple[float, float]:
    """Give shape and scale of the generalised Pareto of ascending positive numbers."""
    count = len(excesses)
    mean = float(excesses.mean())
    # An unbiased estimate of E[X (1 - F(X))].
    weighted = float(((count - 1 - np.arange(count)) * excesses).sum()) / (count * (count - 1))
    shape = 2.0 - mean / (mean - 2.0 * weighted)
    if shape <= 0.0:
        return 0.0, mean
    return shape, 2.0 * mean * weighted / (mean - 2.0 * weighted)


def _range(scores: Sequence[float] | Floats) -> str:
    return f"{scores[0]:.4g} to {scores[-1]:.4g}" if len(scores) else "nothing"
