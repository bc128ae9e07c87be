"""Synthetic references for domains that have few: points between neighbours (SMOTE)."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy.detection._cosine_distances import distances_to_others
from tonotopy.geometry import unit_vectors

NEIGHBOURS = 2
"""Neighbours that a synthetic point may lie towards."""


def synthetic_vectors(units: Tensor, domains: list[str], share: float) -> Tensor:
    """Make what each domain lacks to have `share` of the rows of the largest one.

    Formula: unit(x + t (y - x)); x goes through the rows of the domain, y is one of its 2 nearest
    neighbours in the domain, t uniform in [0, 1) (Chawla et al. 2002). A domain of one row has no
    neighbours and gets nothing.

    Args:
        units: (N, D) unit vectors in the canonical order.
        domains: Their domains.
        share: Of the largest domain, 0 to 1.

    Returns:
        (S, D) unit vectors, always the same for the same input.
    """
    sizes = {name: domains.count(name) for name in sorted(set(domains))}
    wanted = int(share * max(sizes.values()))
    made = [
        _between(units[[row for row, own in enumerate(domains) if own == name]], wanted - size)
        for name, size in sizes.items()
        if 1 < size < wanted
    ]
    return torch.cat(made) if made else units[:0]


def _between(rows: Tensor, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    near = min(NEIGHBOURS, len(rows) - 1)
    neighbours = torch.cat(
        [distances.topk(near, largest=False).indices for _, distances in distances_to_others(rows)]
    )
    start = torch.arange(count) % len(rows)
    end = neighbours[start, torch.randint(near, (count,), generator=generator)]
    along = torch.rand(count, 1, generator=generator, dtype=rows.dtype)
    return unit_vectors(rows[start] + along * (rows[end] - rows[start]))
