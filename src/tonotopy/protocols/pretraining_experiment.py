"""What learning without labels is worth: encoders pre-trained by several losses, then probed.

After Wang, Tripathy and Mesaros, "Self-Supervised Learning of Audio Representations Using Angular
Contrastive Loss", ICASSP 2023, on any labelled clips with folds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import torch

from tonotopy._errors import DataError
from tonotopy._files import write_json
from tonotopy._progress import track
from tonotopy.audio import AudioCache, default_cache
from tonotopy.clips import ClipDataset, ClipTable, collate_clips
from tonotopy.embedder import AudioEmbedder
from tonotopy.metrics import analyse_features
from tonotopy.protocols._pretraining_models import (
    METHODS,
    ON_EMBEDDINGS,
    RANDOM,
    TEMPERATURE,
    given_file,
    given_model,
    is_trained,
    losses_of,
    takes_temperature,
)
from tonotopy.protocols._pretraining_tables import MEASURES, write_findings
from tonotopy.protocols._trials import claim_folder, run_trials
from tonotopy.protocols.evaluation import METRICS_FILE
from tonotopy.protocols.probe import ProbeOptions, probe_embedder
from tonotopy.training import FitConfig, SplitOptions, fit, resume
from tonotopy.training.splitting import split_by

__all__ = ["METHODS", "TEMPERATURE", "Trial", "make_trials", "run_pretraining_experiment"]

CALIBRATION_CLIPS = 512
"""Clips whose statistics the normalisation layers of a random encoder take."""

COLUMNS = ["path", "content", "label", "seconds", "sample_rate", "channels", "fold", "group"]
"""Those that every table of clips has."""

LEAST_CLIPS = 5
"""A class with fewer clips in one of the three parts is not probed."""


@dataclass(frozen=True)
class Trial:
    """One model, probed on every source.

    Args:
        method: One of `METHODS`.
        temperature: Of the softmax over cosines; 0 where there is none.
        seed: Of the weights, batches and augmentations.
    """

    method: str
    temperature: float
    seed: int

    @property
    def row(self) -> str:
        """Method and temperature."""
        return f"{self.method}, τ {self.temperature:g}" if self.temperature else self.method

    @property
    def folder(self) -> str:
        """The run's name inside the experiment's folder."""
        return f"{self.row.replace(', τ ', '-tau')}/seed{self.seed}"


def run_pretraining_experiment(
    base: FitConfig,
    sources: Mapping[str, ClipTable],
    out: Path,
    *,
    trials: Sequence[Trial],
    test_fold: str = "4",
    val_fold: str = "3",
    encoders: Path | None = None,
) -> dict[str, Any]:
    """Train without labels on all folds but one, probe on that one, and tabulate.

    All sources train together; no clip of the test fold of any of them takes part. The last
    weights of a fixed number of epochs are kept, so no label chooses anything in the training. The
    probes learn from the folds that are neither; the validation fold chooses their penalty and
    number of neighbours. Finished trials are not repeated, an interrupted one goes on.

    Args:
        base: Front end, encoder, augmentations, batches and optimiser; data, losses, split and
            seed are set here.
        sources: Name to labelled clips with folds.
        out: The folder of all runs, of `results.json` and of `results.md`.
        trials: In the order of running.
        test_fold: Never trained on.
        val_fold: Trains without labels, and chooses the probes' options.
        encoders: A folder with the given models.

    Returns:
        `{"trials": [...], "table": {row: {measure: {"mean", "sd", "n"}}}}`.

    Raises:
        UsageError: An unknown method, a fold that does not exist, a missing model, or `out` holds
            trials of another experiment.
        DataError: A source has fewer than two classes with enough clips to be probed.
    """
    split = SplitOptions(test_fold=test_fold, val_fold=val_fold)
    # Before hours of training: what no probe could do later shows here.
    probed = {name: _probed(name, clips, split) for name, clips in sources.items()}
    for trial in trials:
        if not (is_trained(trial.method) or trial.method == RANDOM or _is_done(out, trial)):
            given_file(trial.method, encoders)
    data = out / "pretraining.parquet"
    pool = _pool(sources, test_fold)
    claim_folder(
        out,
        {
            "clips": len(pool),
            "folds": [val_fold, test_fold],
            "front_end": base.front_end.to_dict(),
            "encoder": base.encoder.to_dict(),
            "augmentations": [part.to_dict() for part in base.augmentations],
            "batches": None if base.batches is None else base.batches.to_dict(),
            "optimiser": asdict(base.optimiser),
            "self_supervised": asdict(base.self_supervised),
        },
    )
    pool.write(data)

    def run_trial(trial: Trial, run: Path) -> None:
        model = _model(base, trial, run, data, encoders)
        found = {
            name: _measure(model, clips, split, out / "patches" / name)
            for name, clips in probed.items()
        }
        write_json(run / METRICS_FILE, {"sources": found})

    measures = {
        f"{name} {title}": measure(name) for name in sources for title, measure in MEASURES.items()
    }
    result = run_trials(trials, out, run_trial, measures)
    write_findings(out, result, list(sources))
    return result


def make_trials(
    methods: Sequence[str], temperatures: Sequence[float], seeds: Sequence[int]
) -> list[Trial]:
    """Make all trials, one seed after the other; a given model has one, a random one every seed."""
    for method in methods:
        if is_trained(method):
            losses_of(method, TEMPERATURE)  # refuse what does not exist before anything runs
    return [
        Trial(method, temperature if takes_temperature(method) else 0.0, seed)
        for seed in seeds
        for at, temperature in enumerate(temperatures)
        for method in methods
        if (at == 0 or takes_temperature(method))
        and (seed == seeds[0] or is_trained(method) or method == RANDOM)
    ]


def _pool(sources: Mapping[str, ClipTable], test_fold: str) -> ClipTable:
    """Put the clips of all sources together that are not for the test; their labels are dropped."""
    parts = []
    for clips in sources.values():
        kept = clips.filter((pl.col("fold") != test_fold).fill_null(True))
        frame = kept.frame.select(COLUMNS)
        parts.append(frame.with_columns(pl.Series("path", [str(path) for path in kept.paths])))
    pooled = pl.concat(parts)
    nothing = pl.Series("label", [[]] * len(pooled), dtype=pl.List(pl.String))
    return ClipTable(pooled.with_columns(nothing), Path("/"))


def _is_done(out: Path, trial: Trial) -> bool:
    return (out / trial.folder / METRICS_FILE).is_file()


def _probed(name: str, clips: ClipTable, split: SplitOptions) -> ClipTable:
    """Keep the classes that have enough clips to learn from, to choose by and to judge."""
    part = split_by(clips, split, seed=0)  # no share is drawn: the two folds decide
    counts = (
        clips.frame.select(pl.col("label").list.join("/"), part.alias("part"))
        .filter(pl.col("label") != "")
        .group_by("label", "part")
        .len()
        .filter(pl.col("len") >= LEAST_CLIPS)
        .group_by("label")
        .len()
        .filter(pl.col("len") == 3)
    )
    if len(counts) < 2:
        raise DataError(
            f"{name} cannot be probed: {len(counts)} of its classes have {LEAST_CLIPS} clips in "
            f"each of fold {split.test_fold}, fold {split.val_fold} and the others, expected two"
        )
    wanted = set(counts["label"])
    return clips.filter(["/".join(label) in wanted for label in clips.labels])


def _model(
    base: FitConfig, trial: Trial, run: Path, data: Path, encoders: Path | None
) -> AudioEmbedder:
    config = replace(base, data=data, run=run, seed=trial.seed)
    if not is_trained(trial.method):
        model = given_model(trial.method, config, encoders)
        return _calibrated(model, config) if trial.method == RANDOM else model
    if not (run / "model.safetensors").is_file():
        losses = losses_of(trial.method, trial.temperature)
        config = replace(
            config, losses=losses, split=SplitOptions(test_fraction=0.0, val_fraction=0.0)
        )
        if trial.method == ON_EMBEDDINGS:
            views = replace(config.self_supervised, projection=[])
            config = replace(config, self_supervised=views)
        if (run / "config.yaml").is_file():
            resume(run)
        else:
            fit(config)
    return AudioEmbedder.from_pretrained(run)


@torch.no_grad()
def _calibrated(model: AudioEmbedder, config: FitConfig) -> AudioEmbedder:
    """Let the normalisation layers of a random encoder see clips, as those of trained ones have.

    With running statistics of 0 and 1 it would be worse than random weights need be.
    """
    clips = ClipTable.read(config.data)
    cache = AudioCache(config.cache or default_cache(), model.sample_rate)
    rows = torch.linspace(0, len(clips) - 1, min(len(clips), CALIBRATION_CLIPS)).long().tolist()
    seconds = config.self_supervised.view_seconds
    dataset = ClipDataset(clips, cache, rows=rows, seconds=seconds, short="tile")
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None  # the mean over all batches
    model.train()
    for start in range(0, len(dataset), 64):
        items = [dataset[at] for at in range(start, min(start + 64, len(dataset)))]
        batch = collate_clips(items)
        model(batch["waveforms"], batch["lengths"])
    return model.eval()


def _measure(
    model: AudioEmbedder, clips: ClipTable, split: SplitOptions, patches: Path
) -> dict[str, Any]:
    options = ProbeOptions(methods=("linear", "knn"), split=split, curve_draws=1)
    found = probe_embedder(model, clips, options, folder=patches)
    test = clips.filter(pl.col("fold") == split.test_fold)
    embeddings = model.embed([str(path) for path in track(test.paths, label="Embedding")])
    found["features"] = analyse_features(embeddings, labels=test.tree.leaf_index(test.labels))
    plain: dict[str, Any] = json.loads(json.dumps(found, default=str))
    return plain
