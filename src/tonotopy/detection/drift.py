"""Has the sound of normal operation moved away from what a detector was calibrated on?"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy.detection.drift_report import FEWEST_WINDOWS, LEVEL, DriftReport, conclude
from tonotopy.detection.drift_statistics import (
    angle_by_chance,
    mean_angle,
    population_stability_index,
    psi_by_chance,
    unit_rows,
)

BINS = 10
"""Of the histogram; the calibration needs as many scores."""


class DriftMonitor:
    """Compare the windows that a detector accepts with those it was calibrated on.

    Three things are compared: the distribution of scores, the mean direction of the embeddings, and
    the model's confidence that the sound is of its machine. Memory does not grow: scores fall into
    a histogram and a fixed-size random sample, the rest into sums.

    The tests assume windows that do not overlap and are as varied as the calibration clips. Windows
    of one hour of one machine are more alike than that; what differs in one hour and not in a day
    is the hour.

    Args:
        calibration: (N,) scores of normal clips that were not their own references, N >= 10.
        threshold: Scores above are rejected; such calibration scores are left out, as the windows
            are that are compared with them.
        references: (N', D) embeddings of normal clips; None to leave embeddings out.
        confidences: Confidence in the machine's own class of normal clips; None to leave it out.
        bins: Of the histogram, as many quantiles of the calibration scores.
        sample: Scores that are kept for the Kolmogorov-Smirnov test.
        seed: Start of the random sample and of the bootstrap.

    Raises:
        UsageError: There are too few calibration scores.
    """

    def __init__(
        self,
        calibration: Tensor,
        threshold: float,
        *,
        references: Tensor | None = None,
        confidences: Sequence[float] | None = None,
        bins: int = BINS,
        sample: int = 1000,
        seed: int = 0,
    ) -> None:
        scores = calibration.detach().double().cpu().numpy()
        self._calibration = np.sort(scores[scores <= threshold])
        if len(self._calibration) < bins:
            raise UsageError(
                f"drift needs at least {bins} calibration scores up to the threshold, got "
                f"{len(self._calibration)}: add normal clips"
            )
        self._edges = np.quantile(self._calibration, np.linspace(0, 1, bins + 1)[1:-1])
        self._units = None if references is None else unit_rows(_float64(references))
        self._confidences = None if confidences is None else np.asarray(confidences, np.float64)
        self._sample_size = sample
        self._seed = seed
        self.accepted = 0
        self.rejected = 0
        self._histogram = np.zeros(bins, np.int64)
        self._sample: list[float] = []
        self._direction = None if self._units is None else np.zeros(self._units.shape[1])
        self._embedded = 0
        self._confidence = _Moments()

    def add(
        self, score: float, embedding: Tensor | None = None, confidence: float | None = None
    ) -> None:
        """Take a window that was accepted as normal.

        Args:
            score: At most the threshold.
            embedding: (D,), of any length but 0.
            confidence: Probability of the machine's own class.
        """
        self._histogram[np.searchsorted(self._edges, score)] += 1
        if len(self._sample) < self._sample_size:
            self._sample.append(score)
        else:
            # A generator for each window needs no state of its own to be saved.
            place = random.Random(f"{self._seed}/{self.accepted}").randrange(self.accepted + 1)
            if place < self._sample_size:
                self._sample[place] = score
        self.accepted += 1
        if embedding is not None and self._direction is not None:
            self._direction += unit_rows(_float64(embedding[None]))[0]
            self._embedded += 1
        if confidence is not None and self._confidences is not None:
            self._confidence.add(confidence)

    def reject(self) -> None:
        """Count a window that exceeded the threshold."""
        self.rejected += 1

    def report(self) -> DriftReport:
        """Compare what has been taken so far."""
        seen = self.accepted + self.rejected
        figures: dict[str, Any] = {
            "accepted": self.accepted,
            "rejected": self.rejected,
            "rejected_share": self.rejected / seen if seen else None,
        }
        enough = self.accepted >= FEWEST_WINDOWS
        none = (None, None)
        figures["psi"], figures["psi_noise"] = self._psi() if enough else none
        figures["ks"], figures["ks_p_value"] = self._ks() if enough else none
        figures["angle"], figures["angle_noise"] = self._angle() if enough else none
        change, p_value = self._confidence_change() if enough else none
        figures["confidence_change"], figures["confidence_p_value"] = change, p_value
        return conclude(figures, enough=enough)

    def _psi(self) -> tuple[float, float]:
        expected = np.bincount(
            np.searchsorted(self._edges, self._calibration), minlength=len(self._histogram)
        )
        return (
            population_stability_index(expected, self._histogram),
            psi_by_chance(len(self._histogram), len(self._calibration), self.accepted, LEVEL),
        )

    def _ks(self) -> tuple[float, float]:
        found = stats.ks_2samp(self._calibration, self._sample)
        return float(found.statistic), float(found.pvalue)

    def _angle(self) -> tuple[float | None, float | None]:
        if self._units is None or self._direction is None or self._embedded < FEWEST_WINDOWS:
            return None, None
        return (
            mean_angle(self._units.mean(axis=0), self._direction),
            angle_by_chance(self._units, self._embedded, LEVEL, seed=self._seed),
        )

    def _confidence_change(self) -> tuple[float | None, float | None]:
        new = self._confidence
        if self._confidences is None or new.count < FEWEST_WINDOWS or len(self._confidences) < 2:
            return None, None
        before = self._confidences
        change = new.mean - float(before.mean())
        if new.deviation == 0 and before.std() == 0:
            return change, float(change == 0)
        found = stats.ttest_ind_from_stats(
            new.mean,
            new.deviation,
            new.count,
            before.mean(),
            before.std(ddof=1),
            len(before),
            equal_var=False,
        )
        return change, float(found.pvalue)

    def to_dict(self) -> dict[str, Any]:
        """Give what has been accumulated as plain JSON, for `restore`."""
        return {
            "accepted": self.accepted,
            "rejected": self.rejected,
            "histogram": self._histogram.tolist(),
            "sample": list(self._sample),
            "direction": None if self._direction is None else self._direction.tolist(),
            "embedded": self._embedded,
            "confidence": asdict(self._confidence),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where another monitor of the same calibration stood when it was saved.

        Raises:
            DataError: The state does not fit.
        """
        try:
            histogram = np.asarray(state["histogram"], np.int64)
            direction = None
            if self._direction is not None:
                direction = np.asarray(state["direction"], np.float64)
                if direction.shape != self._direction.shape:
                    raise ValueError("embeddings of other dimensions")
            if histogram.shape != self._histogram.shape:
                raise ValueError("other bins")
            self.accepted, self.rejected = int(state["accepted"]), int(state["rejected"])
            self._sample = [float(score) for score in state["sample"]]
            self._embedded = int(state["embedded"])
            self._confidence = _Moments(**state["confidence"])
            self._histogram, self._direction = histogram, direction
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"the saved state of a drift monitor does not fit: {error}") from error


def _float64(embeddings: Tensor) -> NDArray[np.float64]:
    rows: NDArray[np.float64] = embeddings.detach().double().cpu().numpy()
    return rows


@dataclass
class _Moments:
    """Mean and deviation of numbers that come one at a time (Welford)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        step = value - self.mean
        self.mean += step / self.count
        self.squares += step * (value - self.mean)

    @property
    def deviation(self) -> float:
        return math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else 0.0
