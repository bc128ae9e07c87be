"""Figures as plain plotly.js JSON; the page's script adds colours, fonts and sizes."""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tonotopy.reporting._run import Clip

Figure = dict[str, Any]
Matrix = list[list[float | None]]

MAX_TICKS = 60
MAX_CLASSES = 300
TICK_LENGTH = 22


def plain(text: str) -> str:
    """Make text safe for plotly, which reads a subset of HTML in labels and hover boxes."""
    return html.escape(" ".join(text.split()), quote=False)


def curve_figures(history: dict[str, list[float | None]], best_epoch: int | None) -> list[Figure]:
    """Draw the learning curves, one figure a kind of quantity.

    Args:
        history: Columns of the log; `epoch` is the horizontal axis.
        best_epoch: Epoch that was kept; drawn as a vertical line.

    Returns:
        Figures with a `title`; kinds without a single measurement are left out.
    """
    measured = {
        name: column
        for name, column in history.items()
        if any(value is not None for value in column)
    }
    kinds: dict[str, list[str]] = {}
    for name in measured:
        kind = _kind_of_curve(name)
        if kind:
            kinds.setdefault(kind, []).append(name)
    epochs = measured.get("epoch") or [float(row) for row in range(_length(measured))]
    return [
        line_figure(kind, {name: measured[name] for name in names}, epochs, best_epoch)
        for kind, names in kinds.items()
    ]


def _kind_of_curve(name: str) -> str | None:
    group, _, rest = name.partition("/")
    if name.endswith("_pairs"):
        return None  # counts in the thousands, beside which every term is flat
    if group == "train" and (other := _other_than_a_loss(name)):
        return other
    if group == "train" or name == "val/loss":
        return "Loss and its terms"
    if group == "val":
        return "Validation scores"
    if group == "monitor":
        return {
            "effective_rank": "Effective rank",
            "mean_cosine": "Mean cosine of all pairs",
        }.get(rest, rest.replace("_", " ").capitalize())
    return "Learning rate" if name == "lr" else None


def _other_than_a_loss(name: str) -> str | None:
    """Name what a loss logs beside its terms, on scales of its own."""
    last = name.rpartition("/")[2]
    if last.endswith("_angle"):
        return "Angles in radians"
    return {"active": "Share within the margin", "temperature": "Temperature"}.get(last)


def line_figure(
    title: str,
    columns: dict[str, list[float | None]],
    epochs: Sequence[float | None],
    best_epoch: int | None,
) -> Figure:
    """Draw columns of the log over the epochs.

    Args:
        title: Kept as `title` of the figure.
        columns: Name to value by epoch; `None` where it was not measured.
        epochs: The epochs.
        best_epoch: Epoch that was kept; drawn as a vertical line.
    """
    marker = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": best_epoch, "x1": best_epoch}
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers" if len(epochs) <= 60 else "lines",
            "name": plain(name),
            "x": list(epochs),
            "y": column,
            "connectgaps": True,
            "marker": {"size": 5},
            "hovertemplate": "epoch %{x}: %{y:.4g}",
        }
        for name, column in columns.items()
    ]
    return {
        "title": title,
        "data": traces,
        "layout": {
            "showlegend": len(traces) > 1,
            "xaxis": {"title": {"text": "epoch"}, "tickformat": "d"},
            "yaxis": {"rangemode": "tozero"},
            "shapes": [] if best_epoch is None else [marker],
        },
    }


def _length(columns: dict[str, list[float | None]]) -> int:
    return max((len(column) for column in columns.values()), default=0)


def shown_classes(classes: Sequence[str], sizes: Sequence[int]) -> list[int]:
    """Choose the classes that fit into a heat map: all, or the `MAX_CLASSES` with most clips."""
    largest = sorted(range(len(classes)), key=lambda c: -sizes[c])[:MAX_CLASSES]
    return sorted(largest)


def confusion_figure(confusion: Matrix, classes: Sequence[str], shown: Sequence[int]) -> Figure:
    """Draw a confusion matrix: colour is the share of the true class, hover gives counts."""
    counts = _square(confusion)
    with np.errstate(invalid="ignore"):
        shares = counts / counts.sum(axis=1, keepdims=True)
    figure = _heat_map(_cut(shares, shown), [classes[c] for c in shown], top=1.0, colours="blues")
    figure["data"][0] |= {
        "customdata": [[int(counts[a, b]) for b in shown] for a in shown],
        "hovertemplate": "true %{y}<br>predicted %{x}<br>%{customdata} clips, %{z:.1%} of the true"
        " class<extra></extra>",
    }
    figure["data"][0]["colorbar"] |= {"tickformat": ".0%"}
    figure["layout"]["xaxis"]["title"] = {"text": "predicted class"}
    figure["layout"]["yaxis"]["title"] = {"text": "true class"}
    return figure


def distance_figure(
    values: Matrix, classes: Sequence[str], shown: Sequence[int], *, name: str, top: float | None
) -> Figure:
    """Draw a class-by-class matrix of the cosine distance.

    Args:
        values: C x C; `None` where undefined.
        classes: Class names.
        shown: Which classes to draw.
        name: What the matrix holds, for the hover box.
        top: Upper end of the colours; `None` takes the 99th percentile, so that one odd cell does
            not turn all others the same colour.
    """
    matrix = _square(values)
    finite = matrix[np.isfinite(matrix)]
    if top is None:
        top = float(np.percentile(finite, 99)) if finite.size else 1.0
    else:
        top = max(top, float(finite.max(initial=0.0)))
    figure = _heat_map(_cut(matrix, shown), [classes[c] for c in shown], top=top, colours="magma")
    figure["data"][0]["hovertemplate"] = (
        f"%{{y}}<br>%{{x}}<br>{plain(name)} %{{z:.3f}}<extra></extra>"
    )
    return figure


def _square(values: Matrix) -> NDArray[np.float64]:
    rows = [[math.nan if value is None else value for value in row] for row in values]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(rows))


def _cut(matrix: NDArray[np.float64], shown: Sequence[int]) -> list[list[float | None]]:
    return [
        [None if not math.isfinite(value) else round(value, 4) for value in row]
        for row in matrix[np.ix_(shown, shown)].tolist()
    ]


def _heat_map(cells: Matrix, names: Sequence[str], *, top: float, colours: str) -> Figure:
    labels = [plain(name) for name in names]
    axis: dict[str, Any] = {
        "type": "category",
        "tickvals": labels,
        "ticktext": [plain(text) for text in tick_texts(names)],
        "showticklabels": len(names) <= MAX_TICKS,
    }
    trace = {
        "type": "heatmap",
        "x": labels,
        "y": labels,
        "z": cells,
        "zmin": 0,
        "zmax": top or 1.0,
        "colours": colours,
        "hoverongaps": False,
        "xgap": 1 if len(names) <= 25 else 0,
        "ygap": 1 if len(names) <= 25 else 0,
        "colorbar": {},
    }
    # Row 1 on top, as in a printed table.
    layout = {"xaxis": axis, "yaxis": {**axis, "autorange": "reversed"}}
    return {"data": [trace], "layout": layout}


def tick_texts(names: Sequence[str]) -> list[str]:
    """Shorten class names for an axis: as much of the end as says enough, and not too long.

    >>> tick_texts(["Wind/Flute", "Wind/Other", "Strings/Other"])
    ['Flute', 'Wind/Other', 'Strings/Other']
    """
    ends = [_ends(name) for name in names]
    uses = Counter(end for some in ends for end in some)
    told = [next((end for end in some if uses[end] == 1), some[-1]) for some in ends]
    return [_cut_text(text) for text in told]


def _ends(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[start:]) for start in reversed(range(len(parts)))]


def _cut_text(text: str) -> str:
    if len(text) <= TICK_LENGTH:
        return text
    # Of a path the end tells most; of a single name the beginning.
    return "…" + text[1 - TICK_LENGTH :] if "/" in text else text[: TICK_LENGTH - 1] + "…"


def map_payload(
    points: NDArray[np.int64], positions: NDArray[np.float64], clips: Sequence[Clip]
) -> dict[str, Any]:
    """Prepare the map: positions, hover texts and the ways to colour it.

    Returns:
        `{"x", "y", "clip", "name", "text", "colourings": [{"name", "groups", "index"}]}`.
    """
    members = [clips[index] for index in points]
    deepest = max((len(clip.label) for clip in members), default=0)
    colourings = [
        _colouring(
            _level_name(level, deepest),
            ["/".join(clip.label[: level + 1]) or clip.label_name for clip in members],
        )
        for level in reversed(range(deepest))
    ]
    colourings.append(_colouring("Split", [clip.split or "no split" for clip in members]))
    if any(clip.right is not None for clip in members):
        outcome = {True: "right", False: "wrong", None: "unknown"}
        colourings.append(_colouring("Prediction", [outcome[clip.right] for clip in members]))
    return {
        "x": positions[:, 0].round(3).tolist(),
        "y": positions[:, 1].round(3).tolist(),
        "clip": [int(index) for index in points],
        "name": [clip.name for clip in members],
        "text": [_hover(clip) for clip in members],
        "colourings": colourings,
    }


def _level_name(level: int, deepest: int) -> str:
    if deepest == 1:
        return "Label"
    end = {0: " (coarsest)", deepest - 1: " (finest)"}.get(level, "")
    return f"Label, level {level + 1}{end}"


def _colouring(name: str, values: Sequence[str]) -> dict[str, Any]:
    groups = sorted(set(values))
    place = {group: index for index, group in enumerate(groups)}
    return {"name": name, "groups": groups, "index": [place[value] for value in values]}


def _hover(clip: Clip) -> str:
    lines = [f"<b>{plain(clip.name)}</b>", plain(clip.label_name)]
    if clip.predicted is not None:
        sure = "" if clip.confidence is None else f" ({clip.confidence:.0%})"
        lines.append(f"predicted {plain(clip.predicted)}{sure}")
    return "<br>".join(lines)
