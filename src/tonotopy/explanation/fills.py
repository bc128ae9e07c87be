"""What stands in a spectrogram where a mask hides it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from tonotopy._errors import UsageError

Fill = Literal["zero", "mean", "floor"]
"""Nothing, each bin's mean over the clip, or the noise floor of normal clips."""


def fill_values(values: Tensor, fill: Fill, *, floor: Tensor | None = None) -> Tensor:
    """Make the picture that is seen where `values` are hidden.

    `"mean"` stays closest to what a model knows, but a sound that lasts the whole clip is replaced
    by itself, so no map can point at it; `"floor"` hides such sounds too. `"zero"` digs holes that
    no recording has.

    Args:
        values: Magnitudes or features of the clip, (F, T).
        fill: One of `"zero"`, `"mean"`, `"floor"`.
        floor: Noise floor of normal clips, (F,), see `noise_floor`; for `"floor"` only.

    Returns:
        (F, 1), constant over time.

    Raises:
        UsageError: There is no such fill, or `floor` is missing or of another height.
    """
    if fill == "zero":
        return torch.zeros_like(values[:, :1])
    if fill == "mean":
        return values.mean(dim=1, keepdim=True)
    if fill != "floor":
        raise UsageError(f"fill must be 'zero', 'mean' or 'floor', got {fill!r}")
    if floor is None or floor.shape != values.shape[:1]:
        found = "none" if floor is None else f"shape {tuple(floor.shape)}"
        raise UsageError(
            f"fill 'floor' needs the noise floor of normal clips, one value for each of the "
            f"{len(values)} bins; got {found}: compute it with noise_floor(...)"
        )
    return floor[:, None].to(values)


def noise_floor(normals: Iterable[Tensor], *, quantile: float = 0.1) -> Tensor:
    """Estimate the noise floor of normal clips: a low quantile over time, its median over clips.

    Args:
        normals: Magnitudes or features of normal clips, (F, T) each, T may differ.
        quantile: Quantile over the frames of a clip, in [0, 1].

    Returns:
        (F,).

    Raises:
        UsageError: There is no clip.
    """
    floors = [torch.quantile(clip, quantile, dim=1) for clip in normals]
    if not floors:
        raise UsageError("a noise floor needs at least one normal clip, got none")
    return torch.stack(floors).median(dim=0).values


def apply_masks(values: Tensor, masks: Tensor, hidden: Tensor) -> Tensor:
    """Blend a clip with its fill: `hidden + mask (values - hidden)`.

    Args:
        values: (F, T).
        masks: (B, F, T) in [0, 1]; 1 keeps, 0 hides.
        hidden: What is seen where the mask is 0; (F, 1) or (F, T).

    Returns:
        (B, F, T).
    """
    return torch.addcmul(hidden.expand_as(values), masks, (values - hidden)[None])
