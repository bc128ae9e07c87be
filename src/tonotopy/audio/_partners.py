"""Whom each clip of a batch is mixed with."""

from __future__ import annotations

import torch
from torch import Tensor


def random_partners(count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Draw a permutation that leaves no clip where it is: a random cycle through all of them.

    Args:
        count: Clips, at least two.
        generator: The only source of randomness, on `device`.
        device: Where the permutation is needed.

    Returns:
        (count,) index of each clip's partner; every other clip is as probable.
    """
    order = torch.randperm(count, generator=generator, device=device)
    partners = torch.empty_like(order)
    partners[order] = order.roll(1)
    return partners
