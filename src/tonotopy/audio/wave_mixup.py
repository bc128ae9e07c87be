"""Mixup of whole clips with a uniform share, as it is used for machine sounds."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.audio._partners import random_partners
from tonotopy.audio._repeating import repeat_clips

LabelRule = Literal["sum", "max"]


class WaveMixup(nn.Module):
    """Mix some clips of a batch with another clip, and their labels in the same proportion.

    x' = λ x + (1 - λ) x_partner with λ ~ U(0, 1) for each clip, so a clip need not keep the larger
    share. The partner is never the clip itself; a batch of one clip stays as it is.

    A mixture is as long as the longer of its two clips: the shorter one is repeated, without its
    padding, as `Waveform` would do. So mixing waveforms and mixing the features of `Waveform` are
    the same wherever the longer clip fills them.

    Source: the training of Wilkinghoff and Kurth, 2024, after Zhang et al., "mixup: Beyond
    Empirical Risk Minimization", 2018.

    Args:
        probability: Share of the clips that are mixed, 0..1.
        label_rule: `"sum"` gives q' = λ q + (1 - λ) q_partner, which sums to one; `"max"` takes the
            larger of the two terms for each class, so that a mixture of two clips of one class sums
            to max(λ, 1 - λ) and counts less.

    Raises:
        UsageError: An option is out of range.
    """

    def __init__(self, probability: float = 0.5, label_rule: LabelRule = "sum") -> None:
        super().__init__()
        if not 0 <= probability <= 1:
            raise UsageError(f"WaveMixup: expected a probability from 0 to 1, got {probability:g}")
        if label_rule not in ("sum", "max"):
            raise UsageError(f"WaveMixup: label_rule must be 'sum' or 'max', got {label_rule!r}")
        self.probability = probability
        self.label_rule = label_rule

    def forward(
        self, x: Tensor, lengths: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mix a batch; nothing happens in `eval()`.

        Args:
            x: (B, ..., T) waveforms or features, padded at the end.
            lengths: (B,) valid samples or frames.
            targets: (B, C) one-hot or soft labels.
            generator: The only source of randomness, on the device of `x`.

        Returns:
            `x` (B, ..., T), lengths (B,) and targets (B, C). What lies beyond the end of a mixture
            is zero; a clip that is not mixed is returned as it was.
        """
        if not self.training or len(x) < 2:
            return x, lengths, targets
        partners = random_partners(len(x), generator, x.device)
        draws = torch.rand(2, len(x), generator=generator, device=x.device)
        mixed, share = draws[0] < self.probability, draws[1]
        longest = torch.maximum(lengths, lengths[partners])
        repeated = repeat_clips(x, lengths, x.shape[-1])
        mixture = _mix(repeated, repeated[partners], share)
        mixture = mixture.where(_valid(longest, x), 0.0)
        labels = self._mix_labels(targets, targets[partners], share)
        return (
            mixture.where(_rows(mixed, x), x),
            longest.where(mixed, lengths),
            labels.where(_rows(mixed, targets), targets),
        )

    def _mix_labels(self, targets: Tensor, others: Tensor, share: Tensor) -> Tensor:
        if self.label_rule == "sum":
            return _mix(targets, others, share)
        share = _rows(share, targets).to(targets.dtype)
        return torch.maximum(share * targets, (1.0 - share) * others)


def _mix(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    share = _rows(share, a).to(a.dtype)
    return share * a + (1.0 - share) * b


def _rows(values: Tensor, like: Tensor) -> Tensor:
    """Shape one value a clip (B,) for a product with `like` (B, ...)."""
    return values.view(-1, *[1] * (like.ndim - 1))


def _valid(lengths: Tensor, x: Tensor) -> Tensor:
    return torch.arange(x.shape[-1], device=x.device) < _rows(lengths, x)
