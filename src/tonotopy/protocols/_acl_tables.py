"""The results of the angular contrastive experiment beside the published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tonotopy._files import write_json, write_text
from tonotopy.metrics.clip_accuracy import CLIP_ACCURACIES
from tonotopy.protocols._acl_options import AclOptions
from tonotopy.protocols._acl_published import MACRO, MICRO, WEIGHTED, published_accuracy
from tonotopy.protocols._acl_summary import KINDS, about
from tonotopy.protocols._trials import spread

HEADINGS = {MICRO: "micro", MACRO: "macro", WEIGHTED: "patch-weighted"}
"""Accuracies of the tables; results.json has all of them."""

Row = dict[str, Any]


def write_tables(
    out: Path, done: Sequence[Mapping[str, Any]], options: AclOptions, counts: Mapping[str, int]
) -> dict[str, Any]:
    """Write `results.json` and `results.md`, and give the former.

    Args:
        out: Their folder.
        done: Finished trials.
        options: Of all of them.
        counts: Clips of each part.
    """
    table = _tabulate(done)
    result = {
        **about(done, options, counts),
        "options": options.compared,
        "chosen": choose(table, "patch-weighted" in options.authors),
        "table": table,
        "trials": list(done),
    }
    write_json(out / "results.json", result)
    write_text(out / "results.md", _markdown(result))
    return result


def choose(table: Sequence[Row], patch_weighted: bool) -> dict[str, float]:
    """Give the alpha with the best nearest neighbours among verified training clips.

    Args:
        table: All rows.
        patch_weighted: By the accuracy that weights clips by their patches, not by macro accuracy.

    Returns:
        Temperature, as text, to alpha.
    """
    measure = WEIGHTED if patch_weighted else MACRO
    chosen: dict[str, tuple[float, float]] = {}
    for row in table:
        if row["kind"] == "pretrain":
            key, value = f"{row['temperature']:g}", row["accuracy"][measure]["mean"]
            if key not in chosen or value > chosen[key][0]:
                chosen[key] = (value, row["alpha"])
    return {key: alpha for key, (_, alpha) in chosen.items()}


def _tabulate(done: Sequence[Mapping[str, Any]]) -> list[Row]:
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for trial in done:
        key = tuple(trial[name] for name in ("kind", "temperature", "subset", "alpha"))
        groups.setdefault(key, []).append(trial)
    rows = []
    for (kind, temperature, subset, alpha), trials in groups.items():
        published = {}
        if kind != "pretrain":
            published = published_accuracy(kind, alpha, temperature=temperature, subset=subset)
        rows.append(
            {
                "kind": kind,
                "temperature": temperature,
                "subset": subset,
                "alpha": alpha,
                "accuracy": {name: _summary(trials, name) for name in CLIP_ACCURACIES},
                "published": published,
            }
        )
    return rows


def _summary(trials: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    """Give mean and deviation over the seeds, and the mean of their intervals' bounds."""
    found = [trial["accuracy"][name] for trial in trials]
    bounds = {end: float(np.mean([each[end] for each in found])) for end in ("low", "high")}
    return {**spread([each["value"] for each in found]), **bounds}


def sections(table: Sequence[Row]) -> dict[str, list[Row]]:
    """Give the rows of each table by its title, in ascending order of alpha."""
    found: dict[str, list[Row]] = {}
    for kind, title in KINDS.items():
        for row in (row for row in table if row["kind"] == kind):
            of = (
                f"subset {row['subset']}"
                if row["subset"]
                else f"temperature {row['temperature']:g}"
            )
            found.setdefault(f"{title}, {of}", []).append(row)
    return {title: sorted(rows, key=lambda row: row["alpha"]) for title, rows in found.items()}


def headings(rows: Sequence[Row]) -> list[str]:
    """Name the columns of a table; those of published accuracies are there where there are any."""
    names = ["alpha", "runs"]
    for measure, heading in HEADINGS.items():
        names.append(heading)
        if any(measure in row["published"] for row in rows):
            names.append(f"{heading}, published")
    return names


def table_rows(rows: Sequence[Row]) -> list[list[str]]:
    """Write a table in percent: of every row the cells under `headings`."""
    lines = []
    for row in rows:
        cells = [f"{row['alpha']:g}", str(row["accuracy"][MICRO]["n"])]
        for measure in HEADINGS:
            cells.append(_written(row["accuracy"][measure]))
            if any(measure in each["published"] for each in rows):
                value = row["published"].get(measure)
                cells.append("" if value is None else f"{100 * value:.1f}")
        lines.append(cells)
    return lines


def _written(value: Mapping[str, float]) -> str:
    deviation = f" ± {100 * value['sd']:.1f}" if value["n"] > 1 else ""
    low, high = 100 * value["low"], 100 * value["high"]
    return f"{100 * value['mean']:.1f}{deviation} [{low:.1f}, {high:.1f}]"


def _markdown(result: Mapping[str, Any]) -> str:
    lines = ["# Angular contrastive loss on FSDnoisy18k", "", "What was run:", ""]
    lines += [f"- {line}" for line in result["ran"]]
    lines += ["", "What was not, or otherwise than in the paper:", ""]
    lines += [f"- {line}" for line in result["left_out"]]
    lines += [
        "",
        "Accuracies are in percent: of clips (micro), of classes (macro), and of clips weighted by "
        "their number of patches, which the paper's self-supervised part calls accuracy. In "
        "brackets is the 95 % bootstrap interval over clips, of several seeds the mean of its "
        "bounds; ± is the standard deviation over seeds. Published figures are of one training.",
    ]
    for temperature, alpha in result["chosen"].items():
        lines += ["", f"At temperature {temperature} validation chooses alpha {alpha:g}."]
    for title, rows in sections(result["table"]).items():
        names = headings(rows)
        lines += ["", f"## {title}", "", f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
        lines += [f"| {' | '.join(cells)} |" for cells in table_rows(rows)]
    return "\n".join(lines) + "\n"
