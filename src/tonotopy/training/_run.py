"""From a configuration to a trained model in a run folder."""

from __future__ import annotations

import inspect
import logging
import sys
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import lightning
import polars as pl
import torch
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from tonotopy._components import build, find_class
from tonotopy._errors import DataError, UsageError
from tonotopy._progress import track
from tonotopy.audio import AudioCache, Augmentation, FrontEnd, Mixup, default_cache
from tonotopy.clips import BatchSampler, ClipDataset, ClipTable, load_clips, split_clips
from tonotopy.embedder import AudioEmbedder
from tonotopy.encoders import Encoder
from tonotopy.labels import LabelTree, display_name
from tonotopy.losses import Loss, WeightedSumLoss
from tonotopy.training.callbacks import BEST, LAST, CollapseMonitor, EpochLog, RunCheckpoints
from tonotopy.training.checkpoint_io import SafetensorsCheckpointIO, read_state_dict
from tonotopy.training.config import FitConfig, read_config, write_config
from tonotopy.training.data import ClipDataModule
from tonotopy.training.node_counts import NodeCounts
from tonotopy.training.task import EmbeddingTask

CONFIG_FILE = "config.yaml"
CHECKPOINTS = "checkpoints"
LONGEST_EXCERPT = 10.0
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
    clips = _split(load_clips(config.data), config)
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
    table = ClipTable.read(clips) if clips.is_file() else _split(load_clips(config.data), config)
    if not clips.is_file():
        table.write(clips)
    return _train(config, *_assemble(config, table))


def _split(clips: ClipTable, config: FitConfig) -> ClipTable:
    options = config.split
    split = split_clips(
        clips.frame,
        test_fold=options.test_fold,
        val_fold=options.val_fold,
        test_fraction=options.test_fraction,
        val_fraction=options.val_fraction,
        by=options.by,
        unseen=options.unseen,
        seed=config.seed,
    )
    return clips.with_columns(split.alias("split"))


def _train(config: FitConfig, task: EmbeddingTask, data: ClipDataModule) -> Path:
    run = config.run_folder
    monitor = _monitor(config, task.loss) if data.has_val else None
    checkpoints = RunCheckpoints(
        run / CHECKPOINTS,
        monitor,
        mode="min" if config.monitor == "val/loss" else "max",
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


def _assemble(config: FitConfig, clips: ClipTable) -> tuple[EmbeddingTask, ClipDataModule]:
    """Make model, loss, loaders and augmentations; refuse data that cannot be learnt from."""
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    tree = known_tree(clips)
    seen = (clips.frame["split"] != "unseen").to_list()
    paths = [path if kept else () for path, kept in zip(clips.labels, seen, strict=True)]
    leaves, codes = tree.leaf_index(paths), tree.encode(paths)
    labels = leaves if config.task == "classes" else codes
    train_rows, val_rows = (_rows(clips, split, labels, config) for split in ("train", "val"))
    _check_classes(tree, codes[train_rows])
    if not val_rows and "val" in clips.frame["split"]:
        _warn("no validation clip has a label that can be judged: the last weights are kept")

    embedder, loss = _build_model(config, tree)
    if loss.head is None and config.monitor == "val/accuracy":
        raise UsageError(
            "none of the losses has a classifier: choose --monitor val/knn_accuracy or add one"
        )
    if config.optimiser.schedule == "plateau" and not val_rows:
        raise UsageError("--optimiser.schedule plateau needs validation clips: set --split")
    cache = AudioCache(config.cache or default_cache(), embedder.sample_rate)
    excerpt = config.clip_seconds or min(LONGEST_EXCERPT, max(clips.frame["seconds"]))
    train = ClipDataset(
        clips,
        cache,
        rows=train_rows,
        seconds=excerpt,
        short=config.short_clips,
        train=True,
        seed=config.seed,
    )
    val = ClipDataset(clips, cache, rows=val_rows) if val_rows else None
    _decode_all(clips, cache)
    _fit_normalisation(embedder.front_end, clips, cache, train_rows)

    assert config.batches is not None, "the configuration fills in its default"
    sampler = partial(
        build,
        config.batches,
        BatchSampler,
        "tonotopy.clips",
        labels=leaves[train_rows].tolist(),
        codes=codes[train_rows],
        tree=tree,
        num_clips=len(train_rows),
        seed=config.seed,
    )
    counts = NodeCounts(tree, codes[train_rows]) if config.class_weights else None
    if counts is not None:
        counts.apply(loss, sampler().epoch_batches(0))
    augmentations = [build(a, Augmentation, "tonotopy.audio") for a in config.augmentations]
    task = EmbeddingTask(
        embedder,
        loss,
        labels,
        optimiser=config.optimiser,
        augmentations=augmentations,
        mixup=Mixup(config.mixup_alpha) if config.mixup_alpha else None,
        node_counts=counts,
        seed=config.seed,
    )
    return task, ClipDataModule(train, val, sampler, workers=config.workers)


def known_tree(clips: ClipTable) -> LabelTree:
    """Give the tree of all labels that training may know of."""
    return clips.filter(pl.col("split") != "unseen").tree


def _rows(clips: ClipTable, split: str, labels: Tensor, config: FitConfig) -> list[int]:
    """Rows of a split that training can use: flat classes need a complete label."""
    in_split = (clips.frame["split"] == split).to_list()
    if config.task == "classes":
        usable = labels >= 0
    else:
        # Validation clips without any label would count as never right and never wrong.
        usable = (labels >= 0).any(dim=1) | (split == "train")
    return [row for row, inside in enumerate(in_split) if inside and usable[row]]


def _check_classes(tree: LabelTree, codes: Tensor) -> None:
    """Refuse training clips of fewer than two classes, and say which have none."""
    counts = torch.zeros(tree.num_nodes, dtype=torch.long)
    for level in codes.unbind(dim=1):
        counts += level[level >= 0].bincount(minlength=tree.num_nodes)
    leaves = list(tree.leaves)
    if not any(len(set(level[level >= 0].tolist())) > 1 for level in codes.unbind(dim=1)):
        deepest = int(codes.max()) if codes.numel() else -1
        found = f"only {display_name(tree.path(deepest))!r}" if deepest >= 0 else "none"
        raise DataError(
            f"training needs clips of at least two classes, found {found}: "
            "put each class in a sub-folder of its own, or name the label columns"
        )
    if (counts[leaves] <= 1).all():
        _warn("every class has one training clip: nothing can be said about unseen clips")
    unseen = [display_name(tree.path(leaf)) for leaf in leaves if counts[leaf] == 0]
    if unseen:
        _warn(f"{len(unseen)} classes have no training clip: {', '.join(unseen[:5])}")


def _warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr)


def _build_model(config: FitConfig, tree: LabelTree) -> tuple[AudioEmbedder, WeightedSumLoss]:
    front_end = build(config.front_end, FrontEnd, "tonotopy.audio")
    encoder = build(config.encoder, Encoder, "tonotopy.encoders", num_bins=front_end.num_bins)
    for component in config.losses.values():
        _check_task(find_class(component.class_path, Loss, "tonotopy.losses"), config.task)
    parts = {
        name: build(
            component,
            Loss,
            "tonotopy.losses",
            num_classes=tree.num_leaves,
            embedding_dim=encoder.embedding_dim,
            tree=tree,
        )
        for name, component in config.losses.items()
    }
    loss = WeightedSumLoss(parts, config.loss_weights)
    return AudioEmbedder(front_end, encoder, head=loss.head, tree=tree), loss


def _check_task(loss: type[Loss], task: str) -> None:
    """Refuse flat classifiers where labels are paths, whose classes they cannot tell."""
    parameters = inspect.signature(loss).parameters
    if task == "tree" and "num_classes" in parameters and "tree" not in parameters:
        raise UsageError(
            f"{loss.__name__} tells flat classes apart: with --task tree take LeafCrossEntropyLoss "
            "or another loss over a tree, or leave --task out"
        )


def _monitor(config: FitConfig, loss: Loss) -> str:
    if config.monitor != "auto":
        return config.monitor
    return "val/knn_accuracy" if loss.head is None else "val/accuracy"


def _decode_all(clips: ClipTable, cache: AudioCache) -> None:
    """Fill the cache before training, so that a file that broke since the scan stops no epoch."""
    for path, content in track(
        zip(clips.paths, clips.frame["content"], strict=True), label="Decoding", total=len(clips)
    ):
        cache.load(path, content)


def _fit_normalisation(
    front_end: FrontEnd, clips: ClipTable, cache: AudioCache, rows: list[int]
) -> None:
    contents = clips.frame["content"]
    waveforms = (torch.tensor(cache.load(clips.paths[row], contents[row])) for row in rows)
    front_end.fit_normalisation(waveforms)


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
