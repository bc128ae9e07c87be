"""Sums over masks and scores from which the maps of RISE follow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MASKS_AT_ONCE = 16
"""Masks that are held in double precision at a time."""


@dataclass(frozen=True)
class MapSums:
    """Sums over N masks M_n and scores f_n, in double precision.

    Scores enter as f_n - `shift`: a score that is large beside its own variation would otherwise
    lose its covariance to rounding.

    Attributes:
        shift: Constant taken off each score, best the score of the whole clip.
        count: N.
        scores: sum_n (f_n - shift).
        masks: sum_n M_n, (F, T).
        squares: sum_n M_n^2, (F, T).
        products: sum_n (f_n - shift) M_n, (F, T).
    """

    shift: float
    count: int
    scores: float
    masks: Tensor
    squares: Tensor
    products: Tensor

    @classmethod
    def empty(cls, shape: tuple[int, int], *, shift: float = 0.0) -> MapSums:
        """Make the sums of no masks."""
        zeros = torch.zeros(shape, dtype=torch.float64)
        return cls(shift, 0, 0.0, zeros, zeros, zeros)

    def with_masks(self, masks: Tensor, scores: Tensor) -> MapSums:
        """Add masks (B, F, T) and their scores (B,)."""
        shifted = scores.double().to(masks.device) - self.shift
        shape = self.masks.shape
        sums = torch.zeros(3, shape.numel(), dtype=torch.float64, device=masks.device)
        parts = (torch.split(each, MASKS_AT_ONCE) for each in (masks, shifted))
        for part, values in zip(*parts, strict=True):
            flat = part.double().flatten(1)
            sums[:2] += torch.stack([torch.ones_like(values), values]) @ flat
            sums[2] += flat.square().sum(dim=0)
        ones, products, squares = sums.cpu().reshape(3, *shape)
        return MapSums(
            self.shift,
            self.count + len(masks),
            self.scores + float(shifted.sum()),
            self.masks + ones,
            self.squares + squares,
            self.products + products,
        )

    def __add__(self, other: MapSums) -> MapSums:
        if self.shift != other.shift:
            raise ValueError("sums with different shifts cannot be added")
        return MapSums(
            self.shift,
            self.count + other.count,
            self.scores + other.scores,
            self.masks + other.masks,
            self.squares + other.squares,
            self.products + other.products,
        )

    def raw(self, keep: float) -> Tensor:
        """Give RISE's map, (1 / (N p)) sum_n f_n M_n; (F, T).

        It estimates the mean score given that a place is kept, and so holds the score that any
        masked clip has.
        """
        return (self.products + self.shift * self.masks) / (self.count * keep)

    def self_normalised(self) -> Tensor:
        """Give sum_n f_n M_n / sum_n M_n; (F, T), 0 where no mask kept anything."""
        seen = self.masks > 0
        return (self.products / self.masks.where(seen, 1.0) + self.shift).where(seen, 0.0)

    def covariance(self) -> Tensor:
        """Give the covariance of score and mask (divisor N); (F, T)."""
        return self.products / self.count - (self.scores / self.count) * self.masks / self.count

    def centred(self) -> Tensor:
        """Give cov(f, M) / var(M), (F, T): by how much the score rises when a place is kept.

        0 where all masks are equal.
        """
        mean = self.masks / self.count
        variance = self.squares / self.count - mean.square()
        varied = variance > 1e-12
        return (self.covariance() / variance.where(varied, 1.0)).where(varied, 0.0)
