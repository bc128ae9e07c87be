"""How far distributions and mean directions have moved, and how far chance moves them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

RESAMPLES = 500
"""Of a bootstrap: its 99th percentile then has a rank of 495."""


def population_stability_index(
    expected: NDArray[np.integer], observed: NDArray[np.integer]
) -> float:
    """Measure how far one histogram has moved from another.

    PSI = sum_b (q_b - p_b) ln(q_b / p_b), with the shares p and q of the bins. Half a count is
    added to every bin, so that an empty one stays finite.

    Args:
        expected: (B,) counts at calibration.
        observed: (B,) counts now.

    Returns:
        0 or more. By convention a shift is moderate from 0.1 and strong from 0.25.
    """
    p = (expected + 0.5) / (expected.sum() + 0.5 * len(expected))
    q = (observed + 0.5) / (observed.sum() + 0.5 * len(observed))
    return float(((q - p) * np.log(q / p)).sum())


def psi_by_chance(bins: int, expected: int, observed: int, level: float) -> float:
    """Give the index that two samples of one distribution exceed with probability `level`.

    To second order the index is the chi-squared statistic of two histograms, divided by n m /
    (n + m) for n and m counts, so PSI / (1/n + 1/m) has a chi-squared law of B - 1 degrees.

    Args:
        bins: Number B, at least 2.
        expected: Size n of one sample.
        observed: Size m of the other.
        level: In (0, 1).
    """
    return float(stats.chi2.ppf(1 - level, bins - 1) * (1 / expected + 1 / observed))


def angle_by_chance(
    units: NDArray[np.float64], observed: int, level: float, *, seed: int = 0
) -> float:
    """Give the angle that two samples of the same directions exceed with probability `level`.

    Bootstrap: N and `observed` rows are drawn with replacement, `RESAMPLES` times.

    Args:
        units: (N, D), of unit length.
        observed: Size of the other sample.
        level: In (0, 1).
        seed: Of the draws.

    Returns:
        Degrees.
    """
    generator = np.random.default_rng(seed)
    share = np.full(len(units), 1 / len(units))
    draws = [
        mean_angle(*(generator.multinomial(size, share) @ units for size in (len(units), observed)))
        for _ in range(RESAMPLES)
    ]
    return float(np.quantile(draws, 1 - level))


def mean_angle(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Give the angle between two vectors (D,), in degrees, exact also where it is small."""
    one, other = (vector / max(float(np.linalg.norm(vector)), 1e-300) for vector in (one, other))
    return float(
        np.degrees(2 * np.arctan2(np.linalg.norm(one - other), np.linalg.norm(one + other)))
    )


def unit_rows(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide each row of (N, D) by its length; a zero row stays zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units: NDArray[np.float64] = rows / np.where(lengths == 0, 1.0, lengths)
    return units
