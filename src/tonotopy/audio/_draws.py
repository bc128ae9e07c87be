"""Random numbers for a batch, from either kind of generator."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.audio.keyed_generator import KeyedGenerator

RandomSource = torch.Generator | KeyedGenerator


def uniform(x: Tensor, generator: RandomSource, *draws: int, shared: bool = False) -> Tensor:
    """Draw from [0, 1) for each clip of a batch.

    Args:
        x: (B, ...), which says how many clips there are and where.
        generator: The only source of randomness, on the device of `x`.
        *draws: Numbers for each clip; one when left out.
        shared: Draw the same for all views of a clip, where the generator knows of views.

    Returns:
        (*draws, B) float32.
    """
    if isinstance(generator, torch.Generator):
        return torch.rand(*draws, len(x), generator=generator, device=x.device)
    _check_size(x, generator)
    return generator.uniform(*draws, shared=shared).movedim(0, -1)


def normal_like(x: Tensor, generator: RandomSource) -> Tensor:
    """Draw a standard normal number for each of a batch (B, ...)."""
    if isinstance(generator, torch.Generator):
        return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    _check_size(x, generator)
    return generator.normal(*x.shape[1:]).to(x.dtype)


def _check_size(x: Tensor, generator: KeyedGenerator) -> None:
    if len(x) != len(generator):
        raise UsageError(
            f"the generator was made for {len(generator)} clips and there are {len(x)}: "
            "make it from the clips of the batch, in their order"
        )
