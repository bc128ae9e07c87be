"""Score the test clips of the fan experiment with several back ends, and measure the scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from tonotopy.detection import (
    KMeansScorer,
    MahalanobisScorer,
    NearestNeighbourScorer,
    Scorer,
    fit_threshold,
)
from tonotopy.geometry import unit_vectors
from tonotopy.metrics import (
    cosine_structure,
    effective_rank,
    harmonic_mean,
    official_score,
    section_scores,
)
from tonotopy.protocols._fan_data import FanClips
from tonotopy.protocols._fan_training import Trained

BACK_ENDS: dict[str, Callable[[], Scorer]] = {
    "nn": lambda: NearestNeighbourScorer(),
    "nn+ldn": lambda: NearestNeighbourScorer(density="ratio"),
    "k-means": lambda: KMeansScorer(),
    "k-means+ldn": lambda: KMeansScorer(density="ratio"),
    "mahalanobis": lambda: MahalanobisScorer(),
}
"""Name to scorer; `ldn`: local density normalisation, by ratio."""

OWN = "own"
"""The score that a loss itself stands for; it needs no references."""

CALIBRATED = ("nn", "nn+ldn")
"""Back ends that leave out exactly one reference cheaply."""

FALSE_ALARM_RATE = 0.1
"""Of the thresholds whose false alarms are counted."""

YEAR = 2023

SHOWN = (
    "auc_source",
    "auc_target",
    "auc_within_source",
    "auc_within_target",
    "pauc",
)
"""Of the fields of `SectionScores`: what is averaged over sections."""


def measure(
    references: FanClips, test: FanClips, trained: Trained, names: tuple[str, ...]
) -> dict[str, Any]:
    """Measure an encoder.

    Args:
        references: What the encoder was trained on.
        test: Test clips.
        trained: The encoder.
        names: Names of the sections.

    Returns:
        `embeddings`: how the references lie; `back_ends`: name to measures: `sections`, their
        harmonic means of `SHOWN`, `official`, and, for back ends of `CALIBRATED`,
        `false_alarms_source` and `false_alarms_target`: share of normal test clips above the
        threshold for a rate of 0.1, mean over sections.
    """
    given, tested = trained.embed(references.vectors), trained.embed(test.vectors)
    back_ends = {
        name: _run(make, references, test, given, tested, names, name in CALIBRATED)
        for name, make in BACK_ENDS.items()
    }
    if trained.own_score is not None:
        back_ends[OWN] = _summarise(test, trained.own_score(tested), names)
    structure = cosine_structure(given, references.sections, len(names))["pooled"]
    return {
        "embeddings": {
            "compactness": structure["compactness"],
            "separation": structure["separation"],
            "effective_rank": effective_rank(unit_vectors(given)),
        },
        "back_ends": back_ends,
    }


def _run(
    make: Callable[[], Scorer],
    references: FanClips,
    test: FanClips,
    given: Tensor,
    tested: Tensor,
    names: tuple[str, ...],
    calibrated: bool,
) -> dict[str, Any]:
    scores = torch.empty(len(test), dtype=torch.float64)
    alarms = torch.zeros(len(test), dtype=torch.bool)
    domains = references.domains
    for section in range(len(names)):
        own, asked = references.sections == section, test.sections == section
        own_domains = [d for d, kept in zip(domains, own.tolist(), strict=True) if kept]
        scorer = make().fit(given[own], own_domains)
        scores[asked] = scorer.score(tested[asked])
        if calibrated:
            threshold = fit_threshold(scorer.leave_one_out(), false_alarm_rate=FALSE_ALARM_RATE)
            alarms[asked] = threshold.exceeded(scores[asked])
    result = _summarise(test, scores, names)
    for domain, mask in (("source", ~test.target), ("target", test.target)):
        rates = [
            alarms[mask & ~test.anomalous & (test.sections == section)].double().mean().item()
            for section in range(len(names))
        ]
        result[f"false_alarms_{domain}"] = sum(rates) / len(rates) if calibrated else None
    return result


def _summarise(test: FanClips, scores: Tensor, names: tuple[str, ...]) -> dict[str, Any]:
    domains = test.domains
    rows = []
    for number, name in enumerate(names):
        asked = test.sections == number
        own_domains = [d for d, kept in zip(domains, asked.tolist(), strict=True) if kept]
        rows.append(
            section_scores(f"fan/{name}", scores[asked], test.anomalous[asked], own_domains)
        )
    return {
        "official": official_score(rows, YEAR),
        **{field: harmonic_mean(getattr(row, field) for row in rows) for field in SHOWN},
        "false_alarms_source": None,
        "false_alarms_target": None,
        "sections": [asdict(row) for row in rows],
    }
