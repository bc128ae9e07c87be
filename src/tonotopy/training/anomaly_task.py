"""One step of training on normal recordings: mixed waveforms, soft labels, exchanged classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tonotopy._errors import DataError
from tonotopy.audio import WaveMixup
from tonotopy.embedder import AudioEmbedder
from tonotopy.encoders import TwoBranchNet
from tonotopy.losses import Loss
from tonotopy.metrics import effective_rank, relative_spread
from tonotopy.training.collectives import global_loss
from tonotopy.training.config import OptimiserOptions
from tonotopy.training.data import Batch
from tonotopy.training.exchange import Exchange
from tonotopy.training.task import COLLAPSE_SAMPLE, EmbeddingTask

LEAST_SPREAD = 0.01
"""Below this share of their length, embeddings of different clips are one point."""

LEAST_RANK = 1.5
"""Below, what is left of their differences lies on a line."""


class AnomalyTask(EmbeddingTask):
    """Train an `AudioEmbedder` on normal recordings of machines.

    Args:
        embedder: The model.
        loss: `loss(embeddings, labels)` over the auxiliary classes, or for one class alone.
        labels: (N,) auxiliary class of every clip of the table, -1 = unknown.
        optimiser: Epochs, learning rate and schedule.
        augmentations: Waveform and feature augmentations, applied in this order.
        mixup: Mixes waveforms and labels, or None.
        exchange: Adds classes of exchanged clips, or None.
        one_class: The losses only pull clips together: stop when they have become one point.
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
        mixup: WaveMixup | None = None,
        exchange: Exchange | None = None,
        one_class: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(
            embedder, loss, labels, optimiser=optimiser, augmentations=augmentations, seed=seed
        )
        self.wave_mixup = mixup
        self.exchange = exchange
        self.one_class = one_class
        self._recent: list[Tensor] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Give the loss of a batch and log its terms."""
        labels = self.labels[batch["index"]]
        generator = torch.Generator(self.device).manual_seed(self._step_seed())
        waveforms, lengths = batch["waveforms"], batch["lengths"]
        for augment in self.wave_augmentations:
            waveforms = augment(waveforms, lengths, generator)
        targets = labels
        if self.wave_mixup is not None:
            soft = self._one_hot(labels).to(waveforms.dtype)
            waveforms, lengths, targets = self.wave_mixup(waveforms, lengths, soft, generator)
        features, frames = self.embedder.front_end(waveforms, lengths)
        for augment in self.feature_augmentations:
            features = augment(features, frames, generator)

        if self.exchange is None:
            embeddings = self.embedder.encoder(features, frames)
            loss = global_loss(self.loss, embeddings, targets)
        else:
            soft = self._one_hot(labels).to(features.dtype) if targets.ndim == 1 else targets
            embeddings, further = self.exchange(
                self.embedder.encoder, features, frames, soft, generator
            )
            loss = further
            if self.exchange.with_main:
                loss = loss + global_loss(self.loss, embeddings, targets)
        self._remember(embeddings)
        self._log_terms(loss, labels)
        if self.exchange is not None:
            self.last_terms["train/exchange"] = further.detach()
        return loss

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_idx: int) -> None:
        """Log how far apart the last clips lie; stop where a loss for one class has merged them.

        Raises:
            DataError: Collapse; the message says what guards against it.
        """
        if not self.trainer.is_last_batch:  # later hooks are too late for the epoch's own row
            return
        recent = torch.cat(self._recent)
        self._recent.clear()
        if self.one_class:
            recent = self._without_dropout(batch)
        spread = relative_spread(recent)
        rank = effective_rank(recent - recent.mean(dim=0)) if spread > 0 else 0.0
        measured = {"monitor/spread": spread, "monitor/centred_rank": rank}
        encoder = self.embedder.encoder
        if isinstance(encoder, TwoBranchNet):
            # The longer branch decides the cosine, unless both are scaled to one length.
            spectrum, spectrogram = encoder.branch_norms(recent).mean(dim=0).tolist()
            measured |= {"monitor/spectrum_norm": spectrum, "monitor/spectrogram_norm": spectrogram}
        self.log_dict(measured, on_step=True, on_epoch=False, rank_zero_only=True)
        if self.one_class and (spread < LEAST_SPREAD or rank < LEAST_RANK):
            raise DataError(
                f"collapse in epoch {self.current_epoch + 1}: all clips have become one point "
                f"(spread {spread:.1e} of their length, {rank:.1f} dimensions), so no clip can "
                "stand out. A loss for one class allows that: take an encoder without biases and "
                "with BatchNorm without affine part (TwoBranchNet as it is), train for fewer "
                "epochs, or give it something to tell apart (--anomaly.self_supervised featex, "
                "or metadata columns)"
            )

    @torch.no_grad()
    def _without_dropout(self, batch: Batch) -> Tensor:
        """Embed a batch as training does but without dropout, whose noise would hide a collapse."""
        layers = [
            m for m in self.embedder.modules() if isinstance(m, nn.modules.dropout._DropoutNd)
        ]
        norms = [
            m for m in self.embedder.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)
        ]
        momenta = [norm.momentum for norm in norms]
        for layer in layers:
            layer.eval()
        for norm in norms:
            norm.momentum = 0.0  # the statistics of evaluation stay as they are
        embeddings: Tensor = self.embedder(batch["waveforms"], batch["lengths"])
        for layer in layers:
            layer.train()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        return embeddings.float().cpu()

    def _one_hot(self, labels: Tensor) -> Tensor:
        assert self.embedder.tree is not None, "auxiliary classes are known"
        return F.one_hot(labels, self.embedder.tree.num_leaves)

    def _remember(self, embeddings: Tensor) -> None:
        self._recent.append(embeddings.detach().float().cpu())
        while sum(map(len, self._recent[1:])) >= COLLAPSE_SAMPLE:
            self._recent.pop(0)
