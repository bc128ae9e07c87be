"""Mel filter banks on the scales of HTK and of Slaney's Auditory Toolbox."""

from __future__ import annotations

import math
import warnings
from typing import Literal

import torch
from torch import Tensor

from tonotopy._errors import UsageError

MelScale = Literal["htk", "slaney"]

# Slaney: linear below 1 kHz (3 mel per 200 Hz), logarithmic above (27 steps to 6.4 kHz).
_HZ_PER_MEL = 200.0 / 3
_KNEE_HZ = 1000.0
_KNEE_MEL = _KNEE_HZ / _HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27.0


def hz_to_mel(hz: Tensor, scale: MelScale) -> Tensor:
    """Give mels for frequencies in hertz.

    HTK: 2595 log10(1 + f/700). Slaney: f/66.67 below 1 kHz, 15 + 27 ln(f/1000)/ln(6.4) above.
    """
    if scale == "htk":
        return 2595.0 * torch.log10(1.0 + hz / 700.0)
    above = _KNEE_MEL + torch.log(hz.clamp_min(1e-10) / _KNEE_HZ) / _LOG_STEP
    return torch.where(hz < _KNEE_HZ, hz / _HZ_PER_MEL, above)


def mel_to_hz(mel: Tensor, scale: MelScale) -> Tensor:
    """Give hertz for mels; the inverse of `hz_to_mel`."""
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    above = _KNEE_HZ * torch.exp(_LOG_STEP * (mel - _KNEE_MEL))
    return torch.where(mel < _KNEE_MEL, mel * _HZ_PER_MEL, above)


def mel_filters(
    sample_rate: int,
    n_fft: int,
    n_mels: int,
    *,
    f_min: float = 0.0,
    f_max: float | None = None,
    scale: MelScale = "slaney",
    norm: Literal["slaney"] | None = "slaney",
) -> Tensor:
    """Make triangular filters, evenly spaced in mel.

    Args:
        sample_rate: In hertz.
        n_fft: Length of the Fourier transform.
        n_mels: Number of filters.
        f_min: Lower edge of the first, in hertz.
        f_max: Upper edge of the last, in hertz; half the sample rate when None.
        scale: `"slaney"` or `"htk"`.
        norm: `"slaney"` gives every filter the same area, None the same height, 1.

    Returns:
        (n_mels, n_fft // 2 + 1) float32.

    Raises:
        UsageError: The band is empty or reaches above half the sample rate.

    Warns:
        UserWarning: A filter lies between two Fourier bins and would always give nothing.
    """
    nyquist = sample_rate / 2
    top = nyquist if f_max is None else f_max
    if not 0 <= f_min < top <= nyquist:
        raise UsageError(
            f"expected 0 <= f_min < f_max <= {nyquist:g} Hz (half the sample rate), "
            f"got f_min={f_min:g}, f_max={top:g}"
        )
    ends = hz_to_mel(torch.tensor([f_min, top], dtype=torch.float64), scale)
    mels = torch.linspace(ends[0].item(), ends[1].item(), n_mels + 2, dtype=torch.float64)
    edges = mel_to_hz(mels, scale)
    bins = torch.linspace(0.0, nyquist, n_fft // 2 + 1, dtype=torch.float64)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    filters = torch.minimum(rising, falling).clamp_min(0.0)
    if norm == "slaney":
        filters *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    dead = int((filters.amax(dim=1) == 0).sum())
    if dead:
        warnings.warn(
            f"{dead} of {n_mels} mel filters are narrower than the {sample_rate / n_fft:.1f} Hz "
            "between Fourier bins and stay empty: use fewer mels or a larger n_fft",
            stacklevel=2,
        )
    return filters.float()
