"""Training beside the main loss on clips that were made of two, by exchanging what they have."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.audio import StatEx
from tonotopy.encoders import Encoder, TwoBranchNet
from tonotopy.losses import Loss
from tonotopy.training.anomaly_options import SelfSupervised
from tonotopy.training.collectives import global_loss
from tonotopy.training.exchanged_classes import FeatEx, exchanged_classes


def exchange_factor(kind: SelfSupervised) -> int:
    """Give how many classes there are for each auxiliary class: 3, or 9 for both exchanges."""
    return 3 ** len(kind.split("+")) if kind != "none" else 1


class Exchange(nn.Module):
    """Embed a batch and give the loss over the classes that exchanges make.

    Statistics are exchanged in the spectrogram, which the main loss sees too, as in the authors'
    system; branches of the embedding are exchanged for this loss alone.

    Args:
        kind: What is exchanged.
        encoder: The network; exchanging features needs one with two branches.
        loss: Over `exchange_factor(kind)` times the auxiliary classes.
        with_main: Whether the auxiliary classes have a loss of their own beside this one.

    Raises:
        UsageError: The encoder has no branches to exchange.
    """

    def __init__(
        self, kind: SelfSupervised, encoder: Encoder, loss: Loss, *, with_main: bool
    ) -> None:
        super().__init__()
        self.stat_ex = StatEx() if "statex" in kind else None
        self.feat_ex: FeatEx | None = None
        if "featex" in kind:
            if not isinstance(encoder, TwoBranchNet):
                raise UsageError(
                    f"--anomaly.self_supervised {kind} exchanges the branches of an encoder, and "
                    f"{type(encoder).__name__} has none: take TwoBranchNet, or statex"
                )
            self.feat_ex = FeatEx(encoder.branch_dims)
        self.loss = loss
        self.with_main = with_main

    def forward(
        self,
        encoder: Encoder,
        features: Tensor,
        frames: Tensor,
        targets: Tensor,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Embed a batch, exchange, and give the loss.

        Args:
            encoder: The network.
            features: (B, F, T) features.
            frames: (B,) valid frames.
            targets: (B, C) one-hot or soft auxiliary classes.
            generator: The only source of randomness.

        Returns:
            Embeddings (B, D) before branches were exchanged, and the loss.
        """
        if self.stat_ex is None:
            embeddings: Tensor = encoder(features, frames)
        else:
            embeddings, targets = self._exchange_statistics(
                self.stat_ex, encoder, features, frames, targets, generator
            )
        changed = embeddings
        if self.feat_ex is not None:
            changed, partners, exchanged = self.feat_ex(embeddings, generator)
            targets = exchanged_classes(targets, partners, exchanged)
        return embeddings, global_loss(self.loss, changed, targets)

    def _exchange_statistics(
        self,
        stat_ex: StatEx,
        encoder: Encoder,
        features: Tensor,
        frames: Tensor,
        targets: Tensor,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        if isinstance(encoder, TwoBranchNet):
            spectra, magnitudes = encoder.views(features, frames)
            magnitudes, partners, exchanged = stat_ex(magnitudes, generator)
            embeddings = encoder.combine((spectra, magnitudes))
        else:
            features, partners, exchanged = stat_ex(features, generator)
            # What was exchanged is as long as the longer of the two; the rest is made anyway.
            embeddings = encoder(features, torch.maximum(frames, frames[partners]))
        return embeddings, exchanged_classes(targets, partners, exchanged)
