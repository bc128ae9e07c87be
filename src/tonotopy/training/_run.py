"""From a configuration to a trained model in a run folder."""

from __future__ import annotations

import logging
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Literal

import lightning
import torch
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from tonotopy._errors import UsageError
from tonotopy.clips import ClipTable, load_clips
from tonotopy.training._anomaly_data import machine_clips
from tonotopy.training._assembly import assemble
from tonotopy.training._pretrained import with_pretrained
from tonotopy.training._self_supervised_assembly import assemble_self_supervised, unlabelled_clips
from tonotopy.training.callbacks import BEST, LAST, CollapseMonitor, EpochLog, RunCheckpoints
from tonotopy.training.checkpoint_io import SafetensorsCheckpointIO, read_state_dict
from tonotopy.training.config import FitConfig, read_config, write_config
from tonotopy.training.data import ClipDataModule
from tonotopy.training.self_supervised_task import several_classes
from tonotopy.training.splitting import split_by
from tonotopy.training.task import EmbeddingTask

CONFIG_FILE = "config.yaml"
CHECKPOINTS = "checkpoints"
CLIPS_FILE = "clips.parquet"
"""Clips of the run, with the column `split`: train, val or test."""


def fit(config: FitConfig) -> Path:
    """Train a model and leave it in a new run folder.

    Returns:
        The run folder, with `model.safetensors`, `labels.json`, `config.yaml`, `clips.parquet`,
        `checkpoints/` and `logs/`.

    Raises:
        UsageError: The run folder exists, or the configuration does not fit the data.
        DataError: The data cannot be used, or the disk refuses.
    """
    run = config.run_folder
    if run.exists() and any(run.iterdir()):
        raise UsageError(
            f"the run folder {run} exists already: go on with it by `tonotopy fit --resume {run}`, "
            "or choose another with --run"
        )
    config = with_pretrained(config)
    clips = _load(config)
    config = replace(config, data=config.data.resolve(), run=run.resolve())
    # Before anything is written: what is wrong with the data or the options shows here.
    task, data = _assemble(config, clips)
    write_config(config, run / CONFIG_FILE)
    clips.write(run / CLIPS_FILE)
    return _train(config, task, data)


def resume(run: Path) -> Path:
    """Go on with a run that was interrupted at any moment; the weights are as if it had not been.

    Raises:
        UsageError: There is no run in that folder.
        DataError: Its data moved or its files are damaged.
    """
    if not (run / CONFIG_FILE).is_file():
        raise UsageError(f"there is no run in {run}: expected {run / CONFIG_FILE}")
    config = replace(read_config(run / CONFIG_FILE), run=run.resolve())
    clips = run / CLIPS_FILE
    table = ClipTable.read(clips) if clips.is_file() else _load(config)
    if not clips.is_file():
        table.write(clips)
    if (run / CHECKPOINTS / LAST).is_file():
        config = replace(config, pretrained=None)  # the checkpoint holds the weights that count
    return _train(config, *_assemble(config, table))


def _load(config: FitConfig) -> ClipTable:
    if config.task == "anomaly":
        return machine_clips(load_clips(config.data, labelled=False), config)
    if config.task == "self-supervised":
        return unlabelled_clips(load_clips(config.data, labelled=False), config)
    clips = load_clips(config.data)
    return clips.with_columns(split_by(clips, config.split, seed=config.seed).alias("split"))


def _assemble(config: FitConfig, clips: ClipTable) -> tuple[EmbeddingTask, ClipDataModule]:
    if config.task == "self-supervised":
        return assemble_self_supervised(config, clips)
    return assemble(config, clips)


def _train(config: FitConfig, task: EmbeddingTask, data: ClipDataModule) -> Path:
    run = config.run_folder
    monitor = _monitor(config, task, data) if data.has_val else None
    checkpoints = RunCheckpoints(
        run / CHECKPOINTS,
        monitor,
        mode="min" if monitor == "val/loss" else "max",
        patience=config.patience,
        minutes=config.checkpoint_minutes,
    )
    trainer = _trainer(config, checkpoints)
    last = run / CHECKPOINTS / LAST
    with warnings.catch_warnings():
        # Lightning warns its own developers, of what they do and of sizes that are meant.
        warnings.filterwarnings("ignore", module=r"lightning\.")
        trainer.fit(task, data, ckpt_path=last if last.is_file() else None)

    kept = run / CHECKPOINTS / (BEST if monitor and config.keep == "best" else LAST)
    task.load_state_dict(read_state_dict(kept))
    if trainer.is_global_zero:
        task.embedder.save_pretrained(run)
    return run


def _monitor(config: FitConfig, task: EmbeddingTask, data: ClipDataModule) -> str:
    if config.monitor != "auto":
        return config.monitor
    judged = task.labels[data.val_rows]
    if config.task == "self-supervised" and not several_classes(judged):
        return "val/loss"
    return "val/knn_accuracy" if task.embedder.head is None else "val/accuracy"


def _trainer(config: FitConfig, checkpoints: RunCheckpoints) -> lightning.Trainer:
    logs = config.run_folder / "logs"
    # Its notes on devices and loggers are for its own users, not for ours.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    callbacks: list[lightning.Callback] = [
        CollapseMonitor(),
        EpochLog(logs / "metrics.csv", config.optimiser.epochs),
        checkpoints,
    ]
    if sys.stderr.isatty():
        callbacks.append(RichProgressBar(leave=False))
    return lightning.Trainer(
        accelerator=config.accelerator,
        devices=config.devices,
        precision=_precision(config.accelerator),
        max_epochs=config.optimiser.epochs,
        gradient_clip_val=config.optimiser.clip_gradient or None,
        callbacks=callbacks,
        plugins=[SafetensorsCheckpointIO()],
        logger=TensorBoardLogger(logs, name="", version=""),
        log_every_n_steps=1,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
        enable_checkpointing=True,
        deterministic="warn",
    )


def _precision(accelerator: str) -> Literal["32-true", "bf16-mixed", "16-mixed"]:
    """Mixed where the device computes it faster."""
    if accelerator == "cpu" or not torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
