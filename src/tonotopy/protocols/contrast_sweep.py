"""How much angular margin a contrastive loss should have: alpha by temperature, over seeds.

The grid of Wang, Tripathy and Mesaros, "Self-supervised learning of audio representations using
angular contrastive loss", ICASSP 2023; but what is best is chosen on validation clips.
"""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tonotopy._components import Component
from tonotopy._errors import UsageError
from tonotopy._files import write_json, write_text
from tonotopy.extraction import EmbeddingTable
from tonotopy.labels import LabelTree
from tonotopy.metrics import analyse_features, knn_accuracy
from tonotopy.protocols._trials import (
    Measure,
    claim_folder,
    number_at,
    read_measures,
    run_trials,
    spread,
    written,
)
from tonotopy.protocols.embedding import embed_run
from tonotopy.protocols.evaluation import evaluate_run
from tonotopy.reporting.sweep_page import write_sweep_page
from tonotopy.training import FitConfig, fit, resume
from tonotopy.training.config import plain_config

LOSS = "AngularContrastiveLoss"
VARIED = ("alpha", "temperature")
APART = {"run", "seed", "accelerator", "devices", "threads", "workers", "cache"}
"""Options in which trials of one sweep may differ."""

PAGE = "sweep.html"
MAX_ANALYSED = 20_000
"""Validation clips up to which all are analysed."""

MEASURES: dict[str, Measure] = {
    "val_knn": number_at("sweep", "val_knn"),
    "test_knn": number_at("sweep", "test_knn"),
    "uniformity": number_at("sweep", "features", "uniformity"),
    "tolerance": number_at("sweep", "features", "tolerance"),
    "effective_rank": number_at("sweep", "features", "effective_rank"),
    "hubness": number_at("sweep", "features", "hubness"),
}
"""What is tabulated: accuracies of nearest neighbours among the training clips; the features of the
validation clips."""


@dataclass(frozen=True)
class Trial:
    """One training of the grid.

    Args:
        alpha: Weight of NT-Xent; 1 - alpha is that of the angular margin.
        temperature: Of NT-Xent.
        seed: Seed of split, weights, batches and views.
    """

    alpha: float
    temperature: float
    seed: int

    @property
    def row(self) -> str:
        """The place in the grid."""
        return f"alpha {self.alpha:g}, temperature {self.temperature:g}"

    @property
    def folder(self) -> str:
        """The run's name inside the sweep's folder; without NT-Xent no temperature matters."""
        if self.alpha == 0.0:
            return f"alpha0-seed{self.seed}"
        return f"temperature{self.temperature:g}/alpha{self.alpha:g}-seed{self.seed}"


def run_contrast_sweep(
    base: FitConfig,
    out: Path,
    *,
    alphas: Sequence[float],
    temperatures: Sequence[float] = (0.2,),
    seeds: Sequence[int] = (0, 1, 2),
) -> dict[str, Any]:
    """Train every alpha with every temperature and seed, and compare; finished trials are kept.

    The place with the best mean validation accuracy is marked; its test accuracy stands beside it
    and has no part in the choice. Without labelled validation clips nothing is chosen.

    Args:
        base: Data, network and the rest, of the task `self-supervised`. Alpha and temperature of
            its `AngularContrastiveLoss`, and its seed, are set here.
        out: The folder of all runs, of `results.json`, `results.md` and `sweep.html`.
        alphas: Each 0 to 1.
        temperatures: Each above 0.
        seeds: Seeds of each place in the grid.

    Returns:
        What `results.json` holds: `trials`; `grid`, one dict a place, with `{"mean", "sd", "n"}` of
        every measure; `chosen` and `baseline`, the best place and the best of alpha 1, which is
        plain NT-Xent, or None.

    Raises:
        UsageError: The task or loss of `base` is another, a list is empty, or `out` holds trials of
            another sweep.
        DataError: The data cannot be used.
    """
    _check(base, alphas, temperatures, seeds)
    claim_folder(out, _in_common(base))
    trials = [
        Trial(alpha, temperature, seed)
        for seed in seeds  # first, so that an interrupted sweep has some of every place
        for temperature in dict.fromkeys(temperatures)
        for alpha in dict.fromkeys(alphas)
    ]
    run_trials(trials, out, partial(_run_trial, base, out, trials), MEASURES)
    return _tabulate(out, trials)


def _check(
    base: FitConfig,
    alphas: Sequence[float],
    temperatures: Sequence[float],
    seeds: Sequence[int],
) -> None:
    if base.task != "self-supervised":
        raise UsageError(
            f"a sweep trains without labels: expected task self-supervised, got {base.task}"
        )
    names = [name for name, part in base.losses.items() if _is_swept(part)]
    if len(names) != 1:
        raise UsageError(
            f"a sweep varies alpha and temperature of one {LOSS}: the configuration has "
            f"{len(names)} of them among its losses, {', '.join(base.losses)}"
        )
    if not (alphas and temperatures and seeds):
        raise UsageError("a sweep needs at least one alpha, one temperature and one seed")
    wrong = [alpha for alpha in alphas if not 0.0 <= alpha <= 1.0]
    wrong += [temperature for temperature in temperatures if not 0.0 < temperature < math.inf]
    if wrong:
        raise UsageError(
            f"alphas lie in [0, 1] and temperatures above 0, got {', '.join(map(str, wrong))}"
        )


def _is_swept(loss: Component) -> bool:
    return loss.class_path.rpartition(".")[2] == LOSS


def _in_common(base: FitConfig) -> dict[str, Any]:
    """Give what all trials share, as plain JSON."""
    shared = plain_config(replace(_with(base, {}), data=base.data.resolve()))
    return {name: value for name, value in shared.items() if name not in APART}


def _with(base: FitConfig, values: dict[str, float]) -> FitConfig:
    """Set what is varied in the loss; what was set before is forgotten."""
    losses = dict(base.losses)
    for name, part in base.losses.items():
        if _is_swept(part):
            kept = {key: value for key, value in part.init_args.items() if key not in VARIED}
            losses[name] = Component(part.class_path, kept | values)
    return replace(base, losses=losses)


def _run_trial(
    base: FitConfig, out: Path, trials: Sequence[Trial], trial: Trial, run: Path
) -> None:
    values = {"alpha": trial.alpha, "temperature": trial.temperature}
    config = replace(_with(base, values), run=run, seed=trial.seed)
    trained = resume(run) if (run / "config.yaml").is_file() else fit(config)
    embed_run(trained)
    # No report: t-SNE and audio of every trial would cost more than a short training.
    evaluate_run(
        trained,
        command=shlex.join(["tonotopy", *sys.argv[1:]]),
        further={"sweep": _judge(EmbeddingTable.read(trained / "embeddings.parquet"))},
    )
    _tabulate(out, trials)


def _judge(clips: EmbeddingTable) -> dict[str, Any]:
    """Measure the neighbours of validation and test clips, and the features of the former."""
    tree = LabelTree.from_paths(clips.labels)

    def of(split: str) -> tuple[Tensor, Tensor]:
        part = clips.of_split(split)
        return part.embeddings, tree.leaf_index(part.labels)

    train, val, test = of("train"), of("val"), of("test")
    judged = val if len(val[0]) else train
    chosen = torch.randperm(len(judged[0]), generator=torch.Generator().manual_seed(0))
    chosen = chosen[:MAX_ANALYSED]
    return {
        "val_knn": _accuracy(val, train),
        "test_knn": _accuracy(test, train),
        "features": {
            "tolerance": math.nan,  # where there are no labels
            **analyse_features(judged[0][chosen], labels=judged[1][chosen]),
        },
    }


def _accuracy(clips: tuple[Tensor, Tensor], train: tuple[Tensor, Tensor]) -> float:
    return knn_accuracy(*clips, gallery=train)


def _tabulate(out: Path, trials: Sequence[Trial]) -> dict[str, Any]:
    """Write the tables and the page of what has finished."""
    done = [found for trial in trials if (found := _finished(out, trial)) is not None]
    places = dict.fromkeys((trial["alpha"], trial["temperature"]) for trial in done)
    grid = [_place(alpha, temperature, done) for alpha, temperature in sorted(places)]
    result = {
        "trials": done,
        "grid": grid,
        "chosen": _best(grid),
        "baseline": _best([place for place in grid if place["alpha"] == 1.0]),
        "planned": len(trials),
    }
    write_json(out / "results.json", result)
    write_text(out / "results.md", _markdown(result))
    write_sweep_page(result, out / PAGE)
    return result


def _finished(out: Path, trial: Trial) -> dict[str, Any] | None:
    file = out / trial.folder / "metrics.json"
    if not file.is_file():
        return None
    return {**asdict(trial), **read_measures(file, MEASURES)}


def _place(alpha: float, temperature: float, done: Sequence[dict[str, Any]]) -> dict[str, Any]:
    here = [t for t in done if (t["alpha"], t["temperature"]) == (alpha, temperature)]
    spreads = {name: spread([trial[name] for trial in here]) for name in MEASURES}
    return {"alpha": alpha, "temperature": temperature, "runs": len(here), **spreads}


def _best(grid: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Give the place with the best validation accuracy, of those with the most runs."""
    judged = [place for place in grid if not math.isnan(place["val_knn"]["mean"])]
    if not judged:
        return None
    most = max(place["runs"] for place in judged)
    fair = [place for place in judged if place["runs"] == most]
    return max(fair, key=lambda place: place["val_knn"]["mean"])


def _markdown(result: dict[str, Any]) -> str:
    names = {"val_knn": "validation kNN", "test_knn": "test kNN"}
    headings = [names.get(name, name.replace("_", " ")) for name in MEASURES]
    lines = [
        f"| alpha | temperature | runs | {' | '.join(headings)} |",
        f"| --- | --- | --- |{' --- |' * len(headings)}",
    ]
    for place in result["grid"]:
        mark = "**" if place is result["chosen"] else ""
        cells = [f"{place['alpha']:g}", f"{place['temperature']:g}", str(place["runs"])]
        cells += [_cell(place[name]) for name in MEASURES]
        lines.append("| " + " | ".join(f"{mark}{cell}{mark}" for cell in cells) + " |")
    return "\n".join([*lines, "", *_verdict(result)]) + "\n"


def _cell(value: dict[str, float]) -> str:
    return "-" if math.isnan(value["mean"]) else written(value)


def _verdict(result: dict[str, Any]) -> list[str]:
    chosen, baseline = result["chosen"], result["baseline"]
    if chosen is None:
        return ["Nothing is chosen: no validation clip has a label."]

    def said(place: dict[str, Any]) -> str:
        return (
            f"alpha {place['alpha']:g} at temperature {place['temperature']:g}, validation "
            f"{_cell(place['val_knn'])}, test {_cell(place['test_knn'])}"
        )

    lines = [f"Chosen by validation (in bold): {said(chosen)}."]
    if baseline is not None and baseline is not chosen:
        lines.append(f"Plain NT-Xent, its temperature chosen likewise: {said(baseline)}.")
    return lines
