"""The experiment of the angular contrastive paper on FSDnoisy18k.

Wang, Tripathy and Mesaros, "Self-Supervised Learning of Audio Representations Using Angular
Contrastive Loss", ICASSP 2023.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tonotopy._errors import UsageError
from tonotopy._files import write_json
from tonotopy.clips import ClipTable
from tonotopy.embedder import AudioEmbedder
from tonotopy.protocols._acl_data import AclData
from tonotopy.protocols._acl_measures import classifier_accuracies, neighbour_accuracies
from tonotopy.protocols._acl_options import DEFECTS, STAGES, AclOptions, Defect, Stage
from tonotopy.protocols._acl_published import ALPHAS, SUBSETS, TEMPERATURE
from tonotopy.protocols._acl_tables import headings, sections, table_rows, write_tables
from tonotopy.protocols._acl_training import (
    MODEL_FILE,
    pretraining,
    probing,
    supervised,
    train_run,
)
from tonotopy.protocols._acl_trials import Trial, list_trials
from tonotopy.protocols._torch_probe import torch_probe
from tonotopy.protocols._trials import claim_folder

__all__ = [
    "ALPHAS",
    "DEFECTS",
    "STAGES",
    "SUBSETS",
    "TEMPERATURE",
    "AclOptions",
    "Defect",
    "Stage",
    "headings",
    "run_acl_experiment",
    "sections",
    "table_rows",
]


def run_acl_experiment(
    clips: ClipTable,
    out: Path,
    *,
    options: AclOptions | None = None,
    stages: Sequence[Stage] = STAGES,
    alphas: Sequence[float] = ALPHAS,
    temperatures: Sequence[float] = (TEMPERATURE,),
    subsets: Sequence[str] = SUBSETS,
    seeds: Sequence[int] = (0,),
) -> dict[str, Any]:
    """Pre-train, probe, fine-tune, train with labels, and tabulate after each; results are kept.

    The test clips choose nothing: pre-training keeps the epoch with the best nearest-neighbour
    accuracy of the verified training clips, linear classifiers and fine-tuning the one with the
    best macro accuracy of their validation clips, and alpha is chosen by nearest neighbours among
    the verified training clips.

    Args:
        clips: Of FSDnoisy18k, or a part of it.
        out: The folder of all runs (`runs/`), of one JSON a trial (`trials/`), of `results.json`
            and of `results.md`.
        options: The same for all trials.
        stages: What is done; `linear` and `finetune` need pre-trained runs, made now or earlier.
        alphas: Shares of NT-Xent, or of cross-entropy.
        temperatures: Of NT-Xent.
        subsets: Training clips of the supervised part.
        seeds: Seeds of every trial.

    Returns:
        What `results.json` holds: `ran` and `left_out`, what was done and what was not in words;
        `trials`; `table`, a row for each kind of trial, temperature or subset, and alpha.

    Raises:
        UsageError: An unknown stage or subset, a share outside [0, 1], a stage without what it
            builds on, or `out` holds trials of other clips or options.
        DataError: The data cannot be used.
    """
    options = options or AclOptions()
    _check(stages, alphas, subsets, seeds)
    trials = list_trials(
        stages, alphas=alphas, temperatures=temperatures, subsets=subsets, seeds=seeds
    )
    data = AclData.of(clips)
    claim_folder(out, {"clips": data.fingerprint, **options.compared})
    done: list[dict[str, Any]] = []
    for number, trial in enumerate(trials, start=1):
        file = out / "trials" / f"{trial.name}.json"
        if not file.is_file():
            print(f"trial {number}/{len(trials)}: {trial.name}", file=sys.stderr)
            write_json(file, _run_trial(options, trial, data, out))
        done.append(json.loads(file.read_text(encoding="utf-8")))
        write_tables(out, done, options, data.counts)
    return write_tables(out, done, options, data.counts)


def _check(
    stages: Sequence[str], alphas: Sequence[float], subsets: Sequence[str], seeds: Sequence[int]
) -> None:
    for what, given, known in (("stage", stages, STAGES), ("subset", subsets, SUBSETS)):
        for name in given:
            if name not in known:
                raise UsageError(f"no {what} {name!r}; there are: {', '.join(known)}")
    for alpha in alphas:
        if not 0.0 <= alpha <= 1.0:
            raise UsageError(f"--alphas are shares in [0, 1], got {alpha}")
    if not (stages and alphas and seeds):
        raise UsageError("name at least one stage, one alpha and one seed")


def _run_trial(options: AclOptions, trial: Trial, data: AclData, out: Path) -> dict[str, Any]:
    start = time.perf_counter()
    if trial.kind == "pretrain":
        run = train_run(pretraining(options, trial, data, out))
        found = {"accuracy": neighbour_accuracies(_load(run, options), data.clean, seed=trial.seed)}
    elif trial.kind == "supervised":
        run = train_run(supervised(options, trial, data, out))
        found = {"accuracy": classifier_accuracies(_load(run, options), data.test, seed=trial.seed)}
    else:
        run = _pretrained(trial, out)
        found = torch_probe(
            _load(run, options),
            data.for_probe("clean" if trial.kind == "finetune-clean" else "noisy", trial.seed),
            probing(options, trial),
        )
    return {**asdict(trial), "seconds": time.perf_counter() - start, **found}


def _pretrained(trial: Trial, out: Path) -> Path:
    run = out / "runs" / trial.pretraining.name
    if not (run / MODEL_FILE).is_file():
        raise UsageError(
            f"there is no pre-trained model in {run}: add the stage pretrain to --stages"
        )
    return run


def _load(run: Path, options: AclOptions) -> AudioEmbedder:
    embedder = AudioEmbedder.from_pretrained(run)
    on_gpu = options.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return embedder.to("cuda") if on_gpu else embedder
