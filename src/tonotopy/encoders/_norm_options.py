"""Batch normalisations that are alike throughout a network."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class NormOptions:
    """How all batch normalisations of a network are made.

    Args:
        affine: Whether each has a trainable scale and shift.
        momentum: Share of the newest batch in the running statistics, 0..1.
        eps: Added to the variance.
    """

    affine: bool
    momentum: float
    eps: float

    def vectors(self, size: int) -> nn.BatchNorm1d:
        """Make one for vectors (B, size) or sequences (B, size, T)."""
        return nn.BatchNorm1d(size, affine=self.affine, momentum=self.momentum, eps=self.eps)

    def images(self, channels: int) -> nn.BatchNorm2d:
        """Make one for images (B, channels, F, T)."""
        return nn.BatchNorm2d(channels, affine=self.affine, momentum=self.momentum, eps=self.eps)
