"""What the task `self-supervised` makes of clips: windows without labels, losses over views."""

from __future__ import annotations

import inspect

import torch
from torch import Tensor

from tonotopy._components import Component, build, find_class
from tonotopy._errors import DataError, UsageError
from tonotopy.audio import Augmentation, Views
from tonotopy.clips import ClipTable, window_clips
from tonotopy.embedder import AudioEmbedder
from tonotopy.labels import UNKNOWN
from tonotopy.losses import (
    AngularMarginContrastiveLoss,
    Loss,
    MomentumContrast,
    PairLoss,
    ProjectedLoss,
    ProjectionHead,
    WeightedSumLoss,
)
from tonotopy.training._assembly import clip_datasets, known_tree, make_sampler
from tonotopy.training._pretrained import build_network
from tonotopy.training.config import FitConfig
from tonotopy.training.data import ClipDataModule
from tonotopy.training.excerpts import excerpt_seconds
from tonotopy.training.self_supervised_task import (
    SelfSupervisedTask,
    positive_ids,
    several_classes,
)
from tonotopy.training.splitting import split_by


def unlabelled_clips(clips: ClipTable, config: FitConfig) -> ClipTable:
    """Cut long recordings into windows, and split them; labels are kept where there are any."""
    windows = window_clips(clips, excerpt_seconds(config, clips))
    return windows.with_columns(split_by(windows, config.split, seed=config.seed).alias("split"))


def assemble_self_supervised(
    config: FitConfig, clips: ClipTable
) -> tuple[SelfSupervisedTask, ClipDataModule]:
    """Make model, loss, views and loaders; refuse data that cannot be learnt from."""
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    train_rows, val_rows = (_rows(clips, split) for split in ("train", "val"))
    if len(train_rows) < 2:
        raise DataError(
            f"views of a clip are told from views of other clips, found {len(train_rows)} clip to "
            "train on: record more, cut a long recording into shorter windows "
            "(--clip_seconds), or lower --split.test_fraction and --split.val_fraction"
        )
    seen = (clips.frame["split"] != "unseen").to_list()
    paths = [path if kept else () for path, kept in zip(clips.labels, seen, strict=True)]
    tree = known_tree(clips) if any(paths) else None
    labels = torch.full((len(clips),), UNKNOWN) if tree is None else tree.leaf_index(paths)
    codes = labels[:, None] if tree is None else tree.encode(paths)
    _check_monitor(config, labels[val_rows])
    front_end, encoder = build_network(config, config.self_supervised.view_seconds)
    loss = _build_losses(config, encoder.embedding_dim)
    train, val = clip_datasets(config, clips, front_end, train_rows, val_rows)
    options = config.self_supervised
    views = Views(
        front_end,
        [build(a, Augmentation, "tonotopy.audio") for a in config.augmentations],
        views=options.views,
        seconds=options.view_seconds,
        same_crop=options.same_crop,
        seed=config.seed,
    )
    task = SelfSupervisedTask(
        AudioEmbedder(front_end, encoder, tree=tree),
        loss,
        judged_labels(clips, labels),
        positive_ids(labels, options.positives),
        views,
        optimiser=config.optimiser,
        momentum=options.momentum if options.queue else None,
        chunk_views=options.chunk_views,
        seed=config.seed,
    )
    sampler = make_sampler(config, tree, labels[train_rows], codes[train_rows])
    return task, ClipDataModule(train, val, sampler, workers=config.workers)


def judged_labels(clips: ClipTable, labels: Tensor) -> Tensor:
    """Hide the labels of all windows of a recording but the first.

    Windows of one recording would find each other as neighbours, of the right class by birth.
    """
    first: set[str] = set()
    kept = labels.clone()
    for row, path in enumerate(clips.frame["path"]):
        if path in first:
            kept[row] = UNKNOWN
        first.add(path)
    return kept


def _rows(clips: ClipTable, split: str) -> list[int]:
    return [row for row, name in enumerate(clips.frame["split"]) if name == split]


def _check_monitor(config: FitConfig, val_labels: Tensor) -> None:
    """Refuse to choose the best epoch by what cannot be measured."""
    if config.optimiser.schedule == "plateau" and not len(val_labels):
        raise UsageError("--optimiser.schedule plateau needs validation clips: set --split")
    if config.monitor == "val/accuracy":
        raise UsageError("--task self-supervised has no classifier: choose another --monitor")
    if config.monitor == "val/knn_accuracy" and not several_classes(val_labels):
        raise UsageError(
            "--monitor val/knn_accuracy needs validation clips of two known classes: choose "
            "val/loss"
        )


def _build_losses(config: FitConfig, embedding_dim: int) -> WeightedSumLoss:
    parts = {name: _build_loss(c, config, embedding_dim) for name, c in config.losses.items()}
    return WeightedSumLoss(parts, config.loss_weights)


def _build_loss(component: Component, config: FitConfig, embedding_dim: int) -> Loss:
    """Make a loss over embeddings, or over projections, and with a queue where one is asked for."""
    options = config.self_supervised
    found = find_class(component.class_path, Loss, "tonotopy.losses")
    parameters = inspect.signature(found).parameters
    if "num_classes" in parameters or "tree" in parameters or not issubclass(found, PairLoss):
        raise UsageError(
            f"{found.__name__} learns classes, which --task self-supervised has not: take a "
            "contrastive loss, such as AngularContrastiveLoss or NTXentLoss, or train with labels "
            "(--task classes)"
        )
    head = ProjectionHead(embedding_dim, options.projection) if options.projection else None
    loss = build(component, PairLoss, "tonotopy.losses", projection=head)
    if options.queue and not loss.takes_relations:
        raise UsageError(
            f"--self_supervised.queue: {found.__name__} has no negatives that a queue could hold: "
            "set it to 0, or take another loss"
        )
    # The angular margin loss is one over embeddings, also where it stands alone.
    on_embeddings = isinstance(loss, AngularMarginContrastiveLoss)
    if head is not None and "projection" not in parameters and not on_embeddings:
        loss = ProjectedLoss(loss, head)
    if options.queue:
        return MomentumContrast(loss, options.queue, embedding_dim, options.momentum)
    return loss
