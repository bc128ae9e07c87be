"""One training step: waveforms to embeddings to losses; randomness is (seed, step, rank) alone."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tonotopy.audio import FeatureAugmentation, Mixup, WaveAugmentation
from tonotopy.embedder import AudioEmbedder
from tonotopy.labels import relation_counts
from tonotopy.losses import Loss
from tonotopy.metrics import effective_rank, mean_pairwise_cosine
from tonotopy.training.collectives import global_loss
from tonotopy.training.config import OptimiserOptions
from tonotopy.training.data import Batch, ClipDataModule
from tonotopy.training.intermediate import IntermediateLosses
from tonotopy.training.node_counts import NodeCounts
from tonotopy.training.optimiser import make_optimiser
from tonotopy.training.validation import validation_accuracies

VALIDATION_CHUNK = 512
"""Clips that a validation loss sees at once: enough pairs, and no N x N for large sets."""

COLLAPSE_SAMPLE = 2048
"""Embeddings that the collapse monitor looks at."""


class EmbeddingTask(lightning.LightningModule):
    """Train an `AudioEmbedder` with any loss over its embeddings.

    Args:
        embedder: The model.
        loss: `loss(embeddings, labels)`; its head, if any, becomes the embedder's classifier.
        labels: (N,) class id of every clip of the table, -1 = unknown; or (N, L) codes of the
            embedder's tree.
        optimiser: Epochs, learning rate and schedule.
        augmentations: Waveform and feature augmentations, applied in this order.
        mixup: Mixes features and labels, or None.
        node_counts: Sets the class weights of the losses anew for each epoch, or None.
        freeze_encoder: Train the loss's own parameters alone.
        intermediate: Further losses on a layer of the embedder's encoder, or None.
        seed: Start of all random numbers of the training.
    """

    def __init__(
        self,
        embedder: AudioEmbedder,
        loss: Loss,
        labels: Tensor,
        *,
        optimiser: OptimiserOptions,
        augmentations: Sequence[nn.Module] = (),
        mixup: Mixup | None = None,
        node_counts: NodeCounts | None = None,
        freeze_encoder: bool = False,
        intermediate: IntermediateLosses | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.embedder = embedder
        self.loss = loss
        self.register_buffer("labels", labels, persistent=False)
        self.labels: Tensor
        self.options = optimiser
        self.wave_augmentations = nn.ModuleList(
            a for a in augmentations if isinstance(a, WaveAugmentation)
        )
        self.feature_augmentations = nn.ModuleList(
            a for a in augmentations if isinstance(a, FeatureAugmentation)
        )
        self.mixup = mixup
        self.node_counts = node_counts
        self.freeze_encoder = freeze_encoder
        if freeze_encoder:
            embedder.encoder.requires_grad_(False)
        self.intermediate = intermediate
        self.seed = seed
        self.last_terms: dict[str, Tensor] = {}
        self._seen: list[tuple[Tensor, Tensor]] = []

    def on_train_start(self) -> None:
        """Weigh classes; a resumed epoch has no start of its own."""
        self._weigh_classes()

    def on_train_epoch_start(self) -> None:
        """Weigh classes by how often they occur in this epoch."""
        self._weigh_classes()

    def _weigh_classes(self) -> None:
        if self.node_counts is not None:
            batches = self._data().epoch_batches(self.current_epoch)
            self.node_counts.apply(self.loss, batches)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed dropout, so that a resumed step draws the same numbers."""
        torch.manual_seed(self._step_seed())
        if self.freeze_encoder:
            self.embedder.encoder.eval()  # the statistics of batch normalisation are frozen too

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Give the loss of a batch and log its terms."""
        labels = self.labels[batch["index"]]
        generator = torch.Generator(self.device).manual_seed(self._step_seed())
        waveforms, lengths = batch["waveforms"], batch["lengths"]
        for augment in self.wave_augmentations:
            waveforms = augment(waveforms, lengths, generator)
        features, frames = self.embedder.front_end(waveforms, lengths)
        for augment in self.feature_augmentations:
            features = augment(features, frames, generator)

        targets = labels
        if self.mixup is not None:
            assert self.embedder.tree is not None, "a trained embedder knows its classes"
            soft = F.one_hot(labels, self.embedder.tree.num_leaves).to(features.dtype)
            features, targets = self.mixup(features, soft, generator)
            frames = torch.full_like(frames, features.shape[-1])  # a mixture is as long as both

        if self.intermediate is None:
            loss = global_loss(self.loss, self.embedder.encoder(features, frames), targets)
        else:
            encoder = self.embedder.encoder
            embeddings, vectors = self.intermediate.encode(encoder, features, frames)
            loss = global_loss(self.loss, embeddings, targets)
            loss = loss + global_loss(self.intermediate.loss, vectors, targets)
        self._log_terms(loss, labels)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Embed validation clips; they are judged together when the epoch ends."""
        embeddings = self.embedder(batch["waveforms"], batch["lengths"])
        self._seen.append((embeddings.float(), self.labels[batch["index"]]))

    def on_validation_epoch_end(self) -> None:
        """Log loss, accuracy, nearest-neighbour accuracy and the collapse monitor."""
        embeddings, labels = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        values = {
            "val/loss": self._validation_loss(embeddings, labels),
            **validation_accuracies(self.embedder, embeddings, labels),
            "monitor/effective_rank": effective_rank(embeddings[:COLLAPSE_SAMPLE]),
            "monitor/mean_cosine": mean_pairwise_cosine(embeddings[:COLLAPSE_SAMPLE]),
        }
        self.log_dict({name: float(value) for name, value in values.items()}, rank_zero_only=True)

    def configure_optimizers(self) -> Any:
        """Make the optimiser and its schedule."""
        # Not `trainer.estimated_stepping_batches`: it would set up the loaders before a checkpoint
        # can tell them where in its epoch the run stopped.
        return make_optimiser(self, self.options, self._data().steps_per_epoch)

    def _data(self) -> ClipDataModule:
        data = getattr(self.trainer, "datamodule", None)
        assert isinstance(data, ClipDataModule), "this task is trained on a ClipDataModule"
        return data

    def _step_seed(self) -> int:
        key = f"{self.seed}/{self.global_step}/{self.global_rank}".encode()
        return int.from_bytes(blake2b(key, digest_size=7).digest())

    def _log_terms(self, loss: Tensor, labels: Tensor) -> None:
        self.last_terms = {"train/loss": loss.detach()}
        if labels.ndim == 2:
            self.last_terms |= _batch_counts(labels)
        terms = self.loss.terms()
        if self.intermediate is not None:
            terms |= self.intermediate.loss.terms()
        self.last_terms |= {f"train/{name}": term for name, term in terms.items()}
        self.log_dict(self.last_terms, on_step=True, on_epoch=False, prog_bar=True)

    @torch.no_grad()
    def _validation_loss(self, embeddings: Tensor, labels: Tensor) -> float:
        # Validation clips come sorted by label; chunks need mixed ones to have pairs of both kinds.
        shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
        total = 0.0
        for chunk in torch.split(shuffled.to(labels.device), VALIDATION_CHUNK):
            total += float(self.loss(embeddings[chunk], labels[chunk])) * len(chunk)
        return total / len(labels)


def _batch_counts(codes: Tensor) -> dict[str, Tensor]:
    """Name the pairs and triplets of a batch by the levels that they share."""
    counts = relation_counts(codes)
    named = {"batch/unknown_pairs": counts.unknown_pairs.float()}
    for what in ("pairs", "triplets"):
        numbers: Tensor = getattr(counts, what)
        named |= {f"batch/{what}{at}": number for at, number in enumerate(numbers.float())}
    return named
