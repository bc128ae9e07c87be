"""What has been found about drift, in figures and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

PSI_MODERATE = 0.1
PSI_STRONG = 0.25
"""Stability indices from which a shift is called moderate and strong: a convention of credit
scoring, made for samples so large that chance plays no part. Here an index must also exceed what
chance makes of so few windows, and for strong drift exceed it by `PSI_STRONG`."""

LEVEL = 0.01
"""Chance of each test to find drift where there is none."""

FEWEST_WINDOWS = 30
"""Below this, nothing is said: the noise of the index alone is a multiple of `PSI_MODERATE`."""

STRONG_KS = 0.5
STRONG_CONFIDENCE = 0.2
STRONG_REJECTED = 0.5
STRONG_ANGLE = 3.0
"""What makes a finding strong: half of all windows moved or rejected, a fifth of the confidence
gone, three times the angle that chance makes."""

Verdict = Literal["too few windows", "stable", "moderate drift", "strong drift"]


@dataclass(frozen=True)
class DriftReport:
    """Accepted windows against calibration; a figure without data to compute it is None.

    Args:
        accepted: Windows that were taken for normal.
        rejected: Windows that exceeded the threshold.
        rejected_share: Of both; compare it with the false alarm rate of the threshold.
        psi: Population stability index of the scores.
        psi_noise: Its quantile at 1 - `LEVEL` if nothing has changed.
        ks: Largest distance between the two distribution functions of scores, 0 to 1.
        ks_p_value: Of the two-sample Kolmogorov-Smirnov test.
        angle: Degrees between the mean directions of the embeddings.
        angle_noise: Its quantile at 1 - `LEVEL` if nothing has changed, by bootstrap.
        confidence_change: Mean confidence in the machine's own class, minus that at calibration.
        confidence_p_value: Of Welch's t test.
        verdict: The gravest finding.
        reasons: What it rests on, in words.
    """

    accepted: int
    rejected: int
    rejected_share: float | None
    psi: float | None
    psi_noise: float | None
    ks: float | None
    ks_p_value: float | None
    angle: float | None
    angle_noise: float | None
    confidence_change: float | None
    confidence_p_value: float | None
    verdict: Verdict
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give the report as plain JSON."""
        return asdict(self)


def conclude(figures: Mapping[str, Any], *, enough: bool) -> DriftReport:
    """Judge the figures of a report.

    Args:
        figures: All fields of `DriftReport` but `verdict` and `reasons`.
        enough: There are windows enough to compare.
    """
    found = _findings(figures)
    if found:
        verdict: Verdict = (
            "strong drift" if any(strong for strong, _ in found) else "moderate drift"
        )
    else:
        verdict = "stable" if enough else "too few windows"
    return DriftReport(**figures, verdict=verdict, reasons=tuple(reason for _, reason in found))


def _findings(of: Mapping[str, Any]) -> list[tuple[bool, str]]:
    """Give what has drifted: whether strongly, and in words."""
    found = []
    if of["psi"] is not None and of["psi"] > max(of["psi_noise"], PSI_MODERATE):
        found.append(
            (
                of["psi"] > of["psi_noise"] + PSI_STRONG,
                f"scores fall into other bins (PSI {of['psi']:.2f}, chance explains "
                f"{of['psi_noise']:.2f})",
            )
        )
    if of["ks"] is not None and of["ks_p_value"] < LEVEL:
        text = f"scores have shifted (KS {of['ks']:.2f}, p {of['ks_p_value']:.1g})"
        found.append((of["ks"] >= STRONG_KS, text))
    if of["angle"] is not None and of["angle"] > of["angle_noise"]:
        text = f"the mean embedding has turned by {of['angle']:.1f} degrees, chance explains "
        text += f"{of['angle_noise']:.1f}"
        found.append((of["angle"] > STRONG_ANGLE * of["angle_noise"], text))
    if of["confidence_change"] is not None and of["confidence_p_value"] < LEVEL:
        change = of["confidence_change"]
        text = f"confidence in the machine's class changed by {change:+.2f}"
        found.append((abs(change) >= STRONG_CONFIDENCE, text))
    if of["accepted"] + of["rejected"] >= FEWEST_WINDOWS and of["rejected_share"] > STRONG_REJECTED:
        found.append((True, f"{of['rejected_share']:.0%} of the windows were rejected"))
    return found
