"""Scores of masked clips, batch by batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tonotopy._errors import UsageError

Score = Callable[[Tensor], Tensor]
"""Anomaly scores (B,) of masked magnitudes or features (B, F, T); higher is more anomalous."""


@torch.no_grad()
def score_batch(score: Score, masked: Tensor) -> Tensor:
    """Score one batch and check what comes back.

    Args:
        score: See `Score`.
        masked: (B, F, T).

    Returns:
        (B,) float64, on the CPU.

    Raises:
        UsageError: The callable gives another shape, or NaN or infinity.
    """
    scores = score(masked).detach().double().cpu()
    if scores.shape != masked.shape[:1]:
        raise UsageError(
            f"a score function must give one number a clip, shape ({len(masked)},); "
            f"got {tuple(scores.shape)}"
        )
    if not scores.isfinite().all():
        raise UsageError(
            "the score function gave NaN or infinity for a masked clip: check it on a silent clip, "
            "or choose another fill"
        )
    return scores


def score_one(score: Score, values: Tensor) -> float:
    """Score one clip's magnitudes or features (F, T)."""
    return float(score_batch(score, values[None])[0])
