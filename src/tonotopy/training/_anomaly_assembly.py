"""What the task `anomaly` needs beyond the others: its checks, and its way of training."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from tonotopy._components import Component, build, find_class
from tonotopy._errors import DataError, UsageError
from tonotopy.audio import Augmentation, WaveMixup
from tonotopy.clips import ClipDataset, collate_clips
from tonotopy.embedder import AudioEmbedder
from tonotopy.labels import LabelTree, display_name
from tonotopy.losses import DeepSVDDLoss, Loss
from tonotopy.training.anomaly_task import AnomalyTask
from tonotopy.training.config import FitConfig
from tonotopy.training.exchange import Exchange, exchange_factor

CENTRE_CLIPS = 256
"""Clips whose embeddings by the untrained network give the centre of Deep SVDD."""

CENTRE_BATCH = 32


def check_machine_classes(tree: LabelTree, codes: Tensor, config: FitConfig) -> None:
    """Refuse a single class for losses that learn from telling classes apart; say what would do.

    Args:
        tree: The auxiliary classes.
        codes: (N, 1) classes of the training clips.
        config: Of the task `anomaly`.

    Raises:
        DataError: There are fewer than two training clips.
        UsageError: One class only, and losses that need two.
    """
    if len(codes) < 2:
        raise DataError(
            f"an anomaly detector learns from normal recordings, found {len(codes)} to train on: "
            "record more, or lower --split.test_fraction and --split.val_fraction"
        )
    counts = codes[:, 0].bincount(minlength=tree.num_leaves)
    if tree.num_leaves > 1:
        largest = float(counts.max() / counts.sum())
        if largest > 0.95:
            _warn(
                f"{largest:.0%} of the training clips are of one auxiliary class: a model that "
                "tells nothing apart is nearly as good; name columns that split this class, or "
                "add --anomaly.self_supervised featex"
            )
        return
    if config.anomaly.self_supervised != "none":
        return
    needing = [
        component.class_path
        for component in config.losses.values()
        if not find_class(component.class_path, Loss, "tonotopy.losses").learns_one_class
    ]
    if needing:
        raise UsageError(
            f"all normal recordings are of one class, {display_name(tree.path(0))!r}, and "
            f"{' and '.join(needing)} learns by telling classes apart: with one its loss is 0 "
            "whatever the model does. Name columns that tell machines or ways of running apart "
            "(--anomaly.section_column, --anomaly.attribute_columns); or let the data make "
            "classes without metadata (--anomaly.self_supervised statex, or featex); or take a "
            "loss for one class (--preset anomaly-one-class)"
        )


def anomaly_task(
    config: FitConfig,
    embedder: AudioEmbedder,
    loss: Loss,
    labels: Tensor,
    augmentations: Sequence[Augmentation],
) -> AnomalyTask:
    """Make the training task of a configuration."""
    options = config.anomaly
    exchange = None
    if options.self_supervised != "none":
        exchange = _exchange(config, embedder, loss)
    classes = [find_class(c.class_path, Loss, "tonotopy.losses") for c in config.losses.values()]
    return AnomalyTask(
        embedder,
        loss,
        labels,
        optimiser=config.optimiser,
        augmentations=augmentations,
        mixup=WaveMixup(options.mixup, options.mixup_labels) if options.mixup else None,
        exchange=exchange,
        one_class=exchange is None and all(found.learns_one_class for found in classes),
        seed=config.seed,
    )


def loss_classes(config: FitConfig, tree: LabelTree) -> int:
    """Give the classes that the losses tell apart: where there is one, also those of exchanges."""
    if tree.num_leaves > 1 or config.task != "anomaly":
        return tree.num_leaves
    return exchange_factor(config.anomaly.self_supervised)


@torch.no_grad()
def start_centres(losses: Iterable[Loss], embedder: AudioEmbedder, train: ClipDataset) -> None:
    """Put the centre of Deep SVDD where the untrained network puts training clips on average.

    Normalisation layers take the statistics of each batch, as they will in the first step.
    """
    fixed = [loss for loss in losses if isinstance(loss, DeepSVDDLoss)]
    if not fixed:
        return
    count = min(len(train), CENTRE_CLIPS)
    # Evenly over the table, and batches of at least two.
    rows = torch.linspace(0, len(train) - 1, count).long()
    embeddings = []
    for part in rows.tensor_split(max(1, count // CENTRE_BATCH)):
        batch = collate_clips([train[row] for row in part.tolist()])
        embeddings.append(embedder(batch["waveforms"], batch["lengths"]))
    for loss in fixed:
        loss.set_centre(torch.cat(embeddings))


def _exchange(config: FitConfig, embedder: AudioEmbedder, loss: Loss) -> Exchange:
    """Make the further classes, told apart by a loss like the first, with centres of its own."""
    kind, tree = config.anomaly.self_supervised, embedder.tree
    assert tree is not None, "auxiliary classes are known"
    if tree.num_leaves == 1:
        return Exchange(kind, embedder.encoder, loss, with_main=False)
    for component in config.losses.values():
        found = find_class(component.class_path, Loss, "tonotopy.losses")
        if "num_classes" in inspect.signature(found).parameters:
            break
    else:
        raise UsageError(
            f"--anomaly.self_supervised {kind} makes classes, and none of the losses tells classes "
            "apart: add SubclusterAdaCosLoss or another loss with a classifier"
        )
    arguments = dict(component.init_args)
    if "trainable_centres" in inspect.signature(found).parameters:
        arguments["trainable_centres"] = True  # as the authors train this head, whatever the other
    further = build(
        Component(component.class_path, arguments),
        Loss,
        "tonotopy.losses",
        num_classes=exchange_factor(kind) * tree.num_leaves,
        embedding_dim=embedder.embedding_dim,
    )
    return Exchange(kind, embedder.encoder, further, with_main=True)


def _warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr)
