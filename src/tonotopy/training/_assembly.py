"""From a configuration and clips to what a trainer needs: model, loss, loaders, augmentations."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from functools import partial

import polars as pl
import torch
from torch import Tensor, nn

from tonotopy._components import Component, build, find_class
from tonotopy._errors import DataError, UsageError
from tonotopy._progress import track
from tonotopy.audio import AudioCache, Augmentation, FrontEnd, Mixup, default_cache
from tonotopy.clips import BatchSampler, ClipDataset, ClipTable
from tonotopy.embedder import AudioEmbedder
from tonotopy.labels import LabelTree, display_name
from tonotopy.losses import Loss, WeightedSumLoss
from tonotopy.training._anomaly_assembly import (
    anomaly_task,
    check_machine_classes,
    loss_classes,
    start_centres,
)
from tonotopy.training._pretrained import build_network
from tonotopy.training.config import FitConfig
from tonotopy.training.data import ClipDataModule
from tonotopy.training.excerpts import excerpt_seconds
from tonotopy.training.intermediate import intermediate_losses
from tonotopy.training.node_counts import NodeCounts
from tonotopy.training.task import EmbeddingTask

WHOLE_WINDOWS = 1.5
"""Clips up to so many windows are embedded at once: longer ones are several windows already."""


def assemble(config: FitConfig, clips: ClipTable) -> tuple[EmbeddingTask, ClipDataModule]:
    """Make model, loss, loaders and augmentations; refuse data that cannot be learnt from."""
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    tree = known_tree(clips)
    seen = (clips.frame["split"] != "unseen").to_list()
    paths = [path if kept else () for path, kept in zip(clips.labels, seen, strict=True)]
    leaves, codes = tree.leaf_index(paths), tree.encode(paths)
    labels = codes if config.task == "tree" else leaves
    train_rows, val_rows = (_rows(clips, split, labels, config) for split in ("train", "val"))
    _check_classes(tree, codes[train_rows], config)
    if not val_rows and "val" in clips.frame["split"]:
        _warn("no validation clip has a label that can be judged: the last weights are kept")
    if config.optimiser.schedule == "plateau" and not val_rows:
        raise UsageError("--optimiser.schedule plateau needs validation clips: set --split")

    sampler = make_sampler(config, tree, leaves[train_rows], codes[train_rows])
    counts = NodeCounts(tree, codes[train_rows]) if config.class_weights else None
    front_end, encoder = build_network(config, excerpt_seconds(config, clips))
    parts = _build_losses(config, config.losses, tree, encoder.embedding_dim)
    if counts is not None:
        counts.apply(nn.ModuleList(parts.values()), sampler().epoch_batches(0))
    weights = {name: config.loss_weights[name] for name in parts if name in config.loss_weights}
    loss = WeightedSumLoss(parts, weights)
    if config.freeze_encoder and not list(loss.parameters()):
        raise UsageError(
            "--freeze_encoder leaves nothing to train: none of the losses has a classifier"
        )
    intermediate = intermediate_losses(
        config,
        front_end,
        encoder,
        partial(_build_losses, config, config.intermediate.losses, tree),
        num_classes=tree.num_leaves,
        seconds=excerpt_seconds(config, clips),
    )
    # A head that tells exchanged clips from others is no classifier of the one class there is.
    head = loss.head if loss_classes(config, tree) == tree.num_leaves else None
    if head is None and config.monitor == "val/accuracy":
        raise UsageError(
            "none of the losses has a classifier: choose --monitor val/knn_accuracy or add one"
        )
    embedder = AudioEmbedder(front_end, encoder, head=head, tree=tree)
    if config.task == "anomaly":
        embedder.window_seconds = WHOLE_WINDOWS * excerpt_seconds(config, clips)
    train, val = clip_datasets(config, clips, front_end, train_rows, val_rows)
    start_centres(parts.values(), embedder, train)
    augmentations = [build(a, Augmentation, "tonotopy.audio") for a in config.augmentations]
    if config.task == "anomaly":
        task: EmbeddingTask = anomaly_task(config, embedder, loss, labels, augmentations)
    else:
        task = EmbeddingTask(
            embedder,
            loss,
            labels,
            optimiser=config.optimiser,
            augmentations=augmentations,
            mixup=Mixup(config.mixup_alpha) if config.mixup_alpha else None,
            node_counts=counts,
            freeze_encoder=config.freeze_encoder,
            intermediate=intermediate,
            seed=config.seed,
        )
    return task, ClipDataModule(train, val, sampler, workers=config.workers)


def clip_datasets(
    config: FitConfig,
    clips: ClipTable,
    front_end: FrontEnd,
    train_rows: list[int],
    val_rows: list[int],
) -> tuple[ClipDataset, ClipDataset | None]:
    """Decode all clips once, and fit the front end to those that train."""
    cache = AudioCache(config.cache or default_cache(), front_end.sample_rate)
    train = ClipDataset(
        clips,
        cache,
        rows=train_rows,
        seconds=excerpt_seconds(config, clips),
        short=config.short_clips,
        train=True,
        seed=config.seed,
    )
    _decode_all(clips, cache)
    if config.pretrained is None:  # its encoder knows features as its front end gives them
        _fit_normalisation(front_end, clips, cache, train_rows)
    return train, ClipDataset(clips, cache, rows=val_rows) if val_rows else None


def make_sampler(
    config: FitConfig, tree: LabelTree | None, leaves: Tensor, codes: Tensor
) -> Callable[..., BatchSampler]:
    """Give what makes the batch sampler when it is told `rank` and `world_size`."""
    assert config.batches is not None, "the configuration fills in its default"
    return partial(
        build,
        config.batches,
        BatchSampler,
        "tonotopy.clips",
        labels=leaves.tolist(),
        codes=codes,
        tree=tree,
        num_clips=len(codes),
        seed=config.seed,
    )


def known_tree(clips: ClipTable) -> LabelTree:
    """Give the tree of all labels that training may know of."""
    return clips.filter(pl.col("split") != "unseen").tree


def _rows(clips: ClipTable, split: str, labels: Tensor, config: FitConfig) -> list[int]:
    """Rows of a split that training can use: flat classes need a complete label."""
    in_split = (clips.frame["split"] == split).to_list()
    usable = labels >= 0
    if config.task == "tree":
        # Validation clips without any label would count as never right and never wrong.
        usable = usable.any(dim=1) | (split == "train")
    return [row for row, inside in enumerate(in_split) if inside and usable[row]]


def _check_classes(tree: LabelTree, codes: Tensor, config: FitConfig) -> None:
    """Refuse training clips of fewer than two classes, and say which have none."""
    if config.task == "anomaly":
        check_machine_classes(tree, codes, config)
        return
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


def _build_losses(
    config: FitConfig, losses: Mapping[str, Component], tree: LabelTree, embedding_dim: int
) -> dict[str, Loss]:
    for component in losses.values():
        _check_task(find_class(component.class_path, Loss, "tonotopy.losses"), config.task)
    return {
        name: build(
            component,
            Loss,
            "tonotopy.losses",
            num_classes=loss_classes(config, tree),
            embedding_dim=embedding_dim,
            tree=tree,
        )
        for name, component in losses.items()
    }


def _check_task(loss: type[Loss], task: str) -> None:
    """Refuse flat classifiers where labels are paths, whose classes they cannot tell."""
    parameters = inspect.signature(loss).parameters
    if task == "tree" and "num_classes" in parameters and "tree" not in parameters:
        raise UsageError(
            f"{loss.__name__} tells flat classes apart: with --task tree take LeafCrossEntropyLoss "
            "or another loss over a tree, or leave --task out"
        )


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
