"""Augmentations of waveforms and of features: batched, on any device, driven by a generator."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from tonotopy._components import Configurable
from tonotopy._errors import UsageError
from tonotopy.audio._draws import RandomSource, normal_like, uniform
from tonotopy.audio._valid import valid_positions


class Augmentation(Configurable, nn.Module, ABC):
    """A random change that keeps the label; nothing happens in `eval()`."""

    def forward(self, x: Tensor, lengths: Tensor, generator: RandomSource) -> Tensor:
        """Change each clip of a batch at random.

        Args:
            x: Waveforms (B, T) or features (B, bins, frames), padded at the end.
            lengths: (B,) valid samples or frames.
            generator: The only source of randomness, on the device of `x`; with a
                `KeyedGenerator` a clip's change does not depend on the rest of the batch.

        Returns:
            A tensor of the same shape; the padding stays as it was.
        """
        return self.change(x, lengths, generator) if self.training else x

    @abstractmethod
    def change(self, x: Tensor, lengths: Tensor, generator: RandomSource) -> Tensor:
        """Do the random change; see `forward`."""


class WaveAugmentation(Augmentation):
    """An augmentation of waveforms (B, T)."""


class FeatureAugmentation(Augmentation):
    """An augmentation of features (B, bins, frames)."""


class Gain(WaveAugmentation):
    """Make each clip louder or softer.

    Args:
        low: Least gain, in dB.
        high: Largest gain, in dB.
    """

    def __init__(self, low: float = -6.0, high: float = 6.0) -> None:
        super().__init__()
        if low > high:
            raise UsageError(f"Gain: low ({low:g} dB) is above high ({high:g} dB)")
        self.low = low
        self.high = high

    def change(self, x: Tensor, lengths: Tensor, generator: RandomSource) -> Tensor:
        """Scale each clip."""
        decibels = self.low + (self.high - self.low) * uniform(x, generator)
        factor = (10.0 ** (decibels / 20.0)).to(x.dtype)[:, None]
        return x * factor.where(valid_positions(x, lengths), 1.0)


class TimeShift(WaveAugmentation):
    """Rotate each clip in time; what leaves at the end comes back at the beginning.

    Args:
        fraction: Largest shift to either side, as a share of the clip's own length; 1 for any.
    """

    def __init__(self, fraction: float = 1.0) -> None:
        super().__init__()
        if not 0 <= fraction <= 1:
            raise UsageError(f"TimeShift: expected a fraction from 0 to 1, got {fraction:g}")
        self.fraction = fraction

    def change(self, x: Tensor, lengths: Tensor, generator: RandomSource) -> Tensor:
        """Rotate each clip within its valid samples."""
        turns = self.fraction * (2.0 * uniform(x, generator) - 1.0)
        shifts = (turns * lengths).long().tolist()
        rotated = x.clone()
        # Row by row: one gather for all would need an index as large as the waveforms, eight bytes
        # for every sample, and takes ten times as long on a CPU.
        for row, (shift, length) in enumerate(zip(shifts, lengths.tolist(), strict=True)):
            rotated[row, :length] = x[row, :length].roll(shift)
        return rotated


class AddNoise(WaveAugmentation):
    """Add white noise at a random signal-to-noise ratio.

    Args:
        low: Least ratio (most noise), in dB.
        high: Largest ratio, in dB.
    """

    def __init__(self, low: float = 10.0, high: float = 40.0) -> None:
        super().__init__()
        if low > high:
            raise UsageError(f"AddNoise: low ({low:g} dB) is above high ({high:g} dB)")
        self.low = low
        self.high = high

    def change(self, x: Tensor, lengths: Tensor, generator: RandomSource) -> Tensor:
        """Add noise to the valid samples; a silent clip stays silent."""
        valid = valid_positions(x, lengths)
        noise = normal_like(x, generator).where(valid, 0.0)
        decibels = self.low + (self.high - self.low) * uniform(x, generator)
        power = _energy(x.where(valid, 0.0)) / _energy(noise).clamp_min(1e-12)
        return x + noise * (power * 10.0 ** (-decibels / 10.0)).sqrt().to(x.dtype)[:, None]


class SpecAugment(FeatureAugmentation):
    """Blank random bands and stretches of time with the clip's mean.

    Park et al., "SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition",
    2019, without the warping of time.

    Args:
        frequency_width: Largest width of a blanked band, in bins.
        time_width: Largest width of a blanked stretch, in frames; never more than half the clip.
        frequency_masks: Bands.
        time_masks: Stretches.
    """

    def __init__(
        self,
        frequency_width: int = 8,
        time_width: int = 20,
        frequency_masks: int = 2,
        time_masks: int = 2,
    ) -> None:
        super().__init__()
        if min(frequency_width, time_width, frequency_masks, time_masks) < 0:
            raise UsageError("SpecAugment: widths and numbers of masks cannot be negative")
        self.frequency_width = frequency_width
        self.time_width = time_width
        self.frequency_masks = frequency_masks
        self.time_masks = time_masks

    def change(self, x: Tensor, lengths: Tensor, generator: RandomSource) -> Tensor:
        """Blank bands and stretches of each clip."""
        valid = valid_positions(x, lengths)
        bins = lengths.new_full((len(x),), x.shape[1])
        masked = torch.zeros_like(x, dtype=torch.bool)
        for _ in range(self.frequency_masks):
            masked |= _stretch(bins, self.frequency_width, x.shape[1], generator)[:, :, None]
        for _ in range(self.time_masks):
            widest = (lengths // 2).clamp_max(self.time_width)
            masked |= _stretch(lengths, widest, x.shape[2], generator)[:, None, :]
        count = (lengths * x.shape[1]).clamp_min(1)
        mean = x.where(valid, 0.0).sum(dim=(1, 2), dtype=_wide(x)) / count
        return x.where(~masked | ~valid, mean.to(x.dtype)[:, None, None])


class Mixup(nn.Module):
    """Mix each clip with another and their labels in the same proportion.

    Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018.

    Args:
        alpha: The share of a clip is drawn from Beta(alpha, alpha); small values mix little.
    """

    def __init__(self, alpha: float = 0.2) -> None:
        super().__init__()
        if alpha <= 0:
            raise UsageError(f"Mixup: alpha must be positive, got {alpha:g}")
        self.alpha = alpha

    def forward(
        self, x: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Mix a batch; nothing happens in `eval()`.

        Args:
            x: (B, ...) waveforms or features.
            targets: (B, C) one-hot or soft labels.
            generator: The only source of randomness, on the device of `x`.

        Returns:
            Mixed `x` and `targets` of the same shapes. Each clip keeps the larger share.
        """
        if not self.training:
            return x, targets
        share = _beta(self.alpha, len(x), generator, x.device)
        share = torch.maximum(share, 1.0 - share)
        other = torch.randperm(len(x), generator=generator, device=x.device)
        return _mix(x, x[other], share), _mix(targets, targets[other], share)


def _mix(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    share = share.to(a.dtype).view(-1, *[1] * (a.ndim - 1))
    return share * a + (1.0 - share) * b


def _beta(alpha: float, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Draw from Beta(alpha, alpha): G1 / (G1 + G2) with G ~ Gamma(alpha).

    In logarithms, with G(alpha) = G(alpha + 1) U^(1/alpha), as a small alpha underflows otherwise.
    """
    shape = torch.full((2, count), alpha + 1.0, device=device)
    # torch.distributions takes no generator; this is the sampler that it calls.
    gamma = torch._standard_gamma(shape, generator=generator)
    uniform = torch.rand(2, count, generator=generator, device=device).clamp_min(1e-12)
    logarithms = gamma.log() + uniform.log() / alpha
    return torch.sigmoid(logarithms[0] - logarithms[1])


def _energy(x: Tensor) -> Tensor:
    return x.to(_wide(x)).square().sum(dim=1)


def _wide(x: Tensor) -> torch.dtype:
    """Give the type of sums: those of 16 bits overflow."""
    return torch.promote_types(x.dtype, torch.float32)


def _stretch(lengths: Tensor, widest: int | Tensor, size: int, generator: RandomSource) -> Tensor:
    """Mark one random stretch within each clip's `lengths`, (B, size) bool."""
    draws = uniform(lengths, generator, 2)
    width = (draws[0] * (torch.as_tensor(widest, device=lengths.device) + 1)).long()
    start = (draws[1] * (lengths - width + 1).clamp_min(1)).long()
    positions = torch.arange(size, device=lengths.device)
    return (positions >= start[:, None]) & (positions < (start + width)[:, None])
