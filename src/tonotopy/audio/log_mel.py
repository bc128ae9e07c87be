"""Log-mel spectrograms as a module, equal to librosa's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.audio.front_end import FrontEnd
from tonotopy.audio.mel import MelScale, mel_filters

CACHED_NUMBERS = 2**18
"""Complex numbers of spectra (2 MiB) that are computed at once on a CPU."""


class LogMel(FrontEnd):
    """Compute the logarithm of mel-band energies.

    Frame t is centred on sample t * hop_length; the clip is surrounded by silence (as librosa does
    with `center=True`), so a clip of T samples has 1 + T // hop_length frames.

    Args:
        sample_rate: In hertz.
        n_fft: Length of the Fourier transform, in samples.
        win_length: Length of the window, at most n_fft; None for n_fft.
        hop_length: Samples from frame to frame.
        n_mels: Mel bands.
        f_min: Lower edge of the lowest band, in hertz.
        f_max: Upper edge of the highest band; None for half the sample rate.
        mel_scale: `"slaney"` or `"htk"`.
        mel_norm: `"slaney"` gives bands equal area, None equal height.
        power: 2 for power spectra, 1 for magnitudes.
        log: `"db"` is 10 log10(max(x, 1e-10)) (20 log10(max(x, 1e-5)) for magnitudes); `"log"` is
            the natural log(x + eps), `"log10"` is log10(x + eps).
        eps: Added before the logarithms that are not in decibels.
        top_db: With `"db"`: nothing lies deeper than this below a clip's maximum; None for no
            such floor.
        normalise: `"none"`; `"clip"` standardises every clip by the mean and deviation of all its
            values; `"dataset"` every band by those of the training clips (`fit_normalisation`).
        window: `"hann"` or `"hamming"`, both periodic.

    Examples:
        >>> features, frames = LogMel(n_mels=40)(torch.randn(2, 16000), torch.tensor([16000, 8000]))
        >>> features.shape, frames.tolist()
        (torch.Size([2, 40, 101]), [101, 51])
    """

    window: Tensor
    filters: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        sample_rate: int = 16000,
        n_fft: int = 512,
        win_length: int | None = None,
        hop_length: int = 160,
        n_mels: int = 64,
        f_min: float = 0.0,
        f_max: float | None = None,
        mel_scale: MelScale = "slaney",
        mel_norm: Literal["slaney"] | None = "slaney",
        power: float = 2.0,
        log: Literal["db", "log", "log10"] = "log",
        eps: float = 1e-6,
        top_db: float | None = None,
        normalise: Literal["none", "clip", "dataset"] = "none",
        window: Literal["hann", "hamming"] = "hann",
    ) -> None:
        super().__init__(sample_rate, n_mels)
        win_length = n_fft if win_length is None else win_length
        if not 0 < win_length <= n_fft:
            raise UsageError(f"expected 0 < win_length <= n_fft ({n_fft}), got {win_length}")
        if hop_length <= 0:
            raise UsageError(f"hop_length must be positive, got {hop_length}")
        if power not in (1.0, 2.0):
            raise UsageError(f"power must be 1 (magnitude) or 2 (power), got {power}")
        if top_db is not None and (log != "db" or top_db <= 0):
            raise UsageError(f"top_db must be positive and needs log='db', got {top_db:g}, {log!r}")
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.power = power
        self.log = log
        self.eps = eps
        self.top_db = top_db
        self.normalise = normalise
        left = (n_fft - win_length) // 2
        make_window = torch.hamming_window if window == "hamming" else torch.hann_window
        shape = make_window(win_length, dtype=torch.float64).float()
        self.register_buffer(
            "window", F.pad(shape, (left, n_fft - win_length - left)), persistent=False
        )
        filters = mel_filters(
            sample_rate, n_fft, n_mels, f_min=f_min, f_max=f_max, scale=mel_scale, norm=mel_norm
        )
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("mean", torch.zeros(n_mels))
        self.register_buffer("std", torch.ones(n_mels))

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute log-mel features, in float32 also under autocast; see `FrontEnd.forward`."""
        with torch.autocast(waveforms.device.type, enabled=False):
            features, valid, counts = self._log_mel(waveforms.float(), lengths)
            return self._normalise(features, valid).where(valid, 0.0), counts

    @torch.no_grad()
    def fit_normalisation(self, waveforms: Iterable[Tensor]) -> None:
        """Learn each band's mean and deviation over all frames; only for `normalise="dataset"`.

        A band that never changes (digital silence) keeps the deviation 1.

        Args:
            waveforms: (T,) each; read once, one at a time.

        Raises:
            UsageError: There is no waveform.
        """
        if self.normalise != "dataset":
            return
        mean, variance, _ = self._band_statistics(waveforms)
        self.mean.copy_(mean)
        self.std.copy_(variance.where(variance > 1e-8, 1.0).sqrt())

    def _band_statistics(self, waveforms: Iterable[Tensor]) -> tuple[Tensor, Tensor, int]:
        """Give each band's mean and variance over all frames, in float64, and their number."""
        count = 0
        total = torch.zeros_like(self.mean, dtype=torch.float64)
        squares = torch.zeros_like(total)
        for waveform in waveforms:
            clip = waveform[None].to(self.mean.device, torch.float32)
            features = self._log_mel(clip, None)[0][0].double()
            count += features.shape[1]
            total += features.sum(dim=1)
            squares += features.square().sum(dim=1)
        if count == 0:
            raise UsageError("fit_normalisation needs at least one waveform")
        mean = total / count
        return mean, squares / count - mean.square(), count

    def _log_mel(self, waveforms: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Give features (B, bins, F), which of them are of the clip (B, 1, F), and frames (B,)."""
        padded, lengths = self._surround(waveforms, lengths)
        # Unfolding and a real FFT of the frames is twice as fast as torch.stft on a CPU.
        frames = padded.unfold(-1, self.n_fft, self.hop_length)
        parts = [self._logarithm(self._mel(part)) for part in self._cache_sized(frames)]
        features = torch.cat(parts, dim=1).transpose(1, 2)
        counts = 1 + lengths // self.hop_length
        valid = (torch.arange(frames.shape[1], device=frames.device) < counts[:, None])[:, None]
        if self.top_db is not None:
            peak = features.masked_fill(~valid, -torch.inf).amax(dim=(1, 2), keepdim=True)
            features = torch.maximum(features, peak - self.top_db)
        return features, valid, counts

    def _surround(self, waveforms: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Give the clips with half a transform more on both sides, and their lengths (B,)."""
        before = self.n_fft // 2
        padded = F.pad(waveforms, (before, self.n_fft - before))
        if lengths is None:
            lengths = waveforms.new_full((len(waveforms),), waveforms.shape[1], dtype=torch.long)
        else:
            positions = torch.arange(padded.shape[1], device=padded.device)
            # In place: a second copy of the waveforms takes a third of all the time on a CPU.
            padded.masked_fill_(positions >= (before + lengths)[:, None], 0.0)
        return padded, lengths

    def _cache_sized(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Split frames (B, F, n_fft) so that the spectra of a part stay in the processor's cache.

        On a CPU that is several times as fast as all at once, and bounds the memory of long clips.
        Elsewhere, and for graphs, it is one part.
        """
        if frames.device.type != "cpu" or torch.compiler.is_compiling():
            return (frames,)
        numbers = len(frames) * (1 + self.n_fft // 2)
        return torch.split(frames, max(1, CACHED_NUMBERS // numbers), dim=1)

    def _mel(self, frames: Tensor) -> Tensor:
        spectrum: Tensor = torch.fft.rfft(frames * self.window)
        if self.power == 1.0:
            energies = spectrum.abs()
        else:
            # Not abs().square(), which takes a root first, nor a sum over an axis of two.
            squares = torch.view_as_real(spectrum).square()
            energies = squares[..., 0] + squares[..., 1]
        return energies @ self.filters.T

    def _logarithm(self, mel: Tensor) -> Tensor:
        if self.log == "log":
            return (mel + self.eps).log()
        if self.log == "log10":
            return (mel + self.eps).log10()
        decibels = 20.0 / self.power
        return decibels * mel.clamp_min(10.0 ** (-100.0 / decibels)).log10()

    def _normalise(self, features: Tensor, valid: Tensor) -> Tensor:
        if self.normalise == "dataset":
            return (features - self.mean[:, None]) / self.std[:, None]
        if self.normalise == "clip":
            count = valid.sum(dim=(1, 2), keepdim=True) * features.shape[1]
            mean = features.where(valid, 0.0).sum(dim=(1, 2), keepdim=True) / count
            centred = (features - mean).where(valid, 0.0)
            variance = centred.square().sum(dim=(1, 2), keepdim=True) / count
            return centred / (variance + 1e-5).sqrt()  # silence becomes zero, not noise
        return features
