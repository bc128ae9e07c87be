"""The part of the page about the use of the sphere: put together where a run has measured it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tonotopy.reporting._charts import Figure, line_figure
from tonotopy.reporting._run import Run
from tonotopy.reporting._sections import DASH, Tile, percent, ratio

PREFIX = "features/"
KNN = "val/knn_accuracy"
FEWEST_EPOCHS = 5
COLLAPSED_RANK = 1.5

NAMES = {
    "uniformity": "uniformity",
    "tolerance": "tolerance",
    "tolerance_literal": "tolerance, literal",
    "alignment": "alignment",
    "effective_rank": "effective rank",
    "hubness": "hubness",
}

MEANINGS = {
    "uniformity": "Log of the mean closeness of all pairs: 0 when all clips lie in one place, about"
    " -4 when they spread evenly. Lower is good as long as tolerance does not fall with it.",
    "tolerance": "Mean cosine of two clips of one class, at most 1. Higher is good as long as"
    " uniformity stays low: near 1 beside a uniformity near 0, all clips are merely alike.",
    "tolerance_literal": "The same sum shared among all pairs, as the formula is printed: smaller"
    " the more classes there are. Compare it only between models on the same clips.",
    "alignment": "Mean squared distance of two views of a clip, 0 to 4. Lower is good as long as"
    " uniformity stays low: a collapsed model reaches 0.",
    "effective_rank": "Dimensions in use. A handful is a sign of collapse; beyond that more is no"
    " merit in itself: as few as there are kinds of sounds can be enough.",
    "hubness": "Skewness of how often a clip is among the 10 nearest of others. Near 0 is good; the"
    " higher, the more a few clips answer every search.",
}

CURVES = {
    "Uniformity": (("uniformity",), "Falls as clips spread out; back towards 0 is collapse."),
    "Tolerance": (
        ("tolerance", "tolerance_literal"),
        "Classes stay together where it is high. At 1 nothing is told apart.",
    ),
    "Alignment": (("alignment",), "Falls as the views of a clip come together."),
    "Effective rank": (("effective_rank",), "A fall to a few dimensions is collapse."),
    "Hubness": (("hubness",), "Rises where a few clips become neighbours of all."),
}


@dataclass(frozen=True)
class FeaturesPart:
    """What this part of the page needs.

    Attributes:
        words: Texts and rows for the template.
        figures: Figures by the id of their place in the page.
    """

    words: dict[str, Any]
    figures: dict[str, Figure]


def features_part(run: Run) -> FeaturesPart | None:
    """Put the part together, or give `None` where the run has no such numbers."""
    found = run.metrics.get("features")
    if not found:
        return None
    history = {name: run.history.get(PREFIX + name, []) for name in NAMES}
    knn = run.history.get(KNN, [])
    figures: dict[str, Figure] = {}
    curves: list[tuple[str, str, str]] = []
    for title, (names, reading) in CURVES.items():
        columns = {NAMES[name]: history[name] for name in names if _measured(history[name])}
        columns |= _projected(run, names)
        if columns:
            figure = line_figure(title, columns, _epochs(run), _best_epoch(run))
            figures[f"features-{len(curves)}"] = figure
            curves.append((f"features-{len(curves)}", title, reading))
    trajectory = trajectory_figure(history["uniformity"], history["tolerance"], knn, _epochs(run))
    if trajectory is not None:
        figures["features-trajectory"] = trajectory
    sampled = found.get("sampled_clips")
    words = {
        "tiles": tiles(found),
        "curves": curves,
        "relations": _relations(history, knn),
        "by_knn": _measured(knn),
        "knn": _final_knn(run),
        "collapsed": _collapsed(found),
        "sampled": None if sampled is None else int(sampled),
    }
    return FeaturesPart(words, figures)


def tiles(found: dict[str, float | None]) -> list[Tile]:
    """List the numbers, each with what it means and when which direction is good."""
    return [
        Tile(name, _written(key, found[key]), MEANINGS[key])
        for key, name in NAMES.items()
        if key in found
    ]


def _written(key: str, value: float | None) -> str:
    return f"{value:.1f}" if key == "effective_rank" and value is not None else ratio(value)


def trajectory_figure(
    uniformity: Sequence[float | None],
    tolerance: Sequence[float | None],
    knn: Sequence[float | None],
    epochs: Sequence[float | None],
) -> Figure | None:
    """Draw tolerance over uniformity, one point an epoch, coloured by kNN accuracy or by epoch.

    Args:
        uniformity: By epoch; `None` where it was not measured.
        tolerance: By epoch.
        knn: kNN accuracy by epoch; empty where there is none.
        epochs: The epochs.

    Returns:
        The figure; `None` where fewer than two epochs have both numbers.
    """
    rows = [
        at
        for at, (u, t) in enumerate(zip(uniformity, tolerance, strict=False))
        if u is not None and t is not None
    ]
    if len(rows) < 2:
        return None
    scores = [knn[at] if at < len(knn) else None for at in rows]
    by_knn = _measured(scores)
    ends = {rows[0]: "first", rows[-1]: "last"}
    trace = {
        "type": "scatter",
        "mode": "lines+markers+text",
        "x": [uniformity[at] for at in rows],
        "y": [tolerance[at] for at in rows],
        "text": [ends.get(at, "") for at in rows],
        "textposition": ["bottom center" if at == rows[-1] else "top center" for at in rows],
        "cliponaxis": False,
        "customdata": [
            [epochs[at], percent(score)] for at, score in zip(rows, scores, strict=True)
        ],
        "hovertemplate": "epoch %{customdata[0]}<br>uniformity %{x:.3f}<br>tolerance %{y:.3f}"
        + ("<br>kNN accuracy %{customdata[1]}" if by_knn else "")
        + "<extra></extra>",
        "line": {"width": 1},
        "marker": {
            "size": 9,
            "color": scores if by_knn else [epochs[at] for at in rows],
            "colours": "warmth",
            "showscale": True,
            "colorbar": {
                "title": {"text": "kNN accuracy" if by_knn else "epoch"},
                "tickformat": ".0%" if by_knn else "d",
            },
        },
    }
    layout = {
        "showlegend": False,
        "xaxis": {"title": {"text": "uniformity"}},
        "yaxis": {"title": {"text": "tolerance"}},
    }
    return {"data": [trace], "layout": layout}


def _projected(run: Run, names: Sequence[str]) -> dict[str, list[float | None]]:
    """Find the same measures of the projections on which a loss compares views."""
    return {
        f"{column.partition('/')[0]}, projected": values
        for column, values in run.history.items()
        if any(column.endswith(f"/projected_{name}") for name in names) and _measured(values)
    }


def _relations(
    history: dict[str, list[float | None]], knn: Sequence[float | None]
) -> list[tuple[str, str, str]]:
    """Give measure, rank correlation with kNN accuracy over epochs, and number of epochs."""
    rows = []
    for key, name in NAMES.items():
        both = [
            (value, score)
            for value, score in zip(history[key], knn, strict=False)
            if value is not None and score is not None
        ]
        if len(both) >= FEWEST_EPOCHS:
            rows.append((name, _correlation(np.array(both)), str(len(both))))
    return rows


def _correlation(pairs: np.ndarray[Any, Any]) -> str:
    from scipy.stats import rankdata

    ranks = rankdata(pairs, axis=0)
    if (np.ptp(ranks, axis=0) == 0).any():
        return DASH  # one of the two never changed
    return f"{np.corrcoef(ranks.T)[0, 1]:+.2f}"


def _measured(column: Sequence[float | None]) -> bool:
    return any(value is not None for value in column)


def _epochs(run: Run) -> list[float | None]:
    length = max((len(column) for column in run.history.values()), default=0)
    return run.history.get("epoch") or [float(row) for row in range(length)]


def _best_epoch(run: Run) -> int | None:
    epoch: int | None = (run.metrics.get("history") or {}).get("best_epoch")
    return epoch


def _final_knn(run: Run) -> str | None:
    accuracy = (run.metrics.get("knn") or {}).get("accuracy")
    return None if accuracy is None else percent(accuracy)


def _collapsed(found: dict[str, float | None]) -> bool:
    rank = found.get("effective_rank")
    return rank is not None and rank < COLLAPSED_RANK
