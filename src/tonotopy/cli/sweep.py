"""`tonotopy sweep`: which alpha and temperature of the angular contrastive loss suit some clips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tonotopy._errors import UsageError
from tonotopy.cli._output import Output
from tonotopy.cli._parse import call

if TYPE_CHECKING:
    from rich.console import Console

PRESET = "self-supervised"
MAX_VALUES = 1000

COLUMNS = {
    "val_knn": "val kNN",
    "test_knn": "test kNN",
    "uniformity": "uniformity",
    "tolerance": "tolerance",
    "effective_rank": "rank",
}
"""Measures that a terminal has room for."""


def run(arguments: Sequence[str]) -> Output:
    """Run the verb."""
    return call("sweep", sweep, arguments)


def sweep(
    data: Path,
    *,
    alphas: str = "0,0.1,...,1",
    temperatures: str = "0.2",
    seeds: int = 3,
    out: Path = Path("runs/sweep"),
    config: Path | None = None,
) -> Output:
    """Train without labels for many alphas and temperatures, and draw what they do.

    Each trial trains by the angular contrastive loss, alpha · NT-Xent + (1 - alpha) · angular
    margin, and is measured by its nearest neighbours, where clips have labels, and by the features
    themselves. The best is chosen on validation clips, with the test beside it. The same command
    goes on where it stopped, and with more alphas, temperatures or seeds it adds to what there is.

    For example:
      tonotopy sweep FOLDER --alphas 0,0.1,...,1 --temperatures 0.1,0.2 --seeds 3
      tonotopy fit FOLDER --preset self-supervised --print_config > my.yaml
      tonotopy sweep FOLDER --config my.yaml --out runs/my-sweep

    Args:
        data: Clips, as for `tonotopy fit`; labels are used for judging only.
        alphas: Weights of NT-Xent, 0 to 1; `0,0.1,...,1` counts in steps of 0.1.
        temperatures: Temperatures of NT-Xent, written likewise.
        seeds: Number of seeds, counted from 0.
        out: Folder of the runs, of results.json, results.md and sweep.html.
        config: A YAML file of all other options. Default: those of the preset `self-supervised`.
    """
    from tonotopy.protocols.contrast_sweep import PAGE, run_contrast_sweep
    from tonotopy.training.config import read_config
    from tonotopy.training.presets import preset_file

    if seeds < 1:
        raise UsageError(f"--seeds must be at least 1, got {seeds}")
    grid = number_list("--alphas", alphas), number_list("--temperatures", temperatures)
    base = read_config(config or preset_file(PRESET), {"data": str(data), "task": PRESET})
    result = run_contrast_sweep(
        replace(base, data=data),
        out,
        alphas=grid[0],
        temperatures=grid[1],
        seeds=range(seeds),
    )
    summary = f"{len(result['trials'])} trials; {_chosen(result)}; page: {out / PAGE}"
    return Output(result, summary, lambda console: _show(console, result))


def number_list(option: str, text: str) -> list[float]:
    """Read numbers with commas between them; `...` goes on in the step of the two before it.

    Raises:
        UsageError: It is no such list.

    Examples:
        >>> number_list("--alphas", "0,0.25,...,1")
        [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    parts = [part.strip() for part in text.split(",")]
    expected = f"{option}: expected numbers as in 0,0.1,...,1, got {text!r}"
    numbers: list[float] = []
    for place, part in enumerate(parts):
        if part == "...":
            if len(numbers) < 2 or place + 1 == len(parts):
                raise UsageError(f"{expected}: two numbers before `...` and one after it")
            continue
        try:
            number = float(part)
        except ValueError:
            raise UsageError(expected) from None
        if not math.isfinite(number):
            raise UsageError(expected)
        if place and parts[place - 1] == "...":
            numbers += _steps(numbers[-2], numbers[-1], number, expected)
        else:
            numbers.append(number)
    return numbers


def _steps(before: float, last: float, end: float, expected: str) -> list[float]:
    step = last - before
    count = round((end - last) / step) if step else 0
    if not 0 < count <= MAX_VALUES or abs(last + count * step - end) > 1e-9 * max(abs(step), 1.0):
        raise UsageError(f"{expected}: {end:g} cannot be reached from {last:g} by {step:g}")
    # Rounded, for 3 · 0.1 is not 0.3.
    return [round(last + number * step, 10) for number in range(1, count + 1)]


def _chosen(result: dict[str, Any]) -> str:
    chosen = result["chosen"]
    if chosen is None:
        return "no labelled validation clips to choose by"
    test = chosen["test_knn"]["mean"]
    beside = "" if math.isnan(test) else f", test {test:.1%}"
    return (
        f"best on validation: alpha {chosen['alpha']:g}, temperature {chosen['temperature']:g} "
        f"({chosen['val_knn']['mean']:.1%}{beside})"
    )


def _show(console: Console, result: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("alpha", "temp.", "runs", *COLUMNS.values())
    for place in result["grid"]:
        table.add_row(
            f"{place['alpha']:g}",
            f"{place['temperature']:g}",
            str(place["runs"]),
            *("-" if math.isnan(m := place[name]["mean"]) else f"{m:.3f}" for name in COLUMNS),
            style="bold" if place is result["chosen"] else None,
        )
    console.print(table)
