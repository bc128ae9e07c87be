"""Classes kept apart from training: where their clips landed on the label tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tonotopy.labels import display_name
from tonotopy.reporting._audio import Excerpts
from tonotopy.reporting._run import Clip, Run
from tonotopy.reporting._sections import Card, Tile, describe, percent, prediction_notes, ratio
from tonotopy.reporting._tree_sections import Path, count, shared_names, tallied

SPLIT = "unseen"
WAYS = {
    "level_head": "level head",
    "leaf_head": "leaf head",
    "centroid": "nearest centroid",
    "knn": "nearest neighbours",
}


@dataclass(frozen=True)
class Landing:
    """Where some clips of an unseen class landed.

    Attributes:
        text: The class and the number of clips.
        tone: `"good"` at or under the true parent, `"bad"` elsewhere, `"plain"` where every class
            would be right.
    """

    text: str
    tone: str


@dataclass(frozen=True)
class UnseenClass:
    """One row of the table of classes kept apart; all fields as the page writes them."""

    name: str
    parent: str
    clips: str
    landed: tuple[Landing, ...]
    accuracy: tuple[str, ...]


def measured_ways(unseen: Mapping[str, Any]) -> dict[str, str]:
    """Give the ways of deciding that were measured: their key and their name."""
    scores = unseen.get("lvp") or {}
    return {key: way for key, way in WAYS.items() if scores.get(key) is not None}


def unseen_tiles(unseen: Mapping[str, Any], ways: Mapping[str, str]) -> list[Tile]:
    """List how often clips of unseen classes land under their true parent, by each way."""
    scores = unseen.get("lvp") or {}
    return [
        Tile("unseen classes", count(unseen.get("classes")), "kept apart from training"),
        Tile("their clips", count(unseen.get("clips")), "all of them judged"),
        *(
            Tile(f"by {way}", percent(scores.get(key)), "land under their parent; 100 % best")
            for key, way in ways.items()
        ),
        Tile("NDCG", ratio(unseen.get("ndcg")), "among unseen clips alone; 1 best"),
    ]


def unseen_rows(unseen: Mapping[str, Any], ways: Mapping[str, str]) -> list[UnseenClass]:
    """Write one row a class kept apart, its accuracy by each way."""
    return [
        UnseenClass(
            name=display_name(row["path"]),
            parent=display_name(row["parent"]) or "none",
            clips=count(row.get("clips")),
            landed=tuple(_landing(row["parent"], *found) for found in row.get("landed") or ()),
            accuracy=tuple(percent((row.get("accuracy") or {}).get(key)) for key in ways),
        )
        for row in unseen.get("lvp_by_class") or ()
    ]


def _landing(parent: Sequence[str], name: str, count: float | None) -> Landing:
    if not parent:
        return Landing(tallied(name, count), "plain")
    right = shared_names(parent, name) == len(parent)
    return Landing(tallied(name, count), "good" if right else "bad")


def cards(run: Run, clips: Sequence[int], excerpts: Excerpts) -> list[Card]:
    """Describe clips of unseen classes: what they were taken for, and how near their parent."""
    unseen = (run.metrics.get("tree") or {}).get("unseen") or {}
    rows = unseen.get("lvp_by_class") or ()
    parents = {tuple(row["path"]): tuple(row["parent"]) for row in rows}
    return [_card(run, clip, parents.get(run.clips[clip].label, ()), excerpts) for clip in clips]


def _card(run: Run, index: int, parent: Path, excerpts: Excerpts) -> Card:
    verdict, tone = _kinship(run.clips[index], parent)
    notes = prediction_notes(run.clips[index])
    return describe(run, index, excerpts, notes=notes, verdict=verdict, tone=tone)


def _kinship(clip: Clip, parent: Path) -> tuple[str | None, str]:
    if clip.predicted is None or not parent:
        return None, "plain"
    shared = shared_names(parent, clip.predicted)
    if shared == len(parent):
        return "right parent", "good"
    return (f"still {parent[shared - 1]}", "near") if shared else ("other branch", "bad")
