"""Wrong training labels: cross-entropy alone and with losses on angles, clean labels in the test.

The setting of the supervised half of Wang, Tripathy and Mesaros, "Self-Supervised Learning of Audio
Representations Using Angular Contrastive Loss", ICASSP 2023, with noise of a known kind.
"""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tonotopy._components import Component
from tonotopy._errors import UsageError
from tonotopy._files import write_json, write_text
from tonotopy.clips import ClipTable
from tonotopy.protocols._label_noise import flip_labels, noise_measures
from tonotopy.protocols._trials import claim_folder, number_at, run_trials
from tonotopy.protocols.evaluation import METRICS_FILE, evaluate_run
from tonotopy.training import FitConfig, SplitOptions, fit, resume
from tonotopy.training.intermediate_options import IntermediateOptions

BASELINE = "ce"
CROSS_ENTROPY = {"ce": Component("CrossEntropyLoss")}

METHODS: dict[str, dict[str, Component]] = {
    BASELINE: {},
    "ce+amc": {"amc": Component("AngularMarginContrastiveLoss")},
    "ce+amc-layer": {"amc": Component("AngularMarginContrastiveLoss")},
    "ce+add-moments": {"add": Component("AngularDistanceDistributionLoss", {"form": "moments"})},
    "ce+add-gram": {"add": Component("AngularDistanceDistributionLoss", {"form": "gram"})},
}
"""Name to what is added to cross-entropy; on the embeddings, but for `ce+amc-layer`."""

AMC_WEIGHTS = (1.65, 33.0)
"""Weights of same-class and different-class pairs beside cross-entropy: those of the paper's code
with alpha = 0.7, (1 - alpha) / alpha / 50 of the sums over the 192 and 3,840 ordered pairs of a
batch of 16 classes with 4 clips each.

Checked on ESC-50 without fold 4, tested on fold 3 by its true labels (16 epochs, steps of 40 ms,
one seed): cross-entropy 0.255; on the embeddings 0.253 with a tenth of them and 0.255; on the layer
0.293 with a tenth, 0.298 with (1, 1) and 0.318.
"""

LEVEL = 0.95
RESAMPLES = 4000

MEASURES = {
    "test accuracy": number_at("classification", "accuracy"),
    "test ECE": number_at("classification", "ece"),
    "test kNN": number_at("knn", "accuracy"),
    "train kept": number_at("noise", "kept_accuracy"),
    "flipped as labelled": number_at("noise", "flipped_given"),
    "flipped as they are": number_at("noise", "flipped_true"),
}


@dataclass(frozen=True)
class Trial:
    """One training.

    Args:
        method: A name of `METHODS`.
        seed: Of the flips, the weights, the batches and the augmentations.
    """

    method: str
    seed: int

    @property
    def row(self) -> str:
        """The method."""
        return self.method

    @property
    def folder(self) -> str:
        """The run's name inside the experiment's folder."""
        return f"{self.method}/seed{self.seed}"


@dataclass(frozen=True)
class NoisyLabelsPlan:
    """What is the same for all trials.

    Args:
        base: Encoder, augmentations and optimiser; data, losses, split and seed are set here.
        clips: All clips, with their true labels and folds.
        flip: Probability that a training label is wrong.
        test_fold: The fold that is tested, by its true labels; all others train.
        layer: The layer of the encoder that `ce+amc-layer` reads.
        amc_weights: Weights of same-class and different-class pairs in both methods with AMC.
    """

    base: FitConfig
    clips: ClipTable
    flip: float = 0.4
    test_fold: str = "4"
    layer: str = "layers.3.conv"
    amc_weights: tuple[float, float] = AMC_WEIGHTS


def run_noisy_labels_experiment(
    plan: NoisyLabelsPlan,
    out: Path,
    *,
    methods: Sequence[str] = tuple(METHODS),
    seeds: Sequence[int] = (0, 1, 2),
) -> dict[str, Any]:
    """Train every method on the same flipped labels, and compare; finished trials are not repeated.

    No clip chooses an epoch: every trial takes the last weights of a fixed number of epochs, so no
    validation labels are needed, right or wrong, and the tested fold has no part in training.

    Args:
        plan: Data, noise and training.
        out: The folder of all runs, of `results.json` and of `results.md`.
        methods: Names of `METHODS`.
        seeds: Each flips other labels and trains every method once.

    Returns:
        `{"trials": [...], "table": {method: {measure: {"mean", "sd", "n"}}}, "differences":
        {method: {...}}}`; the differences in test accuracy to `ce` over the seeds that both have,
        with intervals of 95 % over seeds (Student's t) and over test clips (bootstrap).

    Raises:
        UsageError: An unknown method or fold, or `out` holds trials of another plan.
    """
    for method in methods:
        if method not in METHODS:
            raise UsageError(f"no method {method!r}; there are: {', '.join(METHODS)}")
    claim_folder(
        out,
        {
            "flip": plan.flip,
            "test_fold": plan.test_fold,
            "layer": plan.layer,
            "amc_weights": list(plan.amc_weights),
            "front_end": plan.base.front_end.to_dict(),
            "encoder": plan.base.encoder.to_dict(),
            "augmentations": [part.to_dict() for part in plan.base.augmentations],
            "batches": None if plan.base.batches is None else plan.base.batches.to_dict(),
            "optimiser": asdict(plan.base.optimiser),
            "clips": len(plan.clips),
        },
    )
    trials = [Trial(method, seed) for seed in seeds for method in methods]
    result = run_trials(trials, out, partial(_run_trial, plan, out), MEASURES)
    result["differences"] = {
        method: compare([_right(out, Trial(m, s)) for s in seeds] for m in (method, BASELINE))
        for method in methods
        if BASELINE in methods and method != BASELINE
    }
    write_json(out / "results.json", result)
    table = (out / "results.md").read_text(encoding="utf-8")
    write_text(out / "results.md", f"{table}\n{_markdown(result['differences'])}")
    return result


def compare(right: Any) -> dict[str, Any]:
    """Compare the test clips that two methods have right, seed by seed.

    Args:
        right: Of the method and of the baseline, for each seed whether each clip is right.

    Returns:
        `mean` of the difference in accuracy, `sd` over seeds, `n` seeds, `over_seeds` and
        `over_clips`, the two ends of intervals of 95 %: Student's t over seeds (NaN for one seed),
        and a bootstrap over clips, which keeps the seeds.
    """
    ours, baseline = (np.asarray(rows, dtype=np.float64) for rows in right)
    paired: NDArray[np.float64] = ours - baseline
    by_seed = paired.mean(axis=1)
    mean, count = float(by_seed.mean()), len(by_seed)
    deviation = float(by_seed.std(ddof=1)) if count > 1 else math.nan
    half = math.nan
    if count > 1:
        half = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * deviation / math.sqrt(count)
    by_clip = paired.mean(axis=0)
    random = np.random.default_rng(0)
    drawn = random.integers(len(by_clip), size=(RESAMPLES, len(by_clip)))
    ends = np.quantile(by_clip[drawn].mean(axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {
        "mean": mean,
        "sd": deviation,
        "n": count,
        "over_seeds": [mean - half, mean + half],
        "over_clips": [float(end) for end in ends],
    }


def _run_trial(plan: NoisyLabelsPlan, out: Path, trial: Trial, run: Path) -> None:
    table = out / f"clips-seed{trial.seed}.parquet"
    flip_labels(plan.clips, plan.flip, seed=trial.seed, spare=[plan.test_fold]).write(table)
    trained = (
        resume(run) if (run / "config.yaml").is_file() else fit(_config(plan, trial, run, table))
    )
    # No report: t-SNE and audio of every trial would cost more than its training.
    command = shlex.join(["tonotopy", *sys.argv[1:]])
    evaluate_run(trained, command=command, further={"noise": noise_measures(trained)})


def _config(plan: NoisyLabelsPlan, trial: Trial, run: Path, table: Path) -> FitConfig:
    added = dict(METHODS[trial.method])
    if "amc" in added:
        options = {"weights": list(plan.amc_weights)}
        added["amc"] = Component(added["amc"].class_path, options)
    on_layer = trial.method == "ce+amc-layer"
    return replace(
        plan.base,
        data=table,
        run=run,
        losses=CROSS_ENTROPY if on_layer else {**CROSS_ENTROPY, **added},
        loss_weights={},
        intermediate=(
            IntermediateOptions(plan.layer, "max", added) if on_layer else IntermediateOptions()
        ),
        split=SplitOptions(test_fold=plan.test_fold, val_fraction=0.0),
        seed=trial.seed,
    )


def _right(out: Path, trial: Trial) -> list[bool]:
    metrics = json.loads((out / trial.folder / METRICS_FILE).read_text(encoding="utf-8"))
    right: list[bool] = metrics["noise"]["test_right"]
    return right


def _markdown(differences: dict[str, dict[str, Any]]) -> str:
    lines = [
        f"| test accuracy less that of {BASELINE} | seeds | difference | 95 % over seeds | "
        "95 % over clips |",
        "| --- | --- | --- | --- | --- |",
    ]
    for method, found in differences.items():
        cells = [str(found["n"]), f"{found['mean']:+.3f}"]
        cells += [_ends(found["over_seeds"]), _ends(found["over_clips"])]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _ends(interval: list[float]) -> str:
    low, high = interval
    return "-" if math.isnan(low) else f"{low:+.3f} to {high:+.3f}"
