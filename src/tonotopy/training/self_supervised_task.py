"""One step of training without labels: views of each clip, told from views of other clips."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from torch.utils.checkpoint import checkpoint

from tonotopy.audio import Views
from tonotopy.embedder import AudioEmbedder
from tonotopy.labels import UNKNOWN
from tonotopy.losses import Loss, MomentumContrast, ProjectionLoss, WeightedSumLoss
from tonotopy.losses.momentum_contrast import slow_copy
from tonotopy.metrics import (
    alignment,
    analyse_features,
    effective_rank,
    knn_accuracy,
    mean_pairwise_cosine,
    uniformity,
)
from tonotopy.training.collectives import gather_rows, global_loss
from tonotopy.training.config import OptimiserOptions
from tonotopy.training.data import Batch
from tonotopy.training.task import COLLAPSE_SAMPLE, VALIDATION_CHUNK, EmbeddingTask

VALIDATION_EPOCH = 0
"""Validation clips are always seen in the same views."""


class SelfSupervisedTask(EmbeddingTask):
    """Train an `AudioEmbedder` on views of clips.

    Args:
        embedder: The model.
        loss: `loss(embeddings, ids)`, where rows of one id belong together.
        labels: (N,) class of every clip of the table, -1 = unknown: for measuring only.
        positives: (N,) id of every clip of the table that the loss goes by: its row, or its class.
        views: Makes views.
        optimiser: Epochs, learning rate and schedule.
        momentum: Of a slow copy of the encoder, which makes the keys of `MomentumContrast`; None
            where there is none.
        chunk_views: Most views that the encoder holds in memory at once; 0 for all.
        seed: Start of all random numbers of the training.
    """

    def __init__(
        self,
        embedder: AudioEmbedder,
        loss: WeightedSumLoss,
        labels: Tensor,
        positives: Tensor,
        views: Views,
        *,
        optimiser: OptimiserOptions,
        momentum: float | None = None,
        chunk_views: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(embedder, loss, labels, optimiser=optimiser, seed=seed)
        self.register_buffer("positives", positives, persistent=False)
        self.positives: Tensor
        # Not a module of this one: its front end is the embedder's, which would be saved twice.
        self._views = (views,)
        self.chunk_views = chunk_views
        self.slow_encoder: AveragedModel | None = None
        if momentum is not None:
            self.slow_encoder = slow_copy(embedder.encoder, momentum)
        self._views_seen: list[tuple[Tensor, Tensor]] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Give the loss of the views of a batch and log its terms."""
        features, frames = self._make_views(batch, self.current_epoch)
        clips = batch["index"]
        ids = self.positives[clips]
        if self.slow_encoder is None:
            embeddings = self._encode(features, frames)
            loss = global_loss(self.loss, embeddings, ids.repeat(self._count))
        else:
            queries, count = slice(None, len(clips)), self._count - 1
            keys = self._encode_keys(features[len(clips) :], frames[len(clips) :])
            for part in self._parts():
                if isinstance(part, MomentumContrast):
                    part.set_keys(
                        gather_rows(keys),
                        gather_rows(ids.repeat(count)),
                        gather_rows(clips.repeat(count)),
                    )
            embeddings = self._encode(features[queries], frames[queries])
            loss = global_loss(self.loss, embeddings, ids)
        self._log_terms(loss, ids)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Embed validation clips, and two views of each without augmentation."""
        super().validation_step(batch, batch_idx)
        features, frames = self._make_views(batch, VALIDATION_EPOCH)
        embeddings = self.embedder.encoder(features, frames).float()
        clips = batch["index"].repeat(self._count)
        self._views_seen.append((embeddings, clips))

    def on_validation_epoch_end(self) -> None:
        """Log the loss, nearest-neighbour accuracy, and what can be said of the features."""
        embeddings, labels = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        values = {
            "val/loss": self._loss_of_views(),
            "monitor/effective_rank": effective_rank(embeddings[:COLLAPSE_SAMPLE]),
            "monitor/mean_cosine": mean_pairwise_cosine(embeddings[:COLLAPSE_SAMPLE]),
        }
        if several_classes(labels):
            values["val/knn_accuracy"] = knn_accuracy(embeddings, labels, k=1)
        one, other = self._first_views()
        self._views_seen.clear()
        known = labels if (labels >= 0).any() else None
        found = analyse_features(embeddings, labels=known)
        values |= {f"features/{name}": value for name, value in found.items()}
        values["features/alignment"] = alignment(one, other)
        for name, part in self._projections().items():
            projected = part.project(one), part.project(other)
            values[f"{name}/projected_uniformity"] = uniformity(projected[0])
            values[f"{name}/projected_alignment"] = alignment(*projected)
        # What cannot be measured, such as tolerance where no two clips share a class, is left out.
        measured = {name: float(v) for name, v in values.items() if math.isfinite(float(v))}
        self.log_dict(measured, rank_zero_only=True)

    @property
    def _count(self) -> int:
        return self._views[0].views

    def _make_views(self, batch: Batch, epoch: int) -> tuple[Tensor, Tensor]:
        views = self._views[0].train(self.training)
        made: tuple[Tensor, Tensor] = views(
            batch["waveforms"], batch["lengths"], batch["index"], epoch
        )
        return made

    def _encode(self, features: Tensor, frames: Tensor) -> Tensor:
        """Embed; in chunks whose activations are computed again for the backward pass.

        That is the gradient cache of Gao et al., 2021, written as checkpoints: no chunk but one
        has its activations in memory, and the loss sees all embeddings.
        """
        if not self.chunk_views or len(features) <= self.chunk_views:
            embeddings: Tensor = self.embedder.encoder(features, frames)
            return embeddings
        size = self.chunk_views
        parts = zip(torch.split(features, size), torch.split(frames, size), strict=True)
        return torch.cat(
            [checkpoint(self.embedder.encoder, *part, use_reentrant=False) for part in parts]
        )

    @torch.no_grad()
    def _encode_keys(self, features: Tensor, frames: Tensor) -> Tensor:
        assert self.slow_encoder is not None, "keys are made by a slow encoder"
        self.slow_encoder.update_parameters(self.embedder.encoder)
        self.slow_encoder.eval()
        size = self.chunk_views or len(features)
        parts = zip(torch.split(features, size), torch.split(frames, size), strict=True)
        return torch.cat([self.slow_encoder(*part) for part in parts])

    def _parts(self) -> list[Loss]:
        assert isinstance(self.loss, WeightedSumLoss), "losses are assembled as a sum"
        return list(self.loss.parts().values())

    def _projections(self) -> dict[str, ProjectionLoss]:
        """Name the losses that compare projections."""
        assert isinstance(self.loss, WeightedSumLoss), "losses are assembled as a sum"
        found = {}
        for name, part in self.loss.parts().items():
            inner = part.loss if isinstance(part, MomentumContrast) else part
            if isinstance(inner, ProjectionLoss) and inner.projection is not None:
                found[name] = inner
        return found

    def _first_views(self) -> tuple[Tensor, Tensor]:
        count = self._count
        pairs = [rows.view(count, -1, rows.shape[1])[:2] for rows, _ in self._views_seen]
        one, other = torch.cat(pairs, dim=1)
        return one, other

    @torch.no_grad()
    def _loss_of_views(self) -> float:
        """Give the mean loss over chunks of validation clips, each with all its views."""
        count = self._count
        rows = torch.cat([r.view(count, -1, r.shape[1]) for r, _ in self._views_seen], dim=1)
        clips = torch.cat([c.view(count, -1)[0] for _, c in self._views_seen])
        # Validation clips come sorted by their path, which often sorts them by class.
        order = torch.randperm(len(clips), generator=torch.Generator().manual_seed(0))
        total = 0.0
        for chunk in torch.split(order.to(clips.device), max(2, VALIDATION_CHUNK // count)):
            ids = self.positives[clips[chunk]].repeat(count)
            total += float(self.loss(rows[:, chunk].flatten(0, 1), ids)) * len(chunk)
        return total / len(clips)


def positive_ids(labels: Tensor, positives: str) -> Tensor:
    """Give the id that the loss goes by for every clip of a table.

    Args:
        labels: (N,) classes, -1 = unknown.
        positives: `"views"`: every clip is its own; `"labels"`: clips of one class are the same,
            and those of an unknown one their own.
    """
    rows = torch.arange(len(labels))
    if positives == "views":
        return rows
    return labels.where(labels > UNKNOWN, rows + int(labels.max()) + 1)


def several_classes(labels: Tensor) -> bool:
    """Whether two known classes occur, so that neighbours can be right or wrong."""
    return len(set(labels[labels >= 0].tolist())) > 1
