"""Tables of the fan experiment: mean and deviation over seeds, and groups of losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tonotopy._files import write_json, write_text
from tonotopy.protocols._fan_data import FanTable
from tonotopy.protocols._fan_methods import ANGULAR_MARGIN, ONE_CLASS, RAW, UNTRAINED
from tonotopy.protocols._fan_scoring import BACK_ENDS, OWN
from tonotopy.protocols._fan_training import Recipe

TITLES = {
    "official": "official",
    "auc_source": "AUC source",
    "auc_target": "AUC target",
    "auc_within_source": "source only",
    "auc_within_target": "target only",
    "pauc": "pAUC",
    "false_alarms_source": "FA source",
    "false_alarms_target": "FA target",
}
"""Measure to heading."""

GROUPS: dict[str, Callable[[str, str], bool]] = {
    "raw features": lambda method, task: method == RAW,
    "untrained encoder": lambda method, task: method == UNTRAINED,
    "one-class losses": lambda method, task: method in ONE_CLASS,
    "class compactness, id": lambda method, task: (method, task) == ("class-compactness", "id"),
    "cross-entropy, id": lambda method, task: (method, task) == ("ce", "id"),
    "angular margin, id": lambda m, task: m in ANGULAR_MARGIN and task == "id",
    "angular margin, id+domain": lambda m, task: m in ANGULAR_MARGIN and task == "id+domain",
}
"""What is averaged, seed by seed, to answer the questions of the experiment."""

BASELINE = "one-class losses"

COMPARED = ("official", "auc_source", "auc_target", "pauc")

DENSITY = {"nn": "nn+ldn", "k-means": "k-means+ldn"}
"""Back ends without and with local density normalisation."""

LEGEND = """\
official: harmonic mean over fans of source AUC, target AUC and pAUC. AUC source, target: normal
clips of the domain against the anomalies of both; source only, target only: against those of the
domain itself. gap: distance of the first two; with ldn: what it adds. pAUC: both domains, false
positive rate up to 0.1, standardised. FA: share of normal test clips above a conformal threshold
for a rate of 0.1, from leave-one-out scores of the references. ldn: local density normalisation.
own: the score that the loss itself stands for. accuracy: of the auxiliary task on the references.
rank: effective rank of the reference embeddings. Mean ± standard deviation over seeds, which draw
references, weights and batches. Nothing was chosen on test clips."""


def write_tables(
    out: Path, trials: Sequence[dict[str, Any]], table: FanTable, recipe: Recipe
) -> dict[str, Any]:
    """Write `results.json` and `results.md`.

    Args:
        out: Where.
        trials: Results of the finished trials.
        table: What they were trained on.
        recipe: How.

    Returns:
        What `results.json` holds: `sections`, `recipe`, `table`, `groups`, `density`, `trials`.
    """
    result = {
        "sections": list(table.sections),
        "recipe": asdict(recipe),
        "table": tabulate(trials),
        "groups": compare_groups(trials),
        "density": compare_density(trials),
        "trials": list(trials),
    }
    write_json(out / "results.json", result)
    write_text(out / "results.md", _markdown(result))
    return result


def tabulate(trials: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give a row for each source ratio, method, task and back end: mean and sd over seeds."""
    rows = []
    for (ratio, method, task), group in _grouped(trials, "source_ratio", "method", "task").items():
        for back_end in group[0]["back_ends"]:
            found = [trial["back_ends"][back_end] for trial in group]
            measures = {name: _spread([f[name] for f in found]) for name in TITLES}
            for name in ("compactness", "effective_rank"):
                measures[name] = _spread([trial["embeddings"][name] for trial in group])
            measures["accuracy"] = _spread([trial["training"]["accuracy"] for trial in group])
            rows.append(
                {
                    "source_ratio": ratio,
                    "target_ratio": group[0]["target_ratio"],
                    "method": method,
                    "task": task,
                    "back_end": back_end,
                    "runs": len(group),
                    "measures": measures,
                }
            )
    return rows


def compare_groups(trials: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Average groups of losses seed by seed, and compare each with the one-class losses.

    Only seeds of which all trials of the group are there count.

    Returns:
        Rows of `source_ratio`, `back_end`, `group`, `measures` and `gains`: mean and sd over seeds,
        the gains being differences at the same seed; a gain is empty where no seed has both.
    """
    rows = []
    for (ratio,), given in _grouped(trials, "source_ratio").items():
        for back_end in BACK_ENDS:
            means = {name: _seed_means(given, chosen, back_end) for name, chosen in GROUPS.items()}
            for group, found in means.items():
                base = means[BASELINE]
                shared = [seed for seed in found if seed in base]
                rows.append(
                    {
                        "source_ratio": ratio,
                        "back_end": back_end,
                        "group": group,
                        "runs": len(found),
                        "measures": {
                            m: _spread([values[m] for values in found.values()]) for m in COMPARED
                        },
                        "gains": {
                            m: _spread([found[seed][m] - base[seed][m] for seed in shared])
                            for m in COMPARED
                        },
                    }
                )
    return rows


def compare_density(trials: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Compare every group of losses without and with local density normalisation.

    Returns:
        Rows of `source_ratio`, `back_end`, `group`, and mean and sd over seeds of `official`,
        `official_gain`, `gap` and `gap_gain`; the gap is the distance of source and target AUC.
    """
    rows = []
    for (ratio,), given in _grouped(trials, "source_ratio").items():
        for plain, dense in DENSITY.items():
            for group, chosen in GROUPS.items():
                before, after = (_seed_means(given, chosen, name) for name in (plain, dense))
                row: dict[str, Any] = {"source_ratio": ratio, "back_end": plain, "group": group}
                for name in ("official", "gap"):
                    row[name] = _spread([values[name] for values in before.values()])
                    row[f"{name}_gain"] = _spread([after[s][name] - before[s][name] for s in after])
                rows.append(row)
    return rows


def cells(row: dict[str, Any], names: Sequence[str]) -> list[str]:
    """Give the texts of some measures of a row."""
    return [written(row["measures"][name]) for name in names]


def written(spread: dict[str, float]) -> str:
    """Write a mean with its standard deviation, which one run has not."""
    mean, sd = (math.nan if v is None else v for v in (spread["mean"], spread["sd"]))
    if math.isnan(mean):
        return "—"
    return f"{mean:.3f}" if math.isnan(sd) else f"{mean:.3f} ± {sd:.3f}"


def score_rows(table: Sequence[dict[str, Any]], ratio: int) -> list[list[str]]:
    """Give the official score of every method and task, a column a back end, for one direction."""
    rows = []
    for (method, task), group in _grouped(
        (row for row in table if row["source_ratio"] == ratio), "method", "task"
    ).items():
        by_name = {row["back_end"]: row["measures"]["official"] for row in group}
        shown = [written(by_name[name]) if name in by_name else "—" for name in (*BACK_ENDS, OWN)]
        rows.append([method, task, *shown, *cells(group[0], ["accuracy", "effective_rank"])])
    return rows


SCORE_HEADINGS = ("method", "task", *BACK_ENDS, OWN, "accuracy", "rank")


def _seed_means(
    trials: Sequence[dict[str, Any]], chosen: Callable[[str, str], bool], back_end: str
) -> dict[int, dict[str, float]]:
    members = [trial for trial in trials if chosen(trial["method"], trial["task"])]
    all_of_it = {(trial["method"], trial["task"]) for trial in members}
    by_seed = _grouped(members, "seed")
    return {
        seed: {
            name: float(np.mean([_value(trial["back_ends"][back_end], name) for trial in group]))
            for name in (*COMPARED, "gap")
        }
        for (seed,), group in by_seed.items()
        if len(group) == len(all_of_it)
    }


def _value(measures: dict[str, Any], name: str) -> float:
    if name == "gap":
        return abs(float(measures["auc_source"]) - float(measures["auc_target"]))
    return float(measures[name])


def _grouped(
    rows: Iterable[dict[str, Any]], *keys: str
) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return groups


def _spread(values: Sequence[float | None]) -> dict[str, float]:
    numbers = [math.nan if value is None else value for value in values]
    mean = float(np.mean(numbers)) if numbers else math.nan
    return {"mean": mean, "sd": float(np.std(numbers, ddof=1)) if len(numbers) > 1 else math.nan}


def _markdown(result: dict[str, Any]) -> str:
    recipe, table = result["recipe"], result["table"]
    parts = [
        f"Fans {', '.join(result['sections'])}. Encoder of three layers without bias, "
        f"{recipe['epochs']} epochs of Adam at {recipe['learning_rate']:g}, batches of "
        f"{recipe['batch_size']}.",
    ]
    for ratio in dict.fromkeys(row["source_ratio"] for row in table):
        rows = [row for row in table if row["source_ratio"] == ratio]
        parts.append(f"## Source {ratio} dB, target {rows[0]['target_ratio']} dB")
        parts += ["### Official score", _table(SCORE_HEADINGS, score_rows(table, ratio))]
        groups = [row for row in result["groups"] if row["source_ratio"] == ratio]
        for back_end in ("nn", "nn+ldn"):
            lines = [
                [row["group"], *cells(row, COMPARED), *map(written, row["gains"].values())]
                for row in groups
                if row["back_end"] == back_end
            ]
            names = [TITLES[name] for name in COMPARED]
            heading = ["losses", *names, *(f"gain {name}" for name in names)]
            parts += [f"### Against one-class losses, {back_end}", _table(heading, lines)]
        lines = [
            [row["back_end"], row["group"], *map(written, list(row.values())[3:])]
            for row in result["density"]
            if row["source_ratio"] == ratio
        ]
        heading = ["back end", "losses", "official", "with ldn", "gap", "with ldn"]
        parts += ["### Local density normalisation", _table(heading, lines)]
        for back_end in BACK_ENDS:
            lines = [
                [row["method"], row["task"], *cells(row, list(TITLES))]
                for row in rows
                if row["back_end"] == back_end
            ]
            parts += [f"### {back_end}", _table(["method", "task", *TITLES.values()], lines)]
    return "\n\n".join([*parts, LEGEND]) + "\n"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
