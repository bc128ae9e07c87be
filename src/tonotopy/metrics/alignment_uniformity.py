"""How near two views of a clip are, and how evenly all clips spread over the sphere.

Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity
on the Hypersphere", ICML 2020.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.metrics._validation import checked_units

TILE_PAIRS = 2**22
"""Pairs in a block: 32 MiB in float64."""


@torch.no_grad()
def uniformity(embeddings: Tensor, t: float = 2.0) -> float:
    """Give the uniformity: the log of the mean Gaussian potential of all pairs, low is even.

    Formula: log( 2 / (N (N - 1)) · sum_{i<j} exp(-t ||u_i - u_j||²) ), u the unit vectors. Every
    pair is visited once, in O(N D) memory. Directions drawn evenly from a sphere of many
    dimensions give about -2t, the lowest that many clips can reach; all in one place give 0.
    Papers that print a large number as good print the negative of it.

    Args:
        embeddings: (N, D) floats, not necessarily normalised. A zero vector stays zero: it lies at
            distance 1 from every unit vector and at 0 from another zero vector.
        t: Steepness, above 0. Default 2.

    Returns:
        -4t to 0; NaN for fewer than two embeddings.

    Raises:
        UsageError: `embeddings` is not a matrix, or `t` is not above 0.
        DataError: An embedding is not finite.

    Examples:
        >>> uniformity(torch.eye(4))  # all squared distances are 2
        -4.0
    """
    if not 0.0 < t < math.inf:
        raise UsageError(f"t must be above 0, got {t}")
    units = checked_units(embeddings)
    squares = units.square().sum(dim=1)
    parts: list[Tensor] = []
    start = 0
    while start < len(units) - 1:
        rows = max(1, TILE_PAIRS // (len(units) - start))
        block, rest = slice(start, start + rows), slice(start, None)
        square = squares[block, None] + squares[None, rest] - 2.0 * (units[block] @ units[rest].mT)
        potential = square.clamp_min_(0.0).mul_(-t)
        # Row r of the block is column r of the rest: what lies above the diagonal is new.
        earlier = torch.ones_like(potential, dtype=torch.bool).tril_()
        parts.append(potential.masked_fill_(earlier, -torch.inf).flatten().logsumexp(dim=0))
        start += rows
    if not parts:
        return math.nan
    pairs = len(units) * (len(units) - 1) / 2
    # Rounding may leave the mean of ones a little above 1.
    return min(torch.stack(parts).logsumexp(dim=0).item() - math.log(pairs), 0.0)


@torch.no_grad()
def alignment(a: Tensor, b: Tensor, alpha: float = 2.0) -> float:
    """Give the alignment: the mean power of the distance of two views of a clip, 0 is best.

    Formula: mean_i ||u_i - v_i||^alpha, u and v the unit vectors.

    Args:
        a: (N, D) embeddings of one view of each clip, not necessarily normalised.
        b: (N, D) embeddings of another view of the same clips, in the same order.
        alpha: Power, above 0. Default 2.

    Returns:
        0 to 2^alpha; NaN where there are no clips.

    Raises:
        UsageError: The views are not two matrices of one shape, or `alpha` is not above 0.
        DataError: An embedding is not finite.

    Examples:
        >>> alignment(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 5.0]]))
        2.0
    """
    if not 0.0 < alpha < math.inf:
        raise UsageError(f"alpha must be above 0, got {alpha}")
    if a.shape != b.shape:
        raise UsageError(
            f"expected two views of the same shape, got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    square = (checked_units(a) - checked_units(b)).square().sum(dim=1)
    return (square ** (alpha / 2.0)).mean().item()
