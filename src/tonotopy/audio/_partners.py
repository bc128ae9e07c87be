"""Whom each clip of a batch is mixed with."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy.audio.keyed_generator import KeyedGenerator


def random_partners(
    count: int, generator: torch.Generator | KeyedGenerator, device: torch.device
) -> Tensor:
    """Draw a permutation that leaves no clip where it is: a random cycle through all of them.

    Args:
        count: Clips, at least two.
        generator: The only source of randomness, on `device`; a `KeyedGenerator` gives each view of
            a clip another partner.
        device: Where the permutation is needed.

    Returns:
        (count,) index of each clip's partner; every other clip is as probable.
    """
    if isinstance(generator, KeyedGenerator):
        return generator.partners()
    order = torch.randperm(count, generator=generator, device=device)
    partners = torch.empty_like(order)
    partners[order] = order.roll(1)
    return partners
