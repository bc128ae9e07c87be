"""Cosine distances of unit vectors on a scale from 0 to 1, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 2**22
"""Numbers in a block of distances: 32 MiB in float64."""


def row_blocks(x: Tensor, columns: int) -> Iterator[Tensor]:
    """Give the rows of x (M, D) so many at a time that `columns` numbers each make a block."""
    size = _rows_at_once(columns)
    for start in range(0, len(x), size):
        yield x[start : start + size]


def cosine_distances(u: Tensor, v: Tensor) -> Tensor:
    """Give d = (1 - <u, v>) / 2 of every pair.

    Args:
        u: (M, D), of length one or shorter.
        v: (N, D), of length one or shorter.

    Returns:
        (M, N), at least 0: rounding does not make the distance of equal vectors negative.
    """
    return (1.0 - u @ v.mT).mul_(0.5).clamp_min_(0.0)


def distances_to_others(u: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Give the distances of each vector to all others, a block of rows at a time.

    Args:
        u: (N, D), of length one or shorter.

    Yields:
        The slice of rows, and their (rows, N) distances; the distance of a vector to itself is
        infinite, so that it is nobody's neighbour.
    """
    size = _rows_at_once(len(u))
    for start in range(0, len(u), size):
        block = slice(start, min(start + size, len(u)))
        distances = cosine_distances(u[block], u)
        numbers = torch.arange(block.stop - start)
        distances[numbers, numbers + start] = torch.inf
        yield block, distances


def _rows_at_once(columns: int) -> int:
    return max(1, BLOCK // columns)
