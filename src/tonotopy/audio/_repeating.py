"""Clips repeated from their true ends."""

from __future__ import annotations

import torch
from torch import Tensor


def repeat_clips(x: Tensor, lengths: Tensor, size: int) -> Tensor:
    """Give every clip `size` samples: a longer one is cropped, a shorter one starts over.

    Args:
        x: (B, ..., T), padded at the end; the padding is never read.
        lengths: (B,) valid samples, at least one.
        size: Samples of the result.

    Returns:
        (B, ..., size).
    """
    lengths = lengths.to(x.device).view(-1, *[1] * (x.ndim - 1))
    positions = torch.arange(size, device=x.device) % lengths
    return x.gather(-1, positions.expand(*x.shape[:-1], size))
