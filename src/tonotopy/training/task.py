"""One training step: waveforms to embeddings to losses; randomness is (seed, step, rank) alone."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from tonotopy.audio import FeatureAugmentation, Mixup, WaveAugmentation
from tonotopy.embedder import AudioEmbedder
from tonotopy.losses import Loss
from tonotopy.metrics import effective_rank, knn_accuracy, mean_pairwise_cosine
from tonotopy.training.collectives import global_loss
from tonotopy.training.config import OptimiserOptions
from tonotopy.training.data import Batch, ClipDataModule
from tonotopy.training.schedule import warmup_cosine

VALIDATION_CHUNK = 512
"""Clips that a validation loss sees at once: enough pairs, and no N x N for large sets."""

COLLAPSE_SAMPLE = 2048
"""Embeddings that the collapse monitor looks at."""


class EmbeddingTask(lightning.LightningModule):
    """Train an `AudioEmbedder` with any loss over its embeddings.

    Args:
        embedder: The model.
        loss: `loss(embeddings, labels)`; its head, if any, becomes the embedder's classifier.
        labels: (N,) class id of every clip of the table, -1 = unknown.
        num_classes: Number of classes C.
        optimiser: Epochs, learning rate and schedule.
        augmentations: Waveform and feature augmentations, applied in this order.
        mixup: Mixes features and labels, or None.
        seed: Start of all random numbers of the training.
    """

    def __init__(
        self,
        embedder: AudioEmbedder,
        loss: Loss,
        labels: Tensor,
        num_classes: int,
        *,
        optimiser: OptimiserOptions,
        augmentations: Sequence[nn.Module] = (),
        mixup: Mixup | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.embedder = embedder
        self.loss = loss
        self.register_buffer("labels", labels, persistent=False)
        self.labels: Tensor
        self.num_classes = num_classes
        self.options = optimiser
        self.wave_augmentations = nn.ModuleList(
            a for a in augmentations if isinstance(a, WaveAugmentation)
        )
        self.feature_augmentations = nn.ModuleList(
            a for a in augmentations if isinstance(a, FeatureAugmentation)
        )
        self.mixup = mixup
        self.seed = seed
        self.last_terms: dict[str, Tensor] = {}
        self._seen: list[tuple[Tensor, Tensor]] = []

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed dropout, so that a resumed step draws the same numbers."""
        torch.manual_seed(self._step_seed())

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
            soft = F.one_hot(labels, self.num_classes).to(features.dtype)
            features, targets = self.mixup(features, soft, generator)
            frames = torch.full_like(frames, features.shape[-1])  # a mixture is as long as both

        embeddings = self.embedder.encoder(features, frames)
        loss = global_loss(self.loss, embeddings, targets)
        self._log_terms(loss)
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
            "val/knn_accuracy": knn_accuracy(embeddings, labels, k=1),
            "monitor/effective_rank": effective_rank(embeddings[:COLLAPSE_SAMPLE]),
            "monitor/mean_cosine": mean_pairwise_cosine(embeddings[:COLLAPSE_SAMPLE]),
        }
        if self.loss.head is not None:
            predicted = self.loss.head(embeddings).argmax(dim=-1)
            values["val/accuracy"] = (predicted == labels)[labels >= 0].double().mean().item()
        self.log_dict({name: float(value) for name, value in values.items()}, rank_zero_only=True)

    def configure_optimizers(self) -> Any:
        """Make AdamW with warm-up and cosine decay, stepped every batch."""
        decayed = [p for p in self.parameters() if p.requires_grad and p.ndim > 1]
        exempt = [p for p in self.parameters() if p.requires_grad and p.ndim <= 1]
        optimiser = AdamW(
            [
                {"params": decayed, "weight_decay": self.options.weight_decay},
                {"params": exempt, "weight_decay": 0.0},
            ],
            lr=self.options.learning_rate,
        )
        # Not `trainer.estimated_stepping_batches`: it would set up the loaders before a checkpoint
        # can tell them where in its epoch the run stopped.
        per_epoch = self._steps_per_epoch()
        steps = self.options.epochs * per_epoch
        warmup = round(self.options.warmup_epochs * per_epoch)
        schedule = LambdaLR(optimiser, lambda step: warmup_cosine(step, warmup, steps))
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _steps_per_epoch(self) -> int:
        data = getattr(self.trainer, "datamodule", None)
        assert isinstance(data, ClipDataModule), "this task is trained on a ClipDataModule"
        return data.steps_per_epoch

    def _step_seed(self) -> int:
        key = f"{self.seed}/{self.global_step}/{self.global_rank}".encode()
        return int.from_bytes(blake2b(key, digest_size=7).digest())

    def _log_terms(self, loss: Tensor) -> None:
        self.last_terms = {"train/loss": loss.detach()}
        self.last_terms |= {f"train/{name}": term for name, term in self.loss.terms().items()}
        self.log_dict(self.last_terms, on_step=True, on_epoch=False, prog_bar=True)

    @torch.no_grad()
    def _validation_loss(self, embeddings: Tensor, labels: Tensor) -> float:
        # Validation clips come sorted by label; chunks need mixed ones to have pairs of both kinds.
        shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
        total = 0.0
        for chunk in torch.split(shuffled.to(labels.device), VALIDATION_CHUNK):
            total += float(self.loss(embeddings[chunk], labels[chunk])) * len(chunk)
        return total / len(labels)
