"""Which samples or frames of a padded batch belong to clips."""

from __future__ import annotations

import torch
from torch import Tensor


def valid_positions(x: Tensor, lengths: Tensor) -> Tensor:
    """Mark what lies before each clip's end.

    Args:
        x: Waveforms (B, T) or features (B, bins, T).
        lengths: (B,) valid samples or frames, on the device of `x`.

    Returns:
        (B, T) or (B, 1, T) bool.
    """
    mask = torch.arange(x.shape[-1], device=x.device) < lengths[:, None]
    return mask if x.ndim == 2 else mask[:, None, :]
