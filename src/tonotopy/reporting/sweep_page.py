"""A page of a sweep over alpha and temperature: accuracy, features, and the choice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tonotopy._files import finite, write_text
from tonotopy.reporting._charts import Figure
from tonotopy.reporting._html import json_data, policy, resource, script_texts, template
from tonotopy.reporting._sections import DASH, Tile, percent, ratio

Place = Mapping[str, Any]

COLUMNS = {
    "val_knn": "validation kNN",
    "test_knn": "test kNN",
    "uniformity": "uniformity",
    "tolerance": "tolerance",
    "effective_rank": "effective rank",
    "hubness": "hubness",
}
SHARES = ("val_knn", "test_knn")


def write_sweep_page(result: Mapping[str, Any], target: Path) -> None:
    """Write one HTML file that needs no network and no other file.

    Args:
        result: What `tonotopy.protocols.contrast_sweep.run_contrast_sweep` gives.
        target: The file to write.

    Raises:
        DataError: The file cannot be written.
    """
    scripts = script_texts("_common.js")
    figures = sweep_figures(result)
    page = template("_sweep_page.html").render(
        title=target.resolve().parent.name,
        tiles=_tiles(result),
        columns=list(COLUMNS.values()),
        rows=[_row(place, place is result["chosen"]) for place in result["grid"]],
        chosen=result["chosen"],
        axis="temperature" if len(_temperatures(result["grid"])) > 1 else "alpha",
        finished=len(result["trials"]),
        planned=result["planned"],
        figures=figures,
        style=Markup(resource("_style.css")),
        data=json_data(finite({"figures": figures})),
        scripts=[Markup(script) for script in scripts],
        policy=policy(scripts),
        written=f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC",
    )
    write_text(target, page)


def sweep_figures(result: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw the sweep; what was not measured has no figure."""
    grid, chosen = result["grid"], result["chosen"]
    figures: dict[str, Figure | None] = {name: _by_alpha(grid, name, chosen) for name in SHARES}
    draw = _by_temperature if len(_temperatures(grid)) > 1 else _by_alpha
    for name in ("uniformity", "tolerance"):
        figures[name] = draw(grid, name)
    figures["plane"] = _plane(grid, chosen)
    return {name: figure for name, figure in figures.items() if figure is not None}


def _by_alpha(grid: Sequence[Place], name: str, chosen: Place | None = None) -> Figure | None:
    """Draw a measure over alpha, a line for each temperature, bars of a deviation over seeds."""
    places = _measured(grid, name)
    if not places:
        return None
    traces = []
    for temperature in _temperatures(places):
        here = [place for place in places if place["temperature"] == temperature]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": f"temperature {temperature:g}",
                "x": [place["alpha"] for place in here],
                "y": [place[name]["mean"] for place in here],
                "error_y": {
                    "type": "data",
                    "array": [_deviation(place[name]) for place in here],
                    "thickness": 1,
                    "width": 3,
                },
                "customdata": [[place["runs"], _plus_minus(place, name)] for place in here],
                "hovertemplate": f"alpha %{{x}}, temperature {temperature:g}<br>%{{customdata[1]}}"
                "<br>%{customdata[0]} runs<extra></extra>",
            }
        )
    if chosen is not None and not math.isnan(chosen[name]["mean"]):
        traces.append(_ring([chosen["alpha"]], [chosen[name]["mean"]]))
    layout = {
        "showlegend": True,
        "xaxis": {"title": {"text": "alpha"}, "range": [-0.04, 1.04]},
        "yaxis": {"tickformat": ".0%" if name in SHARES else ""},
    }
    return {"data": traces, "layout": layout}


def _by_temperature(grid: Sequence[Place], name: str) -> Figure | None:
    """Draw a measure of the features over temperature, a line for each alpha."""
    places = _measured(grid, name)
    if not places:
        return None
    traces = []
    for number, alpha in enumerate(sorted({place["alpha"] for place in places})):
        here = [place for place in places if place["alpha"] == alpha]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": [place["temperature"] for place in here],
                "y": [place[name]["mean"] for place in here],
                "customdata": [_plus_minus(place, name) for place in here],
                "hovertemplate": f"alpha {alpha:g}, temperature %{{x}}<br>{name} %{{customdata}}"
                "<extra></extra>",
                "line": {"width": 1},
                "marker": {
                    "size": 9,
                    "color": [alpha] * len(here),
                    "cmin": 0,
                    "cmax": 1,
                    "colours": "warmth",
                    "showscale": number == 0,
                    "colorbar": {"title": {"text": "alpha"}},
                },
            }
        )
    layout = {"showlegend": False, "xaxis": {"title": {"text": "temperature"}}}
    return {"data": traces, "layout": layout}


def _plane(grid: Sequence[Place], chosen: Place | None) -> Figure | None:
    """Draw tolerance over uniformity, one point a place, coloured by validation accuracy."""
    places = _measured(_measured(grid, "uniformity"), "tolerance")
    if not places:
        return None
    judged = bool(_measured(places, "val_knn"))
    colour = [place["val_knn"]["mean"] if judged else place["alpha"] for place in places]
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": [place["uniformity"]["mean"] for place in places],
        "y": [place["tolerance"]["mean"] for place in places],
        "customdata": [
            [place["alpha"], place["temperature"], _plus_minus(place, "val_knn")]
            for place in places
        ],
        "hovertemplate": "alpha %{customdata[0]}, temperature %{customdata[1]}<br>uniformity"
        " %{x:.3f}, tolerance %{y:.3f}<br>validation kNN %{customdata[2]}<extra></extra>",
        "marker": {
            "size": 11,
            "color": colour,
            "colours": "warmth",
            "showscale": True,
            "colorbar": {
                "title": {"text": "validation kNN" if judged else "alpha"},
                "tickformat": ".0%" if judged else ".1f",
            },
        },
    }
    traces: list[dict[str, Any]] = [points]
    if chosen is not None and chosen in places:
        traces.append(_ring([chosen["uniformity"]["mean"]], [chosen["tolerance"]["mean"]]))
    layout = {
        "showlegend": False,
        "xaxis": {"title": {"text": "uniformity"}},
        "yaxis": {"title": {"text": "tolerance"}},
    }
    return {"data": traces, "layout": layout}


def _ring(x: list[float], y: list[float]) -> dict[str, Any]:
    """Mark what validation chose."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "chosen by validation",
        "hoverinfo": "skip",
        "x": x,
        "y": y,
        "marker": {"symbol": "circle-open", "size": 20, "line": {"width": 2.5}},
        "ring": True,
    }


def _temperatures(grid: Sequence[Place]) -> list[float]:
    return sorted({place["temperature"] for place in grid})


def _measured(grid: Sequence[Place], name: str) -> list[Place]:
    return [place for place in grid if not math.isnan(place[name]["mean"])]


def _deviation(value: Mapping[str, float]) -> float:
    return 0.0 if math.isnan(value["sd"]) else value["sd"]


def _plus_minus(place: Place, name: str) -> str:
    value, write = place[name], percent if name in SHARES else ratio
    if math.isnan(value["mean"]):
        return DASH
    return write(value["mean"]) + (f" ± {write(value['sd'])}" if value["n"] > 1 else "")


def _row(place: Place, chosen: bool) -> dict[str, Any]:
    return {
        "chosen": chosen,
        "alpha": f"{place['alpha']:g}",
        "temperature": f"{place['temperature']:g}",
        "runs": place["runs"],
        "cells": [_plus_minus(place, name) for name in COLUMNS],
    }


def _tiles(result: Mapping[str, Any]) -> list[Tile]:
    chosen, baseline = result["chosen"], result["baseline"]
    seeds = {trial["seed"] for trial in result["trials"]}
    tiles = [
        Tile("trials", f"{len(result['trials'])} of {result['planned']}", "finished"),
        Tile("seeds", str(len(seeds)), "the spread is over these"),
    ]
    if chosen is not None:
        tiles += [
            Tile("alpha", f"{chosen['alpha']:g}", "chosen by validation"),
            Tile("temperature", f"{chosen['temperature']:g}", "chosen by validation"),
            Tile("validation kNN", percent(chosen["val_knn"]["mean"]), "of the chosen place"),
            Tile("test kNN", percent(chosen["test_knn"]["mean"]), "of the same, looked at after"),
        ]
    if baseline is not None and baseline is not chosen:
        hint = f"plain NT-Xent, temperature {baseline['temperature']:g} by validation"
        tiles.append(Tile("test kNN, alpha 1", percent(baseline["test_knn"]["mean"]), hint))
    return tiles
