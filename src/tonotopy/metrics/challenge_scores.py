"""Scores of DCASE Challenge Task 2, "anomalous sound detection", 2020 to 2025."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.metrics.anomaly import partial_auc, roc_auc

DOMAINS = ("source", "target")

_USED = {
    2020: ("auc", "pauc"),
    2021: ("auc_within_source", "auc_within_target", "pauc_within_source", "pauc_within_target"),
    2022: ("auc_source", "auc_target", "pauc"),
}
YEARS = tuple(range(2020, 2026))
"""Editions of the challenge; from 2022 on they share one score."""


@dataclass(frozen=True)
class SectionScores:
    """What is measured of one section; NaN where a side of the comparison has no clip.

    Args:
        machine: Machine type, or type and section as `"fan/id_00"`.
        auc: All normal clips against all anomalies.
        pauc: The same, standardised, up to a false positive rate of 0.1.
        auc_source: Normal clips of the source domain against the anomalies of both domains; the
            official one since 2022.
        auc_target: The same of the target domain.
        auc_within_source: Normal clips and anomalies of the source domain; that of 2021.
        auc_within_target: The same of the target domain.
        pauc_within_source: As `auc_within_source`, standardised, up to 0.1.
        pauc_within_target: As `auc_within_target`, standardised, up to 0.1.
    """

    machine: str
    auc: float = math.nan
    pauc: float = math.nan
    auc_source: float = math.nan
    auc_target: float = math.nan
    auc_within_source: float = math.nan
    auc_within_target: float = math.nan
    pauc_within_source: float = math.nan
    pauc_within_target: float = math.nan


@dataclass(frozen=True)
class DecisionScores:
    """How good decisions are; each is 0 where its denominator is.

    Args:
        precision: Share of anomalies among what was decided to be one.
        recall: Share of the anomalies that were found.
        f1: Harmonic mean of the two.
    """

    precision: float
    recall: float
    f1: float


def section_scores(
    machine: str, scores: Tensor, anomalous: Tensor, domains: Sequence[str | None]
) -> SectionScores:
    """Measure the test clips of one section.

    Args:
        machine: Its name.
        scores: (N,) scores, higher = more anomalous.
        anomalous: (N,) bool.
        domains: N of `"source"`, `"target"` or None for unknown; a clip of unknown domain counts in
            `auc` and `pauc` and, if it is an anomaly, in those of both domains.

    Raises:
        UsageError: Lengths or types do not fit, or there is another domain.
        DataError: A score is NaN.

    Examples:
        >>> bad = torch.tensor([False, False, True])
        >>> scores = torch.tensor([0.1, 0.5, 0.4])
        >>> found = section_scores("fan", scores, bad, ["source", None, None])
        >>> found.auc, found.auc_source, found.auc_target
        (0.5, 1.0, nan)
    """
    of_domain = _masks(scores, anomalous, domains)
    measured = {
        "auc": roc_auc(scores[~anomalous], scores[anomalous]),
        "pauc": partial_auc(scores[~anomalous], scores[anomalous]),
    }
    for domain, mask in of_domain.items():
        normal, within = scores[mask & ~anomalous], scores[mask & anomalous]
        measured[f"auc_{domain}"] = roc_auc(normal, scores[anomalous])
        measured[f"auc_within_{domain}"] = roc_auc(normal, within)
        measured[f"pauc_within_{domain}"] = partial_auc(normal, within)
    return SectionScores(machine, **measured)


def official_score(sections: Iterable[SectionScores], year: int) -> float:
    """Give the number that an edition of the challenge ranks by, or sums itself up with.

    - 2020: mean over machine types of the mean over their sections of (AUC + pAUC) / 2;
    - 2021: harmonic mean over sections and domains of AUC and pAUC, each domain by itself;
    - 2022 on: harmonic mean over sections of source AUC, target AUC and pAUC.

    Args:
        sections: All sections of all machine types.
        year: 2020 to 2025.

    Raises:
        UsageError: Another year, no section, or one that lacks what the year needs.
    """
    if year not in YEARS:
        raise UsageError(f"year must be {YEARS[0]} to {YEARS[-1]}, got {year}")
    used = _USED[min(year, 2022)]
    rows = [asdict(section) for section in sections]
    if not rows:
        raise UsageError("an official score needs at least one section")
    for row in rows:
        missing = [name for name in used if math.isnan(row[name])]
        if missing:
            raise UsageError(
                f"{row['machine']} has no {' and no '.join(missing)}, which the score of {year} "
                "needs: its test clips lack normal clips or anomalies, or their domains"
            )
    if year != 2020:
        return harmonic_mean(row[name] for row in rows for name in used)
    by_type: dict[str, list[float]] = {}
    for row in rows:
        mean = sum(row[name] for name in used) / len(used)
        by_type.setdefault(row["machine"].split("/")[0], []).append(mean)
    return sum(sum(values) / len(values) for values in by_type.values()) / len(by_type)


def harmonic_mean(values: Iterable[float]) -> float:
    """Give n / sum of 1/x, values below machine epsilon counting as that.

    Returns:
        NaN where there is no value, or one is NaN.

    Examples:
        >>> round(harmonic_mean([0.9, 0.6, 0.55]), 6)
        0.652747
    """
    floored = [
        value if math.isnan(value) else max(value, sys.float_info.epsilon) for value in values
    ]
    return len(floored) / sum(1.0 / value for value in floored) if floored else math.nan


def decision_scores(
    decided: Tensor, anomalous: Tensor, domains: Sequence[str | None]
) -> dict[str, DecisionScores]:
    """Measure decisions, as the evaluators do: each domain with its own anomalies.

    Args:
        decided: (N,) bool; what was decided to be an anomaly.
        anomalous: (N,) bool; what is one.
        domains: N of `"source"`, `"target"` or None for unknown, which counts in neither.

    Returns:
        `"source"` and `"target"` to their scores.

    Raises:
        UsageError: Lengths or types do not fit, or there is another domain.
    """
    if decided.dtype != torch.bool:
        raise UsageError(f"decisions must be bool, got {decided.dtype}: compare scores > threshold")
    result = {}
    for domain, mask in _masks(decided, anomalous, domains).items():
        hits = int((decided & anomalous & mask).sum())
        found, actual = int((decided & mask).sum()), int((anomalous & mask).sum())
        result[domain] = DecisionScores(
            precision=hits / max(found, 1),
            recall=hits / max(actual, 1),
            f1=2 * hits / max(found + actual, 1),
        )
    return result


def _masks(values: Tensor, anomalous: Tensor, domains: Sequence[str | None]) -> dict[str, Tensor]:
    fits = values.ndim == 1 and anomalous.shape == values.shape and len(domains) == len(values)
    if not fits or anomalous.dtype != torch.bool:
        raise UsageError(
            "expected (N,) values, (N,) bool `anomalous` and N domains, got "
            f"{tuple(values.shape)}, {tuple(anomalous.shape)} {anomalous.dtype} and {len(domains)}"
        )
    other = sorted({str(domain) for domain in domains} - {*DOMAINS, "None"})
    if other:
        raise UsageError(f"a domain is 'source', 'target' or None, got {other[0]!r}")
    return {name: torch.tensor([domain == name for domain in domains]) for name in DOMAINS}
