"""Waveforms of one length: cropped, padded or repeated."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tonotopy._errors import UsageError

LengthPolicy = Literal["crop", "pad", "tile"]


def fit_length(
    wave: NDArray[np.float32], frames: int, policy: LengthPolicy = "pad", offset: float = 0.0
) -> NDArray[np.float32]:
    """Give a waveform exactly `frames` samples.

    A longer waveform is cropped whatever the policy.

    Args:
        wave: (T,), at least one sample.
        frames: Samples of the result.
        policy: What to do with a shorter one: `"pad"` adds silence behind it, `"tile"` repeats it,
            `"crop"` refuses it.
        offset: Where a crop starts: 0 at the beginning, 1 as late as possible.

    Returns:
        (frames,), a view where it can be one.

    Raises:
        UsageError: `frames` is not positive, `offset` is not from 0 to 1, or the waveform is too
            short to crop.
    """
    if frames <= 0:
        raise UsageError(f"a clip needs at least one sample, asked for {frames}")
    if not 0 <= offset <= 1:
        raise UsageError(f"expected an offset from 0 (beginning) to 1 (end), got {offset:g}")
    if len(wave) >= frames:
        start = round(offset * (len(wave) - frames))
        return wave[start : start + frames]
    if policy == "crop":
        raise UsageError(
            f"cannot crop {frames} samples from {len(wave)}: use the policy 'pad' or 'tile'"
        )
    if policy == "tile":
        return np.tile(wave, -(-frames // len(wave)))[:frames]
    return np.pad(wave, (0, frames - len(wave)))
