"""Tables of an anomaly detection experiment: independent models, and their ensemble beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tonotopy.protocols._trials import spread, written

Rows = dict[str, dict[str, float]]
"""Machine (or "all") to measures."""

ALL = "all"


def tabulate(runs: Mapping[str, Sequence[Rows]], ensembles: Mapping[str, Rows]) -> dict[str, Any]:
    """Put together what the models of each back end reach, and what their ensemble reaches.

    Args:
        runs: Back end to the rows of each model.
        ensembles: Back end to the rows of the summed scores.

    Returns:
        `{back end: {machine: {"runs": {measure: {"mean", "sd", "n"}}, "ensemble": {measure: x}}}}`.
    """
    return {
        name: {
            machine: {
                "runs": {
                    measure: spread([rows[machine][measure] for rows in models])
                    for measure in models[0][machine]
                },
                "ensemble": ensembles[name][machine],
            }
            for machine in models[0]
        }
        for name, models in runs.items()
    }


def markdown(result: Mapping[str, Any]) -> str:
    """Write the results as Markdown."""
    count = len(result["seeds"])
    lines = [
        f"# DCASE {result['year']} Task 2",
        "",
        f"{count} models, trained with seeds {', '.join(map(str, result['seeds']))}. Figures are "
        "mean ± standard deviation over the independent models; in columns called *ensemble* it is "
        "one figure, of the scores of all models summed.",
    ]
    for part, table in result["parts"].items():
        title = {"dev": "Development", "eval": "Evaluation"}[part]
        lines += ["", f"## {title} data", ""]
        note = result["notes"].get(part)
        if note:
            lines += [f"{note[0].upper()}{note[1:]}.", ""]
        if table:
            lines += _table("back end", {name: rows[ALL] for name, rows in table.items()})
        for name, rows in table.items():
            machines = {machine: row for machine, row in rows.items() if machine != ALL}
            lines += ["", f"### {title} data, {name}", "", *_table("machine", machines)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _table(first: str, rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    names = list(next(iter(rows.values()))["runs"])
    head = [first, *(f"{name}{kind}" for name in names for kind in ("", ", ensemble"))]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for row, cells in rows.items():
        values = [
            text
            for name in names
            for text in (written(cells["runs"][name]), f"{cells['ensemble'][name]:.3f}")
        ]
        lines.append(f"| {row} | {' | '.join(values)} |")
    return lines
