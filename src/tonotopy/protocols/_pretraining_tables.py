"""What the pre-training experiment found: differences to NT-Xent, and what features say."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from tonotopy._files import write_json, write_text
from tonotopy.protocols._trials import Measure, number_at

REFERENCE = "ntxent"
"""The method that others are compared with, at the same temperature."""


def _accuracy(method: str, kind: str) -> Callable[[str], Measure]:
    return lambda source: number_at("sources", source, method, "accuracy", kind, "value")


def _feature(name: str) -> Callable[[str], Measure]:
    return lambda source: number_at("sources", source, "features", name)


MEASURES: dict[str, Callable[[str], Measure]] = {
    "linear": _accuracy("linear", "accuracy_clip_macro"),
    "kNN": _accuracy("knn", "accuracy_clip_macro"),
    "uniformity": _feature("uniformity"),
    "tolerance": _feature("tolerance"),
    "rank": _feature("effective_rank"),
    "hubness": _feature("hubness"),
}
"""Title to the measure of a source; accuracies are macro averages over classes, of whole clips."""


def paired_differences(
    trials: Sequence[dict[str, Any]], measure: str
) -> list[dict[str, str | float]]:
    """Compare every method with the reference of the same temperature and seed.

    Args:
        trials: Rows of `results.json`.
        measure: A column.

    Returns:
        For each row of the table: the mean difference over seeds, the half width of its 95 %
        t-interval (NaN for a single seed), and the number of seeds.
    """
    reference = {
        (trial["temperature"], trial["seed"]): trial[measure]
        for trial in trials
        if trial["method"] == REFERENCE
    }
    taus = [temperature for temperature, _ in reference]
    rows: dict[str, list[float]] = {}
    for trial in trials:
        # What has no temperature is compared with the reference at its first one.
        tau = trial["temperature"] or (taus[0] if taus else 0.0)
        if trial["method"] != REFERENCE and (tau, trial["seed"]) in reference:
            difference = trial[measure] - reference[tau, trial["seed"]]
            rows.setdefault(trial["row"], []).append(difference)
    return [
        {"row": row, "mean": float(np.mean(d)), "half_width": _half_width(d), "seeds": len(d)}
        for row, d in rows.items()
    ]


def _half_width(differences: list[float]) -> float:
    if len(differences) < 2:
        return math.nan
    error = float(np.std(differences, ddof=1)) / math.sqrt(len(differences))
    return float(stats.t.ppf(0.975, len(differences) - 1)) * error


def correlations(
    trials: Sequence[dict[str, Any]], source: str
) -> dict[str, tuple[float, float, int]]:
    """Correlate features with linear accuracy by rank (Spearman), over models with a temperature.

    Returns:
        Feature to coefficient, two-sided p-value and number of models.
    """
    trained = [trial for trial in trials if trial["method"] == REFERENCE or trial["temperature"]]
    found = {}
    for feature in ("uniformity", "tolerance", "rank", "hubness"):
        x = [trial[f"{source} {feature}"] for trial in trained]
        y = [trial[f"{source} linear"] for trial in trained]
        if len(trained) >= 3 and len(set(x)) > 1 and len(set(y)) > 1:
            result = stats.spearmanr(x, y)
            found[feature] = (float(result.statistic), float(result.pvalue), len(trained))
    return found


def write_findings(out: Path, result: dict[str, Any], sources: Sequence[str]) -> None:
    """Write `findings.json` and `findings.md` beside the table of results."""
    trials = result["trials"]
    found: dict[str, dict[str, Any]] = {
        source: {
            "differences": {
                title: paired_differences(trials, f"{source} {title}")
                for title in ("linear", "kNN")
            },
            "correlations": correlations(trials, source),
        }
        for source in sources
    }
    write_json(out / "findings.json", found)
    lines = [
        "In brackets are 95 % intervals over seeds (Student's t); they say nothing of other test "
        "clips. p takes the models for independent, which those of one method are not.",
        "",
    ]
    for source, parts in found.items():
        lines += [f"## {source}: differences to NT-Xent of the same seed", ""]
        lines += ["| method | seeds | linear | kNN |", "| --- | --- | --- | --- |"]
        pairs = zip(parts["differences"]["linear"], parts["differences"]["kNN"], strict=True)
        for linear, knn in pairs:
            cells = f"{_written(linear)} | {_written(knn)}"
            lines.append(f"| {linear['row']} | {linear['seeds']} | {cells} |")
        lines += ["", "Rank correlation with linear accuracy over models with a temperature:"]
        for feature, (rho, p, count) in parts["correlations"].items():
            lines.append(f"- {feature}: {rho:+.2f} (p {p:.3f}, {count} models)")
        lines.append("")
    write_text(out / "findings.md", "\n".join(lines))


def _written(difference: dict[str, str | float]) -> str:
    mean, half = float(difference["mean"]), float(difference["half_width"])
    if math.isnan(half):
        return f"{mean:+.3f}"
    return f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"
