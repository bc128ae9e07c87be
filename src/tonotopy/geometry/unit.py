"""Unit vectors and the cosines of their pairs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def unit_vectors(x: Tensor, eps: float = 1e-6) -> Tensor:
    """Scale every vector to length one; vectors shorter than `eps` stay short.

    A zero vector stays zero, so its cosine with anything is 0, and its gradient is finite (at most
    1/eps times the incoming one).

    Args:
        x: (..., D) floats.
        eps: Floor of the length. Default 1e-6.

    Returns:
        (..., D): x / max(||x||, eps).

    Examples:
        >>> unit_vectors(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / length.clamp_min(eps)


def pairwise_cosine(u: Tensor, v: Tensor | None = None) -> Tensor:
    """Give the cosine of every pair of unit vectors.

    Nothing is clamped: rounding may leave [-1, 1] by a few units in the last place, and the
    gradient is that of the plain product.

    Args:
        u: (N, D) unit vectors.
        v: (M, D) unit vectors. Default: `u`.

    Returns:
        (N, M) cosines.
    """
    return u @ (u if v is None else v).mT


def cosine_blocks(
    u: Tensor, v: Tensor | None = None, rows: int = 1024
) -> Iterator[tuple[slice, Tensor]]:
    """Give the cosines of all pairs a block of rows at a time, in O(rows · M) memory.

    Args:
        u: (N, D) unit vectors.
        v: (M, D) unit vectors. Default: `u`.
        rows: Rows of `u` in a block; the last block may have fewer.

    Yields:
        The slice of rows, and their (rows, M) cosines.

    Examples:
        >>> [(block.start, block.stop) for block, _ in cosine_blocks(torch.eye(5), rows=2)]
        [(0, 2), (2, 4), (4, 5)]
    """
    for start in range(0, len(u), rows):
        block = slice(start, min(start + rows, len(u)))
        yield block, pairwise_cosine(u[block], u if v is None else v)
