"""The taxonomy part of the page: put together where a run has scores of its label tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tonotopy.reporting import _tree_charts, _tree_sections, _tree_unseen
from tonotopy.reporting._charts import Figure
from tonotopy.reporting._picks import choose_queries
from tonotopy.reporting._run import Run
from tonotopy.reporting._sections import percent

UNSEEN_CLIPS = 12
COLUMNS = (
    "classes",
    "clips",
    "accuracy",
    "macro F1",
    "k-NN accuracy",
    "mAP",
    "R-precision",
    "silhouette",
)


@dataclass(frozen=True)
class TreePart:
    """What the taxonomy part of the page needs.

    Attributes:
        words: Texts and rows for the template.
        figures: Figures by the id of their place in the page.
        switch: Confusion matrices, one a level, of which the page shows one at a time.
    """

    words: dict[str, Any]
    figures: dict[str, Figure]
    switch: list[Figure]


def tree_part(run: Run) -> TreePart | None:
    """Put the taxonomy part together, or give `None` where no label tree was measured."""
    tree = _tree_sections.read_tree(run.metrics)
    if tree is None:
        return None
    roots = _tree_sections.build_nodes(tree["nodes"])
    nodes = list(_tree_sections.walk(roots))
    confusions = _tree_charts.level_confusions(tree.get("confusion") or ())
    judged = [run.clips[index] for index in np.flatnonzero(run.evaluated)]
    heights = _tree_charts.mistake_heights(judged, roots)
    words = {
        "columns": COLUMNS,
        "levels": _tree_sections.level_rows(tree["levels"]),
        "mistakes": _tree_sections.mistake_tiles(tree),
        "space": _tree_sections.space_tiles(tree),
        "basis": _tree_sections.basis(tree),
        "heights": ", ".join(f"{heights[h]} at {h}" for h in sorted(heights)),
        "roots": roots,
        "judged": any(node.recall is not None or node.precision is not None for node in nodes),
        "num_nodes": len(nodes),
        "num_empty": sum(not node.clips for node in nodes),
        "confusions": [level["level"] for level in confusions],
        "unseen": _unseen(tree.get("unseen")),
        "percent": percent,
    }
    figures = {
        "tree-silhouette": _tree_charts.silhouette_figure(tree["levels"]),
        "tree-mistakes": _tree_charts.mistake_figure(heights, len(tree["levels"])),
        "tree-severity": _tree_charts.severity_figure(
            [(way["name"], way["accuracy"], way["severity"]) for way in tree.get("ways") or ()]
        ),
        "sunburst": _tree_charts.sunburst_figure(roots),
        "level-confusion": confusions[0]["figure"] if confusions else None,
    }
    return TreePart(
        words=words,
        figures={place: figure for place, figure in figures.items() if figure is not None},
        switch=[level["figure"] for level in confusions],
    )


def unseen_clips(run: Run, *, seed: int) -> list[int]:
    """Choose clips of classes kept apart, of many classes; none where the run has no such part."""
    tree = _tree_sections.read_tree(run.metrics) or {}
    if not tree.get("unseen"):
        return []
    apart = [clip.split == _tree_unseen.SPLIT for clip in run.clips]
    return choose_queries(run.clips, np.flatnonzero(apart), count=UNSEEN_CLIPS, seed=seed)


def _unseen(unseen: dict[str, Any] | None) -> dict[str, Sequence[Any]] | None:
    if not unseen:
        return None
    ways = _tree_unseen.measured_ways(unseen)
    return {
        "tiles": _tree_unseen.unseen_tiles(unseen, ways),
        "rows": _tree_unseen.unseen_rows(unseen, ways),
        "ways": tuple(ways.values()),
    }
