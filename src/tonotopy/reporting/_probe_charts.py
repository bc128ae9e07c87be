"""Figures of a probe: accuracy against the number of labelled clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tonotopy.reporting._charts import Figure

# Readable on the light and on the dark page; a band is its line's colour, thinned.
BLUE, ORANGE = "46,116,181", "224,123,46"
COLOURS = {"linear": BLUE, "knn": ORANGE, "centroid": ORANGE}

NAMES = {
    "linear": "linear",
    "knn": "nearest neighbours",
    "centroid": "nearest centroid",
}


def accuracy_figure(rows: dict[str, Sequence[dict[str, Any]]], measure: str, title: str) -> Figure:
    """Draw the mean over draws of one accuracy, with the band that holds 95 % of the draws.

    Args:
        rows: Method to its rows, each of one number of clips per class.
        measure: Name of the accuracy.
        title: Caption of the figure.
    """
    traces: list[dict[str, Any]] = []
    sizes: set[int] = set()
    for method, found in rows.items():
        x = [row["clips_per_class"] for row in found]
        spread = [row["accuracy"][measure] for row in found]
        sizes |= set(x)
        rgb = COLOURS[method]
        low, high = ([entry[end] for entry in spread] for end in ("low", "high"))
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": x + x[::-1],
                "y": high + low[::-1],
                "fill": "toself",
                "fillcolor": f"rgba({rgb},0.2)",
                "line": {"width": 0},
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": NAMES[method],
                "x": x,
                "y": [entry["mean"] for entry in spread],
                "line": {"color": f"rgb({rgb})"},
                "customdata": [
                    [row["clips"], row["draws"], entry["low"], entry["high"]]
                    for row, entry in zip(found, spread, strict=True)
                ],
                "hovertemplate": "%{y:.1%}, 95 % of %{customdata[1]} draws in %{customdata[2]:.1%}"
                " to %{customdata[3]:.1%}<br>%{x} clips per class, %{customdata[0]} in all",
            }
        )
    ticks = sorted(sizes)
    return {
        "title": title,
        "data": traces,
        "layout": {
            "showlegend": True,
            "xaxis": {
                "type": "log",
                "title": {"text": "labelled clips per class"},
                "tickvals": ticks,
                "ticktext": [str(tick) for tick in ticks],
            },
            "yaxis": {"tickformat": ".0%", "rangemode": "tozero"},
        },
    }
