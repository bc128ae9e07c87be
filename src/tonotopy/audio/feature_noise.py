"""Noise on features."""

from __future__ import annotations

from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.audio._draws import RandomSource, normal_like, uniform
from tonotopy.audio._valid import valid_positions
from tonotopy.audio.augmentations import FeatureAugmentation


class FeatureNoise(FeatureAugmentation):
    """Add Gaussian noise to each clip's features.

    x' = x + s n with s ~ U(0, std) for each clip and n ~ N(0, 1) for each value.

    Source: the training of Fonseca et al., "Unsupervised Contrastive Learning of Sound Event
    Representations", ICASSP 2021. There noise is added to log10 powers before they are
    standardised; here it is added to what the front end gives, in its units. On `PeakLogMel`, whose
    deviation is about 2, the published strength is half of this one.

    Args:
        std: Largest deviation of the noise, in units of the features.

    Raises:
        UsageError: `std` is negative.
    """

    def __init__(self, std: float = 0.01) -> None:
        super().__init__()
        if not std >= 0:
            raise UsageError(f"FeatureNoise: std cannot be negative, got {std:g}")
        self.std = std

    def change(self, x: Tensor, lengths: Tensor, generator: RandomSource) -> Tensor:
        """Add noise to the valid frames."""
        noise = normal_like(x, generator)
        deviation = (self.std * uniform(x, generator)).to(x.dtype)[:, None, None]
        return x + noise * deviation.where(valid_positions(x, lengths), 0.0)
