"""One score from the scores of several models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from tonotopy._errors import UsageError

Fusion = Literal["sum", "min", "max"]


def fuse_scores(
    scores: Sequence[Tensor],
    normal_scores: Sequence[Tensor] | None = None,
    *,
    how: Fusion = "sum",
) -> Tensor:
    """Combine the anomaly scores that several models give to the same clips.

    Formula: with normal scores n_j of model j, the sum, minimum or maximum over j of
    (s_j - mean n_j) / sd n_j, so that models whose scores have another range count alike; without,
    that of the scores s_j themselves, as the published systems do: their models differ in the seed
    only. A model whose normal scores are all equal is centred and not scaled.

    Args:
        scores: One tensor (M,) a model.
        normal_scores: The `leave_one_out` scores of each model, (N_j,). Default none.
        how: `"sum"`, `"min"` (anomalous only if all say so) or `"max"`. Default sum.

    Returns:
        (M,) float64.

    Raises:
        UsageError: There is no model, shapes do not fit, or `how` is not one of these.

    Examples:
        >>> fuse_scores([torch.tensor([0.25, 0.5]), torch.tensor([1.0, 0.5])])
        tensor([1.2500, 1.0000], dtype=torch.float64)
    """
    if how not in get_args(Fusion):
        raise UsageError(f"scores are fused by one of {get_args(Fusion)}, got {how!r}")
    if not scores or any(one.ndim != 1 or one.shape != scores[0].shape for one in scores):
        shapes = ", ".join(str(tuple(one.shape)) for one in scores) or "none"
        raise UsageError(f"expected one tensor (M,) of scores for each model, got {shapes}")
    rows = [one.detach().cpu().double() for one in scores]
    if normal_scores is not None:
        if len(normal_scores) != len(rows):
            raise UsageError(f"got normal scores of {len(normal_scores)} models for {len(rows)}")
        rows = [_standardised(*pair) for pair in zip(rows, normal_scores, strict=True)]
    table = torch.stack(rows)
    if how == "sum":
        return table.sum(dim=0)
    return table.amin(dim=0) if how == "min" else table.amax(dim=0)


def _standardised(scores: Tensor, normal: Tensor) -> Tensor:
    if normal.ndim != 1 or not len(normal):
        raise UsageError(f"expected normal scores (N,), got shape {tuple(normal.shape)}")
    normal = normal.detach().cpu().double()
    deviation = normal.std(correction=0)
    if normal.amax() == normal.amin():  # the deviation may be rounding noise
        deviation = torch.ones_like(deviation)
    return (scores - normal.mean()) / deviation
