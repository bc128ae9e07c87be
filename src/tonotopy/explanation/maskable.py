"""A clip as a picture that can be masked, together with the score of its masked versions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.audio import FrontEnd, LogMel
from tonotopy.encoders import Encoder
from tonotopy.explanation.scoring import Score

Unit = Literal["magnitude", "feature"]

WINDOW = 1024
"""Samples of the window behind the magnitudes of a `ViewedEncoder`."""


@runtime_checkable
class ViewedEncoder(Protocol):
    """An encoder that makes its own views of a waveform, such as `TwoBranchNet`."""

    magnitude_bins: slice
    """Which of the 513 bins the magnitudes hold."""

    def views(self, features: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Give the spectrum (B, K) and the magnitudes (B, F, T)."""

    def combine(self, views: tuple[Tensor, Tensor]) -> Tensor:
        """Embed both views, (B, D)."""


@dataclass(frozen=True)
class Maskable:
    """A clip in the form in which it is masked.

    Attributes:
        values: Magnitudes or features, (F, T).
        score: Anomaly scores (B,) of masked versions of `values`, (B, F, T).
        seconds: Time at the centre of each frame, (T,).
        hertz: Frequency at the centre of each bin, (F,), ascending; None where bins have none.
        unit: `"magnitude"` for linear magnitudes, `"feature"` for a front end's own values.
    """

    values: Tensor
    score: Score
    seconds: Tensor
    hertz: Tensor | None
    unit: Unit


def mask_waveform(
    waveform: Tensor,
    score: Callable[[Tensor], Tensor],
    *,
    sample_rate: int,
    n_fft: int = 1024,
    hop_length: int = 512,
) -> Maskable:
    """Mask the magnitudes of a waveform and score the sound that results (mode `wave`).

    The masked magnitudes and the clip's own phase make a waveform again, so the map explains the
    whole score of any model that starts from waveforms.

    Args:
        waveform: (L,), on the device of the model.
        score: Anomaly scores (B,) of waveforms (B, L).
        sample_rate: In hertz.
        n_fft: Length of the Hann window and of the Fourier transform, in samples.
        hop_length: Samples from frame to frame, at most n_fft / 2.

    Returns:
        Magnitudes (n_fft / 2 + 1, 1 + ceil(L / hop_length)).

    Raises:
        UsageError: The waveform is not one-dimensional or is empty, or the hop is too long.
    """
    spectrum = _stft(waveform, n_fft, hop_length)
    magnitudes = spectrum.abs()
    # Where nothing sounds there is no phase: what a fill puts there must sound like noise, not like
    # clicks in step with the frames, which any constant phase gives.
    angles = 2 * torch.pi * torch.rand(spectrum.shape, generator=torch.Generator().manual_seed(0))
    noise = torch.polar(torch.ones_like(angles), angles).to(spectrum)
    phases = torch.where(magnitudes > 0, spectrum / magnitudes.clamp_min(1e-30), noise)
    window = torch.hann_window(n_fft, device=waveform.device, dtype=waveform.dtype)

    def score_masked(masked: Tensor) -> Tensor:
        waves = torch.istft(
            masked * phases,
            n_fft,
            hop_length,
            window=window,
            length=(spectrum.shape[1] - 1) * hop_length,
        )
        return score(waves[:, : len(waveform)])

    return Maskable(
        magnitudes,
        score_masked,
        torch.arange(magnitudes.shape[1]) * hop_length / sample_rate,
        torch.arange(magnitudes.shape[0]) * sample_rate / n_fft,
        "magnitude",
    )


def stft_magnitudes(waveform: Tensor, *, n_fft: int = 1024, hop_length: int = 512) -> Tensor:
    """Compute the magnitudes that `mask_waveform` masks, (F, T), of a waveform (L,)."""
    return _stft(waveform, n_fft, hop_length).abs()


def mask_features(
    waveform: Tensor,
    front_end: FrontEnd,
    encoder: Encoder,
    score: Callable[[Tensor], Tensor],
) -> Maskable:
    """Mask what the encoder sees, the front end's features (mode `stft` of a common encoder).

    Args:
        waveform: (L,) at the front end's sample rate, on the device of the model.
        front_end: Waveforms to features.
        encoder: Features to embeddings, in `eval()`.
        score: Anomaly scores (B,) of embeddings (B, D).

    Returns:
        Features (F, T); frequencies are known for `LogMel`.
    """
    with torch.no_grad():
        features, frames = front_end(waveform[None], None)
    values = features[0]

    def score_masked(masked: Tensor) -> Tensor:
        return score(encoder(masked, frames.expand(len(masked))))

    return Maskable(
        values,
        score_masked,
        # Frames are as many as the clip is long, whatever the front end's hop.
        torch.arange(values.shape[1]) * len(waveform) / front_end.sample_rate / values.shape[1],
        _band_centres(front_end),
        "feature",
    )


def mask_magnitudes(
    waveform: Tensor,
    front_end: FrontEnd,
    encoder: ViewedEncoder,
    score: Callable[[Tensor], Tensor],
) -> Maskable:
    """Mask the spectrogram of an encoder that also reads a spectrum (mode `stft`).

    The spectrum of the whole clip stays as it is, so the map explains what the spectrogram adds.

    Args:
        waveform: (L,) at the front end's sample rate, on the device of the model.
        front_end: Waveforms to features (B, 1, samples).
        encoder: In `eval()`; see `ViewedEncoder`.
        score: Anomaly scores (B,) of embeddings (B, D).

    Returns:
        Magnitudes (F, T) before the encoder takes off their mean over time.
    """
    with torch.no_grad():
        features, frames = front_end(waveform[None], None)
        spectrum, magnitudes = encoder.views(features, frames)

    def score_masked(masked: Tensor) -> Tensor:
        return score(encoder.combine((spectrum.expand(len(masked), -1), masked)))

    seconds = features.shape[-1] / front_end.sample_rate
    bins, count = magnitudes.shape[1:]
    first = encoder.magnitude_bins.start or 0
    return Maskable(
        magnitudes[0],
        score_masked,
        (torch.arange(count) + 0.5) * seconds / count,
        (first + torch.arange(bins)) * front_end.sample_rate / WINDOW,
        "magnitude",
    )


def _band_centres(front_end: FrontEnd) -> Tensor | None:
    """Give the frequency at which each mel band is centred, (F,), where the bins are mel bands."""
    if not isinstance(front_end, LogMel):
        return None
    filters = front_end.filters.cpu()
    bins = torch.arange(filters.shape[1]) * front_end.sample_rate / front_end.n_fft
    return filters @ bins / filters.sum(dim=1).clamp_min(1e-12)


def _stft(waveform: Tensor, n_fft: int, hop_length: int) -> Tensor:
    if waveform.ndim != 1 or len(waveform) == 0:
        raise UsageError(
            f"expected a mono waveform (L,) with samples, got shape {tuple(waveform.shape)}"
        )
    if not 0 < hop_length <= n_fft // 2:
        raise UsageError(
            f"hop_length must be in 1..n_fft / 2 ({n_fft // 2}) so that the sound can be made "
            f"again, got {hop_length}"
        )
    # The last frame is centred on the end: a sample near a window's edge alone cannot be restored.
    padded = F.pad(waveform, (0, -len(waveform) % hop_length))
    window = torch.hann_window(n_fft, device=waveform.device, dtype=waveform.dtype)
    return torch.stft(
        padded, n_fft, hop_length, window=window, pad_mode="constant", return_complex=True
    )
