"""The learning rate over a run."""

from __future__ import annotations

import math
from collections.abc import Sequence

STEP_FACTOR = 0.1
"""Of every step down."""


def warmup_cosine(step: int, warmup: int, total: int) -> float:
    """Give the factor on the peak learning rate: a linear warm-up, then a cosine decay to zero.

    Args:
        step: Steps taken so far.
        warmup: Steps of the warm-up.
        total: All steps of the run.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, total - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def steps_down(step: int, ends: Sequence[int]) -> float:
    """Give the factor on the peak learning rate: a tenth of it after every end.

    Args:
        step: Steps taken so far.
        ends: Steps after which the rate falls, in any order.
    """
    return STEP_FACTOR ** sum(step >= end for end in ends)
