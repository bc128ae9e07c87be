"""Tables of the rank-based loss experiment: mean and deviation over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tonotopy._files import write_json, write_text
from tonotopy.protocols._rbl_data import SplitVectors
from tonotopy.protocols._rbl_methods import INITIAL, METHODS
from tonotopy.protocols._rbl_training import RECIPES, Recipe

TITLES = {
    "silhouette_fine": "sil fine",
    "silhouette_coarse": "sil coarse",
    "silhouette": "sil avg",
    "knn_fine": "kNN fine",
    "knn_coarse": "kNN coarse",
    "misplaced": "misplaced",
    "mean_length": "mean length",
}
"""Measure to heading; the last two are of the training clips."""

LEGEND = """\
sil: silhouette by cosine distance. kNN: accuracy of the nearest training clips, k from 1 to 40
chosen on validation clips; coarse: parent of the predicted fine class. misplaced: share of the
pairs of training quadruplets whose distance is not among those of their rank. mean length: of the
mean training embedding, 1 where all coincide. All at the epoch of best validation silhouette; mean
± standard deviation over seeds. published: what of the row is as the authors published it."""


def tabulate(
    trials: Sequence[dict[str, Any]], splits: Sequence[str], recipe: Recipe
) -> list[dict[str, Any]]:
    """Give one row for each tested split, method and distance.

    Args:
        trials: Results of trials.
        splits: The tested splits.
        recipe: How all were trained.

    Returns:
        Rows of `method`, `distance`, `split`, `published`, `runs`, and
        `measures: {measure: {"mean", "sd"}}`.
    """
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for trial in trials:
        groups.setdefault((trial["method"], trial["distance"]), []).append(trial)
    return [
        {
            "method": method,
            "distance": distance,
            "split": split,
            "published": _published(method, recipe),
            "runs": len(group),
            "measures": {
                name: _spread([{**t["train"], **t[split]}[name] for t in group]) for name in TITLES
            },
        }
        for split in splits
        for (method, distance), group in groups.items()
    ]


def write_tables(
    out: Path, trials: Sequence[dict[str, Any]], data: SplitVectors, recipe: Recipe
) -> dict[str, Any]:
    """Write `results.json` and `results.md`.

    Args:
        out: Where.
        trials: Results of the finished trials.
        data: What they were trained on.
        recipe: How.

    Returns:
        What `results.json` holds: `data`, `clips`, `recipe`, `table`, `trials`.
    """
    result = {
        "data": data.about,
        "clips": {name: len(clips) for name, clips in data.splits.items()},
        "recipe": asdict(recipe),
        "table": tabulate(trials, data.tested, recipe),
        "trials": list(trials),
    }
    write_json(out / "results.json", result)
    write_text(out / "results.md", _markdown(result))
    return result


def cells(row: dict[str, Any]) -> list[str]:
    """Give the texts of a row: method, distance, runs, published, measures."""
    distance = "—" if row["method"] == INITIAL else row["distance"]
    values = [_show(value["mean"], value["sd"]) for value in row["measures"].values()]
    return [row["method"], distance, str(row["runs"]), row["published"], *values]


HEADINGS = ("method", "distance", "runs", "published", *TITLES.values())


def _published(method: str, recipe: Recipe) -> str:
    if method == INITIAL:
        return "yes"
    loss, training = METHODS[method].published, recipe == RECIPES["published"]
    if loss and training:
        return "yes"
    return "loss" if loss else "training" if training else "no"


def _spread(values: Sequence[float | None]) -> dict[str, float]:
    # NumPy, not `statistics`: a measure that is undefined in one trial is NaN, which must pass.
    numbers = [math.nan if value is None else value for value in values]
    deviation = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else math.nan
    return {"mean": float(np.mean(numbers)), "sd": deviation}


def _show(mean: float, sd: float) -> str:
    if math.isnan(mean):
        return "—"
    return f"{mean:.3f}" if math.isnan(sd) else f"{mean:.3f} ± {sd:.3f}"


def _markdown(result: dict[str, Any]) -> str:
    clips = ", ".join(f"{number} {split}" for split, number in result["clips"].items())
    recipe = result["recipe"]
    patience = "none" if recipe["patience"] is None else f"{recipe['patience']} epochs"
    parts = [
        f"{result['data']}. Clips: {clips}.",
        f"Linear layer to 3 dimensions, SGD, learning rate {recipe['learning_rate']:g}, at most "
        f"{recipe['epochs']} epochs, patience {patience}.",
    ]
    for split in dict.fromkeys(row["split"] for row in result["table"]):
        rows = [cells(row) for row in result["table"] if row["split"] == split]
        title = "Fine classes not trained on" if split == "unseen" else "Fine classes trained on"
        lines = [HEADINGS, ["---"] * len(HEADINGS), *rows]
        parts += [f"## {title}", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    return "\n\n".join([*parts, LEGEND]) + "\n"
