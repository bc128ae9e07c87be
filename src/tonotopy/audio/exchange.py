"""Sounds that are made from two clips: the pattern of one with the statistics of the other."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.audio._partners import random_partners

_EPS = 1e-16
_DIMS = {"frequency": -2, "time": -1}


def exchange_statistics(spectrograms: Tensor, others: Tensor, dim: int) -> Tensor:
    """Give each spectrogram the mean and deviation of another one along an axis.

    x' = (x - mean(x)) / (std(x) + 1e-16) · std(y) + mean(y), with the deviation of the population.

    Args:
        spectrograms: x, (..., F, T).
        others: y, (..., F, T), whose statistics are taken.
        dim: The axis of mean and deviation: -2 has them over frequency for every frame, -1 over
            time for every bin.

    Returns:
        (..., F, T). Where x is constant along the axis, it becomes the mean of y.
    """
    deviation, mean = torch.std_mean(spectrograms, dim=dim, correction=0, keepdim=True)
    other_deviation, other_mean = torch.std_mean(others, dim=dim, correction=0, keepdim=True)
    return (spectrograms - mean) / (deviation + _EPS) * other_deviation + other_mean


class StatEx(nn.Module):
    """Exchange statistics between some clips of a batch (statistics exchange).

    What comes out is neither of the two sounds, so it is a class of its own to tell apart; see
    `tonotopy.training.exchanged_classes` for the labels.

    Source: Wilkinghoff, "Self-Supervised Learning for Anomalous Sound Detection", ICASSP 2024.

    Args:
        probability: Share of the clips that are changed, 0..1.
        axis: What mean and deviation are taken over: `"frequency"` for every frame, which is the
            published choice, or `"time"` for every bin.

    Raises:
        UsageError: An option is out of range.
    """

    def __init__(
        self, probability: float = 0.5, axis: Literal["frequency", "time"] = "frequency"
    ) -> None:
        super().__init__()
        if not 0 <= probability <= 1:
            raise UsageError(f"StatEx: expected a probability from 0 to 1, got {probability:g}")
        if axis not in _DIMS:
            raise UsageError(f"StatEx: axis must be 'frequency' or 'time', got {axis!r}")
        self.probability = probability
        self.axis = axis

    def forward(
        self, spectrograms: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Change a batch; nothing happens in `eval()` or to a single clip.

        Args:
            spectrograms: (B, F, T), all of one length.
            generator: The only source of randomness, on the device of `spectrograms`.

        Returns:
            The spectrograms (B, F, T), each clip's partner (B,) and whether the two exchanged (B,).
        """
        probability = self.probability if self.training else 0.0
        partners, exchanged = draw_exchanges(spectrograms, probability, generator)
        changed = exchange_statistics(spectrograms, spectrograms[partners], _DIMS[self.axis])
        return changed.where(exchanged[:, None, None], spectrograms), partners, exchanged


def draw_exchanges(
    x: Tensor, probability: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw whom each clip of a batch exchanges something with, and whether it does.

    Args:
        x: (B, ...), which says how many clips there are and where.
        probability: Share of the clips that exchange something, 0..1.
        generator: The only source of randomness, on the device of `x`.

    Returns:
        Partners (B,), never the clip itself, and a mark (B,) for those that exchange. Nobody does
        in a batch of fewer than two clips, where each is its own partner.
    """
    if len(x) < 2:
        alone = torch.arange(len(x), device=x.device)
        return alone, torch.zeros_like(alone, dtype=torch.bool)
    partners = random_partners(len(x), generator, x.device)
    return partners, torch.rand(len(x), generator=generator, device=x.device) < probability
