"""Assemble the report: read the run, choose clips, draw, and fill the page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tonotopy._errors import UsageError
from tonotopy._files import write_text
from tonotopy.reporting import _charts, _sections, _tree_part, _tree_unseen
from tonotopy.reporting._anomaly_part import AnomalyPart, anomaly_cards, anomaly_part
from tonotopy.reporting._audio import SECONDS, Excerpts, gather_excerpts
from tonotopy.reporting._features_part import features_part
from tonotopy.reporting._html import json_data, policy, resource, script_texts, template
from tonotopy.reporting._map import MAX_POINTS, flat_map, stratified_subset
from tonotopy.reporting._picks import Neighbour, choose_queries, nearest, worst_mistakes
from tonotopy.reporting._run import Run, read_run

SEED = 0
QUERIES = 8
NEIGHBOURS = 5
MISTAKES = 12


@dataclass(frozen=True)
class _Choice:
    """The clips that appear in the page."""

    points: NDArray[np.int64]
    queries: list[tuple[int, list[Neighbour]]]
    mistakes: list[int]
    num_mistakes: int
    unseen: list[int]

    @property
    def listed(self) -> list[int]:
        near = [[query, *(n.clip for n in found)] for query, found in self.queries]
        return [*self.mistakes, *self.unseen, *(clip for row in near for clip in row)]


def write_report(
    run: Path,
    *,
    out: Path | None = None,
    max_audio_mb: float = 15.0,
    repeats: Sequence[Path] = (),
) -> Path:
    """Write one HTML file that shows what a run learnt; it needs no network and no other file.

    Args:
        run: Run folder as `fit` leaves it. Read are `metrics.json`, `embeddings.parquet` and,
            where they exist, `config.yaml`, `clips.parquet`, `logs/metrics.csv` and the audio
            files; a clip whose audio is gone is shown without sound.
        out: The file to write; `report.html` in the run folder by default.
        max_audio_mb: Room for sound in the page, in megabytes, >= 0. The scripts of the page take
            5 MB more.
        repeats: Runs of an anomaly detector with the same configuration and other seeds, for the
            spread of its figures.

    Returns:
        The file that was written.

    Raises:
        DataError: A file that every run has is missing or damaged, or the disk refuses.
        UsageError: `max_audio_mb` is negative or not finite.
    """
    if not (math.isfinite(max_audio_mb) and max_audio_mb >= 0):
        raise UsageError(f"max_audio_mb: expected a number >= 0, got {max_audio_mb}")
    read = read_run(Path(run))
    choice = _choose(read)
    anomaly = anomaly_part(read, repeats)
    listed = [*(anomaly.listed if anomaly else []), *choice.listed]
    excerpts = gather_excerpts(
        [(clip.path, clip.start) for clip in read.clips],
        listed=listed,
        others=_evaluated_first(read, choice.points),
        max_bytes=int(max_audio_mb * 1e6),
    )
    target = Path(out) if out is not None else read.folder / "report.html"
    write_text(target, _page(read, choice, anomaly, excerpts))
    return target


def _choose(run: Run) -> _Choice:
    evaluated = np.flatnonzero(run.evaluated)
    queries = choose_queries(run.clips, evaluated, count=QUERIES, seed=SEED)
    mistakes, num_mistakes = worst_mistakes(run.clips, evaluated, count=MISTAKES)
    labels = [clip.label_name for clip in run.clips]
    return _Choice(
        points=stratified_subset(labels, MAX_POINTS, seed=SEED),
        queries=[(query, nearest(run.units, query, count=NEIGHBOURS)) for query in queries],
        mistakes=mistakes,
        num_mistakes=num_mistakes,
        unseen=_tree_part.unseen_clips(run, seed=SEED),
    )


def _evaluated_first(run: Run, points: NDArray[np.int64]) -> list[int]:
    rest = ~run.evaluated[points]
    return [int(index) for index in points[np.argsort(rest, kind="stable")]]


def _page(run: Run, choice: _Choice, anomaly: AnomalyPart | None, excerpts: Excerpts) -> str:
    tree = _tree_part.tree_part(run)
    features = features_part(run)
    figures = _figures(run)
    for part in (features, tree, anomaly):
        figures |= part.figures if part else {}
    positions = flat_map(run.units[choice.points], seed=SEED)
    points = None
    if positions is not None:
        points = _charts.map_payload(choice.points, positions, run.clips)
    payload = {
        "figures": figures,
        "levels": tree.switch if tree else [],
        "map": points,
        "problems": excerpts.problems,
        "machines": list(anomaly.switch.values()) if anomaly else [],
        "names": {
            clip: run.clips[clip].name
            for clip in [*choice.listed, *(anomaly.listed if anomaly else [])]
        },
    }
    parts = [("_tree_script.js", tree), ("_anomaly_script.js", anomaly)]
    scripts = script_texts("_common.js", "_script.js", *(name for name, part in parts if part))
    styles = ["_style.css", "_tree_style.css"] if tree else ["_style.css"]
    return template("_page.html").render(
        **_numbers(run, choice),
        **_cards(run, choice, excerpts),
        run=run,
        metrics=run.metrics,
        tree=tree.words if tree else None,
        anomaly=anomaly.words if anomaly else None,
        features=features.words if features else None,
        anomaly_cards=anomaly_cards(run, anomaly, excerpts) if anomaly else {},
        figures=figures,
        has_map=points is not None,
        style=Markup("\n".join(resource(name) for name in styles)),
        data=json_data(payload),
        audio=json_data(excerpts.audio),
        scripts=[Markup(script) for script in scripts],
        policy=policy(scripts),
        written=f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC",
    )


def _numbers(run: Run, choice: _Choice) -> dict[str, Any]:
    matrices, classes = run.metrics["matrices"], _classes(run)
    confusion = matrices.get("confusion")
    return {
        "title": run.folder.resolve().name,
        "tiles": _sections.tiles(run),
        "confusions": _sections.top_confusions(confusion, classes) if confusion else [],
        "closest": _sections.closest_classes(matrices.get("distance_mean") or [], classes),
        "num_hidden": len(classes) - len(_shown(run)),
        "num_shown": len(_shown(run)),
        "num_points": len(choice.points),
        "num_mistakes": choice.num_mistakes,
        "num_judged": sum(run.clips[i].right is not None for i in np.flatnonzero(run.evaluated)),
        "seconds": SECONDS,
        "seed": SEED,
    }


def _cards(run: Run, choice: _Choice, excerpts: Excerpts) -> dict[str, Any]:
    return {
        "queries": [
            (
                _sections.clip_card(run, query, excerpts),
                [_sections.neighbour_card(run, query, near, excerpts) for near in found],
            )
            for query, found in choice.queries
        ],
        "mistakes": [_sections.clip_card(run, clip, excerpts) for clip in choice.mistakes],
        "unseen_cards": _tree_unseen.cards(run, choice.unseen, excerpts),
        "num_audible": sum(int(index) in excerpts.audio for index in choice.points),
    }


def _figures(run: Run) -> dict[str, _charts.Figure]:
    matrices = run.metrics["matrices"]
    classes, shown = _classes(run), _shown(run)
    history = run.metrics.get("history") or {}
    curves = _charts.curve_figures(run.history, history.get("best_epoch"))
    figures = {f"curve-{index}": figure for index, figure in enumerate(curves)}
    if matrices.get("confusion"):
        figures["confusion"] = _charts.confusion_figure(matrices["confusion"], classes, shown)
    pictures = (
        ("distance_mean", "mean distance", 1.0),
        ("distance_cv", "coefficient of variation", None),
    )
    for key, name, top in pictures if classes else ():
        figures[key] = _charts.distance_figure(matrices[key], classes, shown, name=name, top=top)
    return figures


def _classes(run: Run) -> list[str]:
    return [str(name) for name in run.metrics["classes"]]


def _shown(run: Run) -> list[int]:
    sizes = Counter(clip.label_name for clip in run.clips)
    return _charts.shown_classes(_classes(run), [sizes[name] for name in _classes(run)])
