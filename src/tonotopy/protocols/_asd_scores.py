"""Scores of test clips of machines, alone and summed over models, and what they are worth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import polars as pl
import torch
from torch import Tensor

from tonotopy._components import Component, build
from tonotopy._errors import DataError, UsageError
from tonotopy._progress import track
from tonotopy.detection import Scorer, fit_threshold
from tonotopy.metrics import SectionScores, harmonic_mean, official_score, section_scores

OFFICIAL = "official score"

MEASURES: dict[int, dict[str, str]] = {
    2020: {"AUC": "auc", "pAUC": "pauc"},
    2021: {
        "AUC source": "auc_within_source",
        "AUC target": "auc_within_target",
        "pAUC source": "pauc_within_source",
        "pAUC target": "pauc_within_target",
    },
    2022: {"AUC source": "auc_source", "AUC target": "auc_target", "pAUC": "pauc"},
}
"""What the official score of a year is made of; those of 2022 hold for later years too."""


@dataclass(frozen=True)
class ScoredMachine:
    """The test clips of one machine with their scores.

    Args:
        clips: Rows of the test clips.
        scores: (M,) float64, higher = more anomalous.
        calibration: (N,) float64, scores of the references, each left out.
    """

    clips: pl.DataFrame
    scores: Tensor
    calibration: Tensor


def measures(year: int) -> dict[str, str]:
    """Give the measures of a year by name: fields of `SectionScores`."""
    return MEASURES[min(year, 2022)]


def score_machines(clips: pl.DataFrame, back_end: Component) -> dict[str, ScoredMachine]:
    """Score the test clips of every machine against its own training clips.

    Args:
        clips: Columns `path`, `machine`, `split`, `domain` and `embedding`.
        back_end: The scorer.

    Returns:
        Machine to its scored test clips, sorted by path. Machines without test clips are left out.

    Raises:
        DataError: A machine has test clips and fewer than two training clips.
    """
    scored = {}
    groups = sorted(clips.sort("path").group_by("machine", maintain_order=True))
    for (machine,), own in track(groups, label="Scoring", total=len(groups)):
        references = own.filter(pl.col("split") == "train")
        tests = own.filter(pl.col("split") == "test")
        if not len(tests):
            continue
        if len(references) < 2:
            raise DataError(
                f"{machine} has test clips, but {len(references)} training clips: at least two are "
                "needed to compare with"
            )
        scorer = build(back_end, Scorer, "tonotopy.detection")
        scorer.fit(_embeddings(references), references["domain"].to_list())
        scored[str(machine)] = ScoredMachine(
            tests.drop("embedding"), scorer.score(_embeddings(tests)), scorer.leave_one_out()
        )
    return scored


def sum_scores(models: Sequence[Mapping[str, ScoredMachine]]) -> dict[str, ScoredMachine]:
    """Sum the scores of several models of the same clips: an ensemble.

    Raises:
        UsageError: They have not scored the same clips.
    """
    first, *others = models
    for other in others:
        same = first.keys() == other.keys() and all(
            first[name].clips["path"].equals(other[name].clips["path"])
            and len(first[name].calibration) == len(other[name].calibration)
            for name in first
        )
        if not same:
            raise UsageError("the models have scored different clips: begin in another folder")
    return {
        name: ScoredMachine(
            first[name].clips,
            torch.stack([model[name].scores for model in models]).sum(dim=0),
            torch.stack([model[name].calibration for model in models]).sum(dim=0),
        )
        for name in first
    }


def with_decisions(scored: Mapping[str, ScoredMachine], false_alarm_rate: float) -> pl.DataFrame:
    """Give all test clips with `score` and `decision`, by the threshold of their machine.

    Args:
        scored: Of `score_machines` or `sum_scores`.
        false_alarm_rate: Share of normal clips that may be called anomalous, in (0, 1).
    """
    parts = []
    for machine in scored.values():
        threshold = fit_threshold(machine.calibration, false_alarm_rate=false_alarm_rate)
        parts.append(
            machine.clips.with_columns(
                pl.Series("score", machine.scores.numpy(), dtype=pl.Float64),
                pl.Series("decision", threshold.exceeded(machine.scores).numpy()),
            )
        )
    return pl.concat(parts)


def measure_part(
    scored: Mapping[str, ScoredMachine], part: str, year: int
) -> tuple[dict[str, dict[str, float]], str]:
    """Measure the sections of `dev` or `eval`.

    Returns:
        Machine to measures, with the row "all" for the summary over machines with the official
        score; and, if something is missing for that, a sentence that says so. Without the
        conditions of all test clips there are no rows.
    """
    sections: list[SectionScores] = []
    for name, machine in scored.items():
        own = machine.clips["part"] == part
        if not own.any():
            continue
        clips, scores = machine.clips.filter(own), machine.scores[torch.from_numpy(own.to_numpy())]
        if clips["condition"].null_count():
            return (
                {},
                f"{name} has test clips of unknown condition: the evaluator's files are missing",
            )
        anomalous = torch.from_numpy((clips["condition"] == "anomaly").to_numpy().copy())
        sections.append(section_scores(name, scores, anomalous, clips["domain"].to_list()))
    if not sections:
        return {}, "there are no test clips"
    names = measures(year)
    rows = {
        section.machine: {name: asdict(section)[field] for name, field in names.items()}
        for section in sections
    }
    note = ""
    try:
        official = official_score(sections, year)
    except UsageError as error:
        official, note = math.nan, str(error)
    summary = {name: _over_machines(rows, name, year) for name in names}
    return {"all": {OFFICIAL: official, **summary}, **rows}, note


def _over_machines(rows: Mapping[str, Mapping[str, float]], name: str, year: int) -> float:
    """Sum a measure up as the year's official score does."""
    if year != 2020:
        return harmonic_mean(row[name] for row in rows.values())
    by_type: dict[str, list[float]] = {}
    for machine, row in rows.items():
        by_type.setdefault(machine.split("/")[0], []).append(row[name])
    return sum(sum(values) / len(values) for values in by_type.values()) / len(by_type)


def _embeddings(clips: pl.DataFrame) -> Tensor:
    return torch.from_numpy(clips["embedding"].to_numpy().copy())
