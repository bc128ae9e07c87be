"""A page of what a probe found: accuracies, learning curves, few-shot, confusions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tonotopy._files import finite, write_text
from tonotopy.metrics import CLIP_ACCURACIES
from tonotopy.reporting import _charts
from tonotopy.reporting._html import json_data, policy, resource, script_texts, template
from tonotopy.reporting._probe_charts import NAMES, accuracy_figure
from tonotopy.reporting._sections import percent, top_confusions

DRAWN = {"accuracy_clip_micro": "Per clip, micro", "accuracy_clip_macro": "Per clip, macro"}

METHODS = {
    "linear": "linear probe",
    "knn": "nearest neighbours",
    "finetune": "fine-tuned",
}


def write_probe_page(result: Mapping[str, Any], target: Path) -> None:
    """Write one HTML file that needs no network and no other file.

    Args:
        result: What `tonotopy.protocols.probe_run` gives.
        target: The file to write.

    Raises:
        DataError: The file cannot be written.
    """
    scripts = script_texts("_common.js")
    figures = _figures(result)
    confused = result["linear"] or result["finetune"]
    page = template("_probe_page.html").render(
        title=Path(result["source"]).name or result["source"],
        data_name=Path(result["data"]).name,
        result=result,
        tiles=_tiles(result),
        measures=CLIP_ACCURACIES,
        accuracies=_accuracy_rows(result),
        choices=_choices(result),
        shots=_shot_rows(result),
        figures=figures,
        confusions=top_confusions(confused["confusion"], result["classes"]) if confused else [],
        confused="linear probe" if result["linear"] else "fine-tuned model",
        num_classes=len(result["classes"]),
        style=Markup(resource("_style.css")),
        data=json_data(finite({"figures": figures})),
        scripts=[Markup(script) for script in scripts],
        policy=policy(scripts),
        written=f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC",
    )
    write_text(target, page)


def _figures(result: Mapping[str, Any]) -> dict[str, _charts.Figure]:
    figures: dict[str, _charts.Figure] = {}
    for part, methods in (
        ("learning_curves", ("linear", "knn")),
        ("few_shot", ("centroid", "linear")),
    ):
        found = result[part]
        rows = {name: found[name] for name in methods if found and found.get(name)}
        if rows:
            for measure, title in DRAWN.items():
                figures[f"{part}-{measure}"] = accuracy_figure(rows, measure, title)
    confused = result["linear"] or result["finetune"]
    if confused:
        classes = result["classes"]
        sizes = [sum(row) for row in confused["confusion"]]
        shown = _charts.shown_classes(classes, sizes)
        figures["confusion"] = _charts.confusion_figure(confused["confusion"], classes, shown)
    return figures


def _tiles(result: Mapping[str, Any]) -> list[dict[str, str]]:
    clips, patches = result["clips"], result["patches"]
    tiles = [
        ("Classes", str(len(result["classes"])), "with training clips"),
        *(
            (f"{name} clips", str(clips[split]), f"{patches[split]} patches")
            for split, name in (("train", "Training"), ("val", "Validation"), ("test", "Test"))
        ),
    ]
    for method, name in METHODS.items():
        if result[method]:
            found = result[method]["accuracy"]
            hint = f"per clip; macro {percent(found['accuracy_clip_macro']['value'])}"
            value = percent(found["accuracy_clip_micro"]["value"])
            tiles.append((name.capitalize(), value, hint))
    return [{"name": name, "value": value, "hint": hint} for name, value, hint in tiles]


def _accuracy_rows(result: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Give of every method each accuracy and its interval."""
    return [
        (
            name,
            [
                (percent(entry["value"]), _range(entry))
                for entry in (result[method]["accuracy"][measure] for measure in CLIP_ACCURACIES)
            ],
        )
        for method, name in METHODS.items()
        if result[method]
    ]


def _shot_rows(result: Mapping[str, Any]) -> list[tuple[str, int, list[tuple[str, str]]]]:
    """Give of every method and k each accuracy, its deviation and the middle of the draws."""
    found = result["few_shot"] or {}
    return [
        (
            NAMES[method],
            row["clips_per_class"],
            [
                (_mean(entry), _range(entry))
                for entry in (row["accuracy"][measure] for measure in CLIP_ACCURACIES)
            ],
        )
        for method in ("centroid", "linear")
        for row in found.get(method, [])
    ]


def _mean(entry: Mapping[str, Any]) -> str:
    deviation = (
        "" if entry["sd"] is None or math.isnan(entry["sd"]) else f" ± {100 * entry['sd']:.1f}"
    )
    return percent(entry["mean"]) + deviation


def _range(entry: Mapping[str, float]) -> str:
    return f"{100 * entry['low']:.1f} to {100 * entry['high']:.1f}"


def _choices(result: Mapping[str, Any]) -> list[str]:
    """Say what was chosen, and on what."""
    told = []
    if result["linear"]:
        found = result["linear"]
        told.append(f"Linear probe: penalty {found['penalty']:g}, chosen on {found['chosen_on']}.")
        if not found["converged"]:
            told.append("The solver of the linear probe stopped before it had converged.")
    if result["knn"]:
        found = result["knn"]
        told.append(f"Nearest neighbours: k = {found['k']}, chosen on {found['chosen_on']}.")
    if result["finetune"]:
        found = result["finetune"]
        told.append(f"Fine-tuned for {found['epochs']} epochs; its run is {found['run']}.")
    return told
