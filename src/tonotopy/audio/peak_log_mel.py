"""The log-mel spectrograms of the angular contrastive paper."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, get_args

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.audio.log_mel import LogMel

Divisor = Literal["deviation", "published"]

QUIETEST_PEAK = 0.005
"""Added to the peak, so that a clip of faint noise is not made loud."""


class PeakLogMel(LogMel):
    """Compute log-mel spectrograms of peak-normalised clips of at least one second.

    A clip loses its mean, is divided by its largest absolute value + 0.005 and, when it is shorter
    than a second, repeated to one. Frame t is centred on sample 220 t, and the clip is mirrored at
    both ends. Values are log10(mel + 1.1e-8), standardised by one mean and one deviation for all
    bands, those of the training clips (`fit_normalisation`); before that, by 0 and 1.

    Made for 22,050 Hz: transforms of 2,048 samples under Hamming windows of 660, 96 Slaney bands
    of equal height from 50 to 10,500 Hz. One second has 101 frames.

    Args:
        divisor: What centred values are divided by: their `"deviation"`, sqrt(sum of squares / n);
            or, to compare with the authors' code, sqrt(sum of squares) / n as there, which for
            their data makes inputs some 36,000 times too large, and lets the scale depend on the
            number n of values: `"published"`.

    Source: Wang et al., "Self-supervised learning of audio representations using angular
    contrastive loss", ICASSP 2023, which
    takes it from Fonseca et al., "Unsupervised Contrastive Learning of Sound Event
    Representations", 2021.

    Examples:
        >>> features, frames = PeakLogMel()(torch.randn(2, 44100), torch.tensor([44100, 800]))
        >>> features.shape, frames.tolist()
        (torch.Size([2, 96, 201]), [201, 101])
    """

    def __init__(self, divisor: Divisor = "deviation") -> None:
        super().__init__(
            sample_rate=22050,
            n_fft=2048,
            win_length=660,
            hop_length=220,
            n_mels=96,
            f_min=50.0,
            f_max=10500.0,
            mel_norm=None,
            log="log10",
            eps=1.1e-8,
            normalise="dataset",
            window="hamming",
        )
        if divisor not in get_args(Divisor):
            raise UsageError(
                f"divisor: expected one of {', '.join(get_args(Divisor))}, got {divisor!r}"
            )
        self.divisor = divisor

    @torch.no_grad()
    def fit_normalisation(self, waveforms: Iterable[Tensor]) -> None:
        """Learn the mean and the divisor of all values of the training clips.

        Args:
            waveforms: (T,) each; read once, one at a time.

        Raises:
            UsageError: There is no waveform.
        """
        means, variances, frames = self._band_statistics(waveforms)
        mean = means.mean()
        variance = variances.mean() + means.var(correction=0)
        self.mean.fill_(mean)
        self.std.fill_(variance.where(variance > 1e-8, 1.0).sqrt())
        if self.divisor == "published":
            self.std /= math.sqrt(frames * self.num_bins)

    def _surround(self, waveforms: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        count, longest = waveforms.shape
        if lengths is None:
            lengths = waveforms.new_full((count,), longest, dtype=torch.long)
        lengths = lengths.to(waveforms.device)
        clips = _peak_normalised(waveforms, lengths)
        wanted = lengths.clamp_min(self.sample_rate)
        size = max(longest, self.sample_rate)
        half = self.n_fft // 2
        last = (wanted - 1)[:, None]
        # Mirrored at the first sample, then at the last, then repeated: one gather for all three.
        at = torch.arange(-half, size + half, device=clips.device).abs()
        at = (last - (last - at).abs()).clamp_min(0) % lengths[:, None]
        return clips.gather(1, at), wanted


def _peak_normalised(waveforms: Tensor, lengths: Tensor) -> Tensor:
    """Take the mean away and divide by the peak; what lies beyond a clip's end becomes zero."""
    positions = torch.arange(waveforms.shape[1], device=waveforms.device)
    valid = positions < lengths[:, None]
    mean = waveforms.where(valid, 0.0).sum(dim=1, keepdim=True) / lengths[:, None]
    centred = (waveforms - mean).where(valid, 0.0)
    return centred / (centred.abs().amax(dim=1, keepdim=True) + QUIETEST_PEAK)
