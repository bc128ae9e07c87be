"""Loudness contrasts made smaller."""

from __future__ import annotations

from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.audio._draws import RandomSource, uniform
from tonotopy.audio._valid import valid_positions
from tonotopy.audio.augmentations import FeatureAugmentation


class Compression(FeatureAugmentation):
    """Multiply each clip's log-mel features by a number below one.

    x' = c x with c ~ U(low, 1): powers are raised to c.

    Source: the training of Fonseca et al., "Unsupervised Contrastive Learning of Sound Event
    Representations", ICASSP 2021. There the logarithms are multiplied before they are standardised.
    Behind a front end that standardises (`PeakLogMel`), contrasts shrink towards the mean of the
    training clips instead of towards the power 1. The two differ by a gain, (1 - c) times the mean.

    Args:
        low: Smallest factor, 0 to 1; 1 changes nothing.

    Raises:
        UsageError: `low` is not from 0 to 1.
    """

    def __init__(self, low: float = 0.75) -> None:
        super().__init__()
        if not 0 <= low <= 1:
            raise UsageError(f"Compression: expected a lowest factor from 0 to 1, got {low:g}")
        self.low = low

    def change(self, x: Tensor, lengths: Tensor, generator: RandomSource) -> Tensor:
        """Scale each clip's features."""
        factor = self.low + (1.0 - self.low) * uniform(x, generator)
        return x * factor.to(x.dtype)[:, None, None].where(valid_positions(x, lengths), 1.0)
