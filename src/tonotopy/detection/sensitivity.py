"""What a turned gain or a slightly faster machine does to the scores of normal clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import polars as pl
import soxr
import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.audio import fit_length

GAINS_DB = (6.0, -6.0)
"""Another microphone preset, or twice the distance."""

SPEEDS = (1.01, 0.99)
"""A clock that is wrong by 1 %, or a machine at 1 % more or less of its speed."""

RATE_STEPS = 10_000
"""Speeds are multiples of 1 / RATE_STEPS."""

Scores = Callable[[Sequence[Tensor]], Tensor]
"""Waveforms (T,) to scores (N,), higher for more anomalous."""


def sensitivity(
    waveforms: Sequence[Tensor],
    scores: Scores,
    threshold: float,
    *,
    gains_db: Sequence[float] = GAINS_DB,
    speeds: Sequence[float] = SPEEDS,
) -> pl.DataFrame:
    """Score normal clips as they are, louder, softer, faster and slower.

    A robust detector hardly changes its scores; what it rejects when only the gain was turned are
    false alarms to come. All versions of a clip have its length: slower ones are cut, and what is
    missing of faster ones is repeated from their beginning.

    Args:
        waveforms: Normal clips (T,) at the model's rate.
        scores: The detector.
        threshold: An anomaly's score is above.
        gains_db: Changes of gain, in decibels. Nothing is clipped that becomes too loud; column
            `overdriven` says how many clips a converter would have clipped.
        speeds: Changes of speed as factors, with the pitch, as that of a tape.

    Returns:
        A row for each change, the first for none: `change`; `clips`; `median_score`;
        `median_shift`, of a clip's score from that of the unchanged clip; `rejected`, the share
        above the threshold; `newly_rejected`, the share that is rejected only because of the
        change; `overdriven`, the share with a sample beyond full scale.

    Raises:
        UsageError: There are no clips, a speed is not positive or a clip is too short.
    """
    if not waveforms:
        raise UsageError("sensitivity needs at least one normal clip")
    if any(speed <= 0 for speed in speeds):
        raise UsageError(f"speeds must be positive, got {list(speeds)}")
    if min(len(wave) for wave in waveforms) < 2:
        raise UsageError("sensitivity needs clips of more than one sample")
    changes: dict[str, Callable[[Tensor], Tensor]] = {
        "none": lambda wave: wave,
        **{f"{gain:+g} dB": partial(_louder, decibels=gain) for gain in gains_db},
        **{f"{100 * (speed - 1):+g} % speed": partial(_faster, speed=speed) for speed in speeds},
    }

    plain: Tensor | None = None
    rows = []
    for name, change in changes.items():
        changed = [_as_long(change(wave), len(wave)) for wave in waveforms]
        found = scores(changed).detach().double().cpu()
        plain = found if plain is None else plain
        rejected = found > threshold
        rows.append(
            {
                "change": name,
                "clips": len(changed),
                "median_score": float(np.median(found)),
                "median_shift": float(np.median(found - plain)),
                "rejected": float(rejected.double().mean()),
                "newly_rejected": float((rejected & ~(plain > threshold)).double().mean()),
                "overdriven": sum(bool(wave.abs().max() > 1) for wave in changed) / len(changed),
            }
        )
    return pl.DataFrame(rows)


def _as_long(wave: Tensor, length: int) -> Tensor:
    return torch.from_numpy(fit_length(wave.float().cpu().numpy(), length, "tile"))


def _louder(wave: Tensor, decibels: float) -> Tensor:
    return wave * 10 ** (decibels / 20)


def _faster(wave: Tensor, speed: float) -> Tensor:
    """Play (T,) at `speed` times its speed; slower ones get longer."""
    rates = round(speed * RATE_STEPS), RATE_STEPS
    return torch.from_numpy(soxr.resample(wave.float().cpu().numpy(), *rates, quality="HQ"))
