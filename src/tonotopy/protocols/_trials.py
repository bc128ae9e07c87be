"""Many trainings in a row: finished ones are not repeated, and a table is always up to date."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from tonotopy._errors import DataError, UsageError
from tonotopy._files import write_json, write_text

Measure = Callable[[dict[str, Any]], float]
"""Reads one number off the metrics of a run; NaN where it has none."""


class Trial(Protocol):
    """One training: a dataclass that names its row of the table and its folder."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def row(self) -> str:
        """What stands in the table; trials of one row are averaged."""

    @property
    def folder(self) -> str:
        """The run's name inside the experiment's folder."""


T = TypeVar("T", bound=Trial)


def run_trials(
    trials: Sequence[T],
    out: Path,
    run_trial: Callable[[T, Path], None],
    measures: Mapping[str, Measure],
) -> dict[str, Any]:
    """Run what has not finished yet, and tabulate after each.

    Args:
        trials: In the order of running.
        out: The folder of all runs, of `results.json` and of `results.md`.
        run_trial: Takes a trial and its run folder, and leaves `metrics.json` there.
        measures: Columns of the table.

    Returns:
        `{"trials": [...], "table": {row: {measure: {"mean", "sd", "n"}}}}`.

    Raises:
        UsageError: There are no trials.
    """
    if not trials:
        raise UsageError("there is no trial to run: give at least one method, fold and seed")
    for number, trial in enumerate(trials, start=1):
        if not _metrics_file(out, trial).is_file():
            print(f"trial {number}/{len(trials)}: {trial.folder}", file=sys.stderr)
            run_trial(trial, out / trial.folder)
        _write_table(out, trials, measures)
    return _write_table(out, trials, measures)


def claim_folder(out: Path, ours: Mapping[str, Any]) -> None:
    """Say in `experiment.json` whose trials a folder holds; refuse those of another experiment.

    Args:
        out: The folder.
        ours: What trials must have in common to be compared, as plain JSON.

    Raises:
        UsageError: The folder holds others; the message names what differs.
    """
    mark = out / "experiment.json"
    if mark.is_file():
        theirs = json.loads(mark.read_text(encoding="utf-8"))
        changed = [key for key, value in ours.items() if value != theirs.get(key)]
        if changed:
            raise UsageError(
                f"{out} holds trials of another experiment, whose {' and '.join(changed)} differ: "
                "choose another folder with --out"
            )
    write_json(mark, dict(ours))


def number_at(*keys: str | int) -> Measure:
    """Make a measure that follows keys into the metrics; None on the way gives NaN."""

    def measure(metrics: dict[str, Any]) -> float:
        value: Any = metrics
        for key in keys:
            if value is None:
                return math.nan
            value = value[key]
        return math.nan if value is None else float(value)

    return measure


def written(spread: dict[str, float]) -> str:
    """Write a mean with its standard deviation, which one run has not."""
    if spread["n"] < 2:
        return f"{spread['mean']:.3f}"
    return f"{spread['mean']:.3f} ± {spread['sd']:.3f}"


def read_measures(file: Path, measures: Mapping[str, Measure]) -> dict[str, float]:
    """Read the measures off the metrics of a trial.

    Raises:
        DataError: Something else has written the file since, such as `tonotopy evaluate`.
    """
    metrics = json.loads(file.read_text(encoding="utf-8"))
    try:
        return {name: measure(metrics) for name, measure in measures.items()}
    except KeyError as error:
        raise DataError(
            f"{file} lacks {error}, which the trial had left there: something else has written it "
            "since; delete it, and the trial is measured again without another training"
        ) from error


def _metrics_file(out: Path, trial: Trial) -> Path:
    return out / trial.folder / "metrics.json"


def _write_table(
    out: Path, trials: Sequence[Trial], measures: Mapping[str, Measure]
) -> dict[str, Any]:
    done: list[dict[str, Any]] = []
    for trial in trials:
        file = _metrics_file(out, trial)
        if file.is_file():
            done.append({"row": trial.row, **asdict(trial), **read_measures(file, measures)})
    table = {
        row: {
            name: spread([trial[name] for trial in done if trial["row"] == row])
            for name in measures
        }
        for row in dict.fromkeys(trial["row"] for trial in done)
    }
    result = {"trials": done, "table": table}
    write_json(out / "results.json", result)
    write_text(out / "results.md", _markdown(table, list(measures)))
    return result


def spread(values: list[float]) -> dict[str, float]:
    """Give mean, standard deviation and number of values; NaN passes."""
    # NumPy, not `statistics`: a measure that is undefined in one trial is NaN, which must pass.
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return {"mean": float(np.mean(values)), "sd": deviation, "n": len(values)}


def _markdown(table: dict[str, dict[str, dict[str, float]]], measures: list[str]) -> str:
    lines = [
        f"| method | runs | {' | '.join(measures)} |",
        f"| --- | --- |{' --- |' * len(measures)}",
    ]
    for name, row in table.items():
        cells = [written(value) for value in row.values()]
        lines.append(f"| {name} | {row[measures[0]]['n']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
