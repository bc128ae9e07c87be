"""The figure of the experiment on the synthetic plant: detection by severity, and false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tonotopy.protocols._plant_scores import CALIBRATIONS
from tonotopy.protocols._plant_tables import ALL_DOMAINS, ANY_FAULT, SITE

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
"""Of Okabe and Ito, which colour-blind people can tell apart."""


def plant_figure(result: dict[str, Any]) -> str:
    """Draw the share of faults detected against severity, and false alarms against the promise.

    Of the first method and rate: detection in the source domain by thresholds of a site, a panel
    for each ratio to the noise; false alarms of each machine by thresholds of a machine. Bars are
    95 % intervals.

    Args:
        result: What `results.json` holds.

    Returns:
        One HTML page that needs no network.
    """
    from plotly.subplots import make_subplots

    method, rate = result["trials"][0]["method"], result["rates"][0]
    ratios = sorted({row["snr_db"] for row in result["auc"]})
    figure = make_subplots(
        rows=2,
        cols=len(ratios),
        specs=[[{}] * len(ratios), [{"colspan": len(ratios)}, *[None] * (len(ratios) - 1)]],
        subplot_titles=[
            *(f"faults detected at {ratio:+g} dB, source" for ratio in ratios),
            "false alarms on fresh clips of sound machines",
        ],
        shared_yaxes="rows",
    )
    for column, ratio in enumerate(ratios, start=1):
        for trace in _detection(result["detection"], method, rate, ratio, legend=column == 1):
            figure.add_trace(trace, row=1, col=column)
        figure.update_xaxes(title_text="severity", row=1, col=column)
        figure.update_yaxes(range=[-0.02, 1.02], row=1, col=column)
    for trace in _false_alarms(result["false_alarms"], method, rate):
        figure.add_trace(trace, row=2, col=1)
    figure.add_hline(y=rate, line={"dash": "dash"}, row=2, col=1)
    figure.update_yaxes(title_text="share", col=1)
    figure.update_layout(
        title=f"Synthetic plant, classes: {method}, promised false-alarm rate {rate:.0%}",
        height=900,
        template="plotly_white",
    )
    page: str = figure.to_html(full_html=True, include_plotlyjs=True)
    return page


def _detection(
    rows: Sequence[dict[str, Any]], method: str, rate: float, ratio: float, *, legend: bool
) -> list[Any]:
    """Draw a line a fault, and one with intervals for all."""
    import plotly.graph_objects as go

    wanted = (method, rate, SITE, "source")
    kept = [
        row for row in rows if (row["method"], row["rate"], row["scope"], row["domain"]) == wanted
    ]
    faults = sorted({row["fault"] for row in kept} - {ANY_FAULT})  # of all ratios: colours agree
    traces = []
    for number, fault in enumerate([*faults, ANY_FAULT]):
        own = [row for row in kept if (row["fault"], row["snr_db"]) == (fault, ratio)]
        every = fault == ANY_FAULT
        colour = "black" if every else COLOURS[number % len(COLOURS)]
        trace = go.Scatter(
            x=[row["severity"] for row in own],
            y=[row["detected"] / row["clips"] for row in own],
            error_y=_intervals(own, "detected") if every else None,
            name="any fault" if every else fault,
            legendgroup=fault,
            showlegend=legend,
            line={"color": colour, "width": 3 if every else 1.5},
        )
        traces.append(trace)
    return traces


def _false_alarms(rows: Sequence[dict[str, Any]], method: str, rate: float) -> list[Any]:
    """Draw a mark a machine for each way of calibrating."""
    import plotly.graph_objects as go

    traces = []
    styles = (("circle-open", COLOURS[4]), ("circle", COLOURS[0]))
    for calibration, (symbol, colour) in zip(CALIBRATIONS, styles, strict=True):
        wanted = (method, rate, ALL_DOMAINS, calibration)
        own = [
            row
            for row in rows
            if (row["method"], row["rate"], row["scope"], row["calibration"]) == wanted
            and row["machine"] != "all"
        ]
        trace = go.Scatter(
            x=[row["machine"] for row in own],
            y=[row["alarms"] / row["clips"] for row in own],
            error_y=_intervals(own, "alarms"),
            name=f"calibrated on {calibration}",
            mode="markers",
            marker={"symbol": symbol, "size": 8, "color": colour},
        )
        traces.append(trace)
    return traces


def _intervals(rows: Sequence[dict[str, Any]], count: str) -> dict[str, Any]:
    shares = [row[count] / row["clips"] for row in rows]
    return {
        "type": "data",
        "symmetric": False,
        "array": [row["high"] - share for row, share in zip(rows, shares, strict=True)],
        "arrayminus": [share - row["low"] for row, share in zip(rows, shares, strict=True)],
    }
