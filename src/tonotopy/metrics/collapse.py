"""Whether embeddings still use their dimensions: two numbers to watch while training."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.metrics._validation import check_finite, checked_units


def effective_rank(embeddings: Tensor) -> float:
    """Give the number of dimensions that unit vectors of the embeddings fill.

    Formula: exp(-sum_k p_k log p_k), p_k = s_k / sum s, s the singular values of the matrix of
    unit vectors, which is not centred: 1 when all point one way, up to min(N, D) when they spread
    evenly. Roy and Vetterli, "The effective rank", EUSIPCO 2007. Takes O(min(N, D) N D) time.

    Args:
        embeddings: (N, D) floats.

    Returns:
        1 to min(N, D); 0 when all embeddings are zero; NaN when there are none.

    Raises:
        UsageError: `embeddings` is not a matrix.
        DataError: An embedding is not finite.

    Examples:
        >>> round(effective_rank(torch.eye(3)), 6)
        3.0
    """
    units = checked_units(embeddings)
    if not len(units):
        return math.nan
    gram = units.mT @ units if len(units) > units.shape[1] else units @ units.mT
    squares = torch.linalg.eigvalsh(gram)
    # Rounding leaves eigenvalues of this size where the true ones are 0.
    noise = squares[-1] * len(squares) * torch.finfo(squares.dtype).eps
    singular = squares[squares > noise].sqrt()
    if not len(singular):
        return 0.0
    p = singular / singular.sum()
    return math.exp(-(p * p.log()).sum().item())


def mean_pairwise_cosine(embeddings: Tensor) -> float:
    """Give the mean cosine of all pairs of different embeddings, in O(N D) time.

    Formula: (||sum_i u_i||² - sum_i ||u_i||²) / (N (N - 1)). 1 is total collapse, 0 is what
    independent directions give.

    Args:
        embeddings: (N, D) floats. A zero vector has cosine 0 with everything.

    Returns:
        -1/(N - 1) to 1; NaN for fewer than two embeddings.

    Raises:
        UsageError: `embeddings` is not a matrix.
        DataError: An embedding is not finite.

    Examples:
        >>> mean_pairwise_cosine(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 3.0]]))
        0.3333333333333333
    """
    units = checked_units(embeddings)
    n = len(units)
    if n < 2:
        return math.nan
    total = units.sum(dim=0).square().sum() - units.square().sum()
    return total.item() / (n * (n - 1))


def relative_spread(embeddings: Tensor) -> float:
    """Give how far embeddings lie from their mean, as a share of their length.

    Formula: sqrt( sum_i ||z_i - m||² / sum_i ||z_i||² ), m their mean: 0 when all are one point,
    1 when they cancel out. Unlike the mean cosine it sees a collapse that is not to one direction
    but to one vector of any length, and none where only lengths differ.

    Args:
        embeddings: (N, D) floats.

    Returns:
        0 to 1; 0 when all are zero; NaN when there are none.

    Raises:
        UsageError: `embeddings` is not a matrix.
        DataError: An embedding is not finite.

    Examples:
        >>> relative_spread(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        1.0
    """
    if embeddings.ndim != 2:
        raise UsageError(f"expected embeddings (N, D), got {tuple(embeddings.shape)}")
    values = embeddings.detach().cpu().double()
    check_finite(values)
    if not len(values):
        return math.nan
    total = values.square().sum().item()
    apart = (values - values.mean(dim=0)).square().sum().item()
    return math.sqrt(apart / total) if total > 0 else 0.0
