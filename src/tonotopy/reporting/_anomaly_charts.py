"""Figures about anomaly scores, as plain plotly.js JSON like the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch

from tonotopy.metrics import roc_curve
from tonotopy.reporting._charts import Figure

BINS = 40
PAUC_LIMIT = 0.1
GROUPS = {
    ("normal", "source"): "normal, source",
    ("normal", "target"): "normal, target",
    ("normal", None): "normal",
    ("anomaly", "source"): "anomaly, source",
    ("anomaly", "target"): "anomaly, target",
    ("anomaly", None): "anomaly",
}
"""Condition and domain to what the legend calls them, in its order."""


def histogram_figure(scores: pl.DataFrame, threshold: float | None) -> Figure | None:
    """Draw how scores of test clips are distributed, by condition and domain.

    Where there is no test clip, the training clips are drawn, each scored as if it were no
    reference.

    Args:
        scores: Of one machine, with `split`, `condition`, `domain` and `score`.
        threshold: Drawn as a line; None where there is none.

    Returns:
        None where no clip has a score.
    """
    shown = scores.filter(pl.col("split") == "test")
    shown = scores if shown.is_empty() else shown
    if shown.is_empty():
        return None
    edges = _edges(shown["score"].to_numpy(), threshold)
    traces = []
    for (condition, domain), name in GROUPS.items():
        own = shown.filter(
            pl.col("condition").fill_null("normal") == condition,
            pl.col("domain").eq_missing(pl.lit(domain, dtype=pl.String)),
        )
        if own.is_empty():
            continue
        counts, _ = np.histogram(own["score"].to_numpy(), bins=edges)
        traces.append(
            {
                "type": "bar",
                "name": f"{name} ({len(own)})",
                "x": [float(x) for x in (edges[:-1] + edges[1:]) / 2],
                "y": [float(count / len(own)) for count in counts],
                "width": float(edges[1] - edges[0]),
                "opacity": 0.6,
                "hovertemplate": "score %{x:.4g}: %{y:.1%}<extra>%{fullData.name}</extra>",
            }
        )
    layout: dict[str, Any] = {
        "barmode": "overlay",
        "xaxis": {"title": {"text": "anomaly score"}},
        "yaxis": {"title": {"text": "share of the clips"}, "tickformat": ".0%"},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        "showlegend": True,
    }
    if threshold is not None:
        layout["shapes"] = [_line(threshold)]
    return {"data": traces, "layout": layout}


def roc_figure(scores: pl.DataFrame) -> Figure | None:
    """Draw the ROC curve of all test clips and of each domain, with the region of the pAUC.

    A domain's curve has its normal clips against the anomalies of both domains, as the official
    AUC since 2022.

    Returns:
        None where the test clips are all normal or all anomalies.
    """
    test = scores.filter(pl.col("split") == "test")
    anomalous = test.filter(pl.col("condition") == "anomaly")["score"]
    normal = test.filter(pl.col("condition") == "normal")
    if anomalous.is_empty() or normal.is_empty():
        return None
    curves = {"all": normal["score"]}
    for domain in ("source", "target"):
        own = normal.filter(pl.col("domain") == domain)["score"]
        if not own.is_empty() and len(own) < len(normal):
            curves[f"{domain} normals"] = own
    traces = []
    for name, values in curves.items():
        curve = roc_curve(
            torch.from_numpy(values.to_numpy().copy()),
            torch.from_numpy(anomalous.to_numpy().copy()),
        )
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": curve.false_positive_rates.tolist(),
                "y": curve.true_positive_rates.tolist(),
                "hovertemplate": "%{x:.1%} false alarms, %{y:.1%} detected<extra></extra>",
            }
        )
    region = {
        "type": "rect",
        "x0": 0,
        "x1": PAUC_LIMIT,
        "y0": 0,
        "y1": 1,
        "line": {"width": 0},
        "fillcolor": "rgba(128,128,128,0.18)",
    }
    chance = {"type": "line", "x0": 0, "x1": 1, "y0": 0, "y1": 1, "line": {"dash": "dot"}}
    layout = {
        "shapes": [region, chance],
        "xaxis": {"title": {"text": "false alarms"}, "tickformat": ".0%", "range": [0, 1]},
        "yaxis": {"title": {"text": "anomalies detected"}, "tickformat": ".0%", "range": [0, 1.01]},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        "showlegend": len(traces) > 1,
    }
    return {"data": traces, "layout": layout}


def spread_figure(values: Mapping[str, Sequence[float]]) -> Figure | None:
    """Draw the AUC of every machine in each of several runs; None where there is one run."""
    if not values or max(len(found) for found in values.values()) < 2:
        return None
    points = [(name, value) for name, found in values.items() for value in found]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [value for _, value in points],
        "y": [name for name, _ in points],
        "hovertemplate": "%{y}: AUC %{x:.3f}<extra></extra>",
    }
    layout = {
        "xaxis": {"title": {"text": "AUC"}, "range": [0, 1.02]},
        "yaxis": {"type": "category", "automargin": True},
    }
    return {"data": [trace], "layout": layout}


def _edges(values: np.ndarray[Any, np.dtype[np.float64]], threshold: float | None) -> Any:
    ends = [float(values.min()), float(values.max())]
    if threshold is not None:
        ends.append(threshold)
    low, high = min(ends), max(ends)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, math.nextafter(high, math.inf), BINS + 1)


def _line(threshold: float) -> dict[str, Any]:
    return {
        "type": "line",
        "x0": threshold,
        "x1": threshold,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "line": {"dash": "dash", "width": 2},
    }
