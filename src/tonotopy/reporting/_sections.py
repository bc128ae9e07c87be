"""The words and rows of the page, section by section; the template only lays them out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tonotopy.reporting._audio import Excerpts
from tonotopy.reporting._charts import Matrix
from tonotopy.reporting._picks import Neighbour, shared_levels
from tonotopy.reporting._run import Clip, Run

DASH = "\u2013"
NO_BREAK = "\u00a0"
MAX_ROWS = 12


@dataclass(frozen=True)
class Tile:
    """One number of the summary with its name and how to judge it."""

    name: str
    value: str
    hint: str


@dataclass(frozen=True)
class Card:
    """A clip as the page shows it: picture, sound, names and a verdict."""

    clip: int
    name: str
    label: str
    split: str
    spectrogram: str | None
    problem: str | None
    notes: tuple[str, ...]
    verdict: str | None = None
    tone: str = "plain"


@dataclass(frozen=True)
class Pair:
    """One row of a table about two classes."""

    first: str
    second: str
    value: str


def tiles(run: Run) -> list[Tile]:
    """List the numbers of the summary; what was not measured reads as a dash."""
    metrics = run.metrics
    if not metrics["classes"]:
        return _tiles_without_labels(run)
    knn = metrics.get("knn") or {}
    classification = metrics.get("classification") or {}
    cosine = (metrics.get("structure") or {}).get("cosine") or {}
    pooled = cosine.get("pooled") or {}
    return [
        Tile("clips", str(metrics.get("num_clips", len(run.clips))), "evaluated"),
        Tile("classes", str(len(metrics["classes"])), "leaves of the label tree"),
        Tile("split", str(metrics.get("split") or DASH), "that the numbers speak about"),
        Tile("accuracy", percent(classification.get("accuracy")), "100 % best"),
        Tile("macro F1", percent(classification.get("macro_f1")), "classes weigh the same"),
        Tile(f"{knn.get('k') or 'k'}-NN accuracy", percent(knn.get("accuracy")), "100 % best"),
        Tile("retrieval mAP", ratio((metrics.get("retrieval") or {}).get("map")), "1 best"),
        Tile("calibration error", ratio(classification.get("ece")), "0 best"),
        Tile("compactness", ratio(pooled.get("compactness")), "distance inside classes, 0 best"),
        Tile("separation", ratio(pooled.get("separation")), "distance between classes, 1 best"),
        Tile("intra-class CV", ratio(pooled.get("intra_cv")), "spread inside classes, 0 best"),
        Tile("inter-class CV", ratio(pooled.get("inter_cv")), "spread between classes, 0 best"),
    ]


def _tiles_without_labels(run: Run) -> list[Tile]:
    features = run.metrics.get("features") or {}
    return [
        Tile("clips", str(run.metrics.get("num_clips", len(run.clips))), "evaluated"),
        Tile("split", str(run.metrics.get("split") or DASH), "that the numbers speak about"),
        Tile("dimensions", str(run.units.shape[1]), "of an embedding"),
        Tile("effective rank", ratio(features.get("effective_rank")), "dimensions in use"),
        Tile("uniformity", ratio(features.get("uniformity")), "low is even, 0 is collapse"),
    ]


def percent(value: float | None) -> str:
    """Write a share as `"87.5 %"`, or a dash where it is unknown."""
    return DASH if value is None or math.isnan(value) else f"{100 * value:.1f}{NO_BREAK}%"


def ratio(value: float | None) -> str:
    """Write a number with three decimals, or a dash where it is unknown."""
    return DASH if value is None or math.isnan(value) else f"{value:.3f}"


def top_confusions(confusion: Matrix, classes: Sequence[str]) -> list[Pair]:
    """List the pairs of classes that are most often taken for each other."""
    counts = [
        (value or 0, a, b)
        for a, row in enumerate(confusion)
        for b, value in enumerate(row)
        if a != b and value
    ]
    counts.sort(key=lambda item: (-item[0], item[1], item[2]))
    return [Pair(classes[a], classes[b], f"{count:.0f}") for count, a, b in counts[:MAX_ROWS]]


def closest_classes(mean: Matrix, classes: Sequence[str]) -> list[Pair]:
    """List the pairs of different classes with the smallest mean distance."""
    distances = [
        (value, a, b)
        for a, row in enumerate(mean)
        for b, value in enumerate(row[:a])
        if value is not None and math.isfinite(value)
    ]
    distances.sort()
    return [Pair(classes[b], classes[a], ratio(value)) for value, a, b in distances[:MAX_ROWS]]


def clip_card(run: Run, index: int, excerpts: Excerpts) -> Card:
    """Describe a clip and what the model said about it."""
    clip = run.clips[index]
    return describe(run, index, excerpts, notes=prediction_notes(clip), **_outcome(clip))


def neighbour_card(run: Run, query: int, neighbour: Neighbour, excerpts: Excerpts) -> Card:
    """Describe a neighbour: how near it is and how much of the query's label it shares."""
    verdict, tone = _kinship(run.clips[query], run.clips[neighbour.clip])
    notes = (f"cosine {neighbour.cosine:.3f}",)
    return describe(run, neighbour.clip, excerpts, notes=notes, verdict=verdict, tone=tone)


def prediction_notes(clip: Clip) -> tuple[str, ...]:
    """Write what the model took a clip for and how sure it was; nothing without a prediction."""
    if clip.predicted is None:
        return ()
    sure = "" if clip.confidence is None else f", {percent(clip.confidence)}{NO_BREAK}sure"
    return (f"predicted {clip.predicted}{sure}",)


def _outcome(clip: Clip) -> dict[str, Any]:
    if clip.right is None:
        return {}
    return (
        {"verdict": "right", "tone": "good"} if clip.right else {"verdict": "wrong", "tone": "bad"}
    )


def _kinship(query: Clip, other: Clip) -> tuple[str | None, str]:
    if not query.label or not other.label:
        return None, "plain"
    shared = shared_levels(query.label, other.label)
    if shared == len(query.label) or shared == len(other.label):
        return "same class", "good"
    if shared:
        return f"same {query.label[shared - 1]}", "near"
    return "other class", "bad"


def describe(
    run: Run,
    index: int,
    excerpts: Excerpts,
    *,
    notes: tuple[str, ...],
    verdict: str | None = None,
    tone: str = "plain",
) -> Card:
    """Put together what the page shows of a clip.

    Args:
        run: The run.
        index: The clip.
        excerpts: Pictures and sound.
        notes: Lines below its label.
        verdict: A judgement in a word or two.
        tone: How the verdict is marked: `"good"`, `"near"`, `"bad"` or `"plain"`.
    """
    clip = run.clips[index]
    return Card(
        clip=index,
        name=clip.name,
        # Where nothing is labelled, "unlabelled" below every clip would say nothing.
        label=clip.label_name if run.metrics["classes"] or clip.label else "",
        split=clip.split or "no split",
        spectrogram=excerpts.spectrograms.get(index),
        problem=None if index in excerpts.audio else excerpts.problems.get(index, "no audio"),
        notes=notes,
        verdict=verdict,
        tone=tone,
    )
