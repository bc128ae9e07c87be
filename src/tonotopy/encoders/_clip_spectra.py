"""The two views of a waveform that `TwoBranchNet` reads, with magnitudes in float32."""

from __future__ import annotations

import math

import torch
from torch import Tensor

WINDOW = 1024
HOP = 512


def clip_spectrum(waveforms: Tensor) -> Tensor:
    """Give the magnitude spectrum of each whole clip, without the bin at half the sample rate.

    Args:
        waveforms: (B, L).

    Returns:
        (B, ⌊L/2⌋): |FFT|, not scaled; bin k is at k / L times the sample rate.
    """
    spectrum: Tensor = torch.fft.rfft(waveforms)
    return spectrum[:, : waveforms.shape[1] // 2].abs()


def clip_spectrogram(waveforms: Tensor) -> Tensor:
    """Give the magnitude spectrogram of each clip; the clip is not padded.

    Args:
        waveforms: (B, L) with L of at least `WINDOW`.

    Returns:
        (B, 513, 1 + ⌊(L - WINDOW) / HOP⌋): magnitudes under a periodic Hann window, not scaled; bin
        k is at k / WINDOW times the sample rate.
    """
    window = torch.hann_window(WINDOW, dtype=torch.float64, device=waveforms.device)
    frames = waveforms.unfold(-1, WINDOW, HOP) * window.to(waveforms.dtype)
    spectra: Tensor = torch.fft.rfft(frames)
    return spectra.abs().transpose(1, 2)


def bins_between(low: float, high: float, spacing: float, count: int) -> slice:
    """Select the bins whose frequencies lie from `low` to `high`, both included.

    Args:
        low: In hertz.
        high: In hertz.
        spacing: From bin to bin, in hertz.
        count: Bins from 0 Hz on.
    """
    rounding = 1e-9  # an edge that is the frequency of a bin keeps it
    first = math.ceil(low / spacing - rounding)
    last = math.floor(high / spacing + rounding)
    return slice(max(first, 0), min(last + 1, count))
