"""The network of the angular margin losses for machine sounds: two views of a clip side by side."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.encoders._clip_spectra import (
    HOP,
    WINDOW,
    bins_between,
    clip_spectrogram,
    clip_spectrum,
)
from tonotopy.encoders._norm_options import NormOptions
from tonotopy.encoders._spectrogram_branch import SHORTEST_AXIS, SpectrogramBranch
from tonotopy.encoders._spectrum_branch import SpectrumBranch
from tonotopy.encoders.encoder import Encoder
from tonotopy.geometry import unit_vectors

Variant = Literal["bias-free", "keras"]
VARIANTS = {
    "bias-free": NormOptions(affine=False, momentum=0.1, eps=1e-5),
    "keras": NormOptions(affine=True, momentum=0.01, eps=1e-3),
}
SHORTEST_CLIP = WINDOW + (SHORTEST_AXIS - 1) * HOP
"""Samples that give the spectrogram enough frames for the strides of its branch."""


class TwoBranchNet(Encoder):
    """Embed clips of one length by the spectrum of the whole clip and by its spectrogram.

    The spectrum resolves lines a fraction of a hertz apart but knows no time; the spectrogram knows
    time and resolves 15.6 Hz (at 16 kHz). So the first branch tells hums and whistles of machines
    apart, the second knocks and changes. The embedding is the first branch's vector followed by the
    second's.

    It reads the features of the front end `Waveform`, all of one length. Magnitudes are linear, so
    an embedding is that of the loudness, too; the sign of the waveform does not count.

    Neither convolutions nor linear layers have a bias, as a network that can give one vector for
    every clip solves one-class tasks without learning anything. Where training has no classes,
    leave the variant at `"bias-free"`, whose normalisations have no shift either.

    Source: the network of Wilkinghoff, "Design Choices for Learning Embeddings from Auxiliary Tasks
    for Domain Generalization in Anomalous Sound Detection", ICASSP 2023, as it was corrected in
    2024 (the first normalisation lies on the residual path, not on the shortcut), which Wilkinghoff
    and Kurth, "Why do Angular Margin Losses Work Well for Semi-Supervised Anomalous Sound
    Detection?", 2024, go on with. Both variants pad as Keras does and start from Glorot-uniform
    weights.

    Args:
        num_bins: Of the front end; 1, since waveforms have no bins.
        num_samples: Samples L of every clip, at least 3072; that of the front end.
        embedding_dim: Length D of the embedding; each branch gives half of it.
        variant: `"bias-free"` has batch normalisations without scale and shift, PyTorch's momentum
            0.1 and eps 1e-5; `"keras"` is the published network: with scale and shift, momentum
            0.01 (0.99 as Keras counts) and eps 1e-3.
        sample_rate: Of the clips, in hertz; only `f_min` and `f_max` need it.
        f_min: Lower edge of what both branches read, in hertz.
        f_max: Upper edge; None for half the sample rate.
        normalise_branches: Scale each branch's vector to length one, so that neither outweighs the
            other in a cosine.

    Raises:
        UsageError: The front end is another one, the clips are too short, or an option is out of
            range.

    Examples:
        >>> import torch
        >>> encoder = TwoBranchNet(num_samples=16000).eval()
        >>> encoder(torch.randn(2, 1, 16000)).shape
        torch.Size([2, 256])
    """

    def __init__(
        self,
        num_bins: int = 1,
        num_samples: int = 160000,
        embedding_dim: int = 256,
        variant: Variant = "bias-free",
        sample_rate: int = 16000,
        f_min: float = 0.0,
        f_max: float | None = None,
        normalise_branches: bool = False,
    ) -> None:
        super().__init__(num_bins, embedding_dim)
        _check_sizes(num_bins, num_samples, embedding_dim)
        if variant not in VARIANTS:
            raise UsageError(f"TwoBranchNet: variant must be of {[*VARIANTS]}, got {variant!r}")
        self.num_samples = num_samples
        self.normalise_branches = normalise_branches
        self.sample_rate = sample_rate
        low, high = _band(f_min, f_max, sample_rate)
        self.spectrum_bins = bins_between(low, high, sample_rate / num_samples, num_samples // 2)
        self.magnitude_bins = bins_between(low, high, sample_rate / WINDOW, WINDOW // 2 + 1)
        heights = [bins.stop - bins.start for bins in (self.spectrum_bins, self.magnitude_bins)]
        if min(heights) < SHORTEST_AXIS:
            raise UsageError(
                f"TwoBranchNet: {low:g} to {high:g} Hz is too narrow a band, "
                f"only {min(heights)} bins; move f_min and f_max apart"
            )
        norms = VARIANTS[variant]
        self.spectrum_branch = SpectrumBranch(heights[0], self.branch_dims[0], norms)
        self.spectrogram_branch = SpectrogramBranch(heights[1], self.branch_dims[1], norms)
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)

    @property
    def branch_dims(self) -> tuple[int, int]:
        """Lengths of the embedding's two slices: spectrum, then spectrogram."""
        return self.embedding_dim // 2, self.embedding_dim // 2

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embed waveforms (B, 1, L), all L samples long; see `Encoder.forward`."""
        return self.combine(self.views(features, lengths))

    def views(self, features: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute what the two branches read.

        Args:
            features: (B, 1, L) waveforms.
            lengths: (B,), all L; None for the same.

        Returns:
            The spectrum (B, ⌊L/2⌋) and the magnitudes (B, 513, T), T = 1 + ⌊(L - 1024) / 512⌋,
            both linear, in float32, also under autocast; fewer bins with `f_min` or `f_max`.

        Raises:
            UsageError: The clips have another length.
        """
        self._check_features(features, lengths)
        with torch.autocast(features.device.type, enabled=False):
            waveforms = features.squeeze(1).float()
            spectrum = clip_spectrum(waveforms)[:, self.spectrum_bins]
            return spectrum, clip_spectrogram(waveforms)[:, self.magnitude_bins]

    def combine(self, views: tuple[Tensor, Tensor]) -> Tensor:
        """Embed what `views` gave, changed or not.

        Args:
            views: Spectrum (B, K) and magnitudes (B, F, T).

        Returns:
            (B, D), not normalised as a whole.

        Raises:
            UsageError: Training with a batch of one clip, which has no statistics.
        """
        spectrum, magnitudes = views
        if self.training and len(spectrum) == 1:
            raise UsageError(
                "TwoBranchNet cannot train on a batch of one clip: its normalisations need two; "
                "use larger batches, or eval()"
            )
        parts = [self.spectrum_branch(spectrum), self.spectrogram_branch(magnitudes).float()]
        if self.normalise_branches:
            parts = [unit_vectors(part) for part in parts]
        return torch.cat(parts, dim=1)

    def branch_norms(self, embeddings: Tensor) -> Tensor:
        """Give the length of each branch's vector; the longer one decides cosines.

        Args:
            embeddings: (B, D) of this encoder.

        Returns:
            (B, 2): spectrum, spectrogram.
        """
        parts = torch.split(embeddings, list(self.branch_dims), dim=1)
        return torch.stack([torch.linalg.vector_norm(part, dim=1) for part in parts], dim=1)

    def _check_features(self, features: Tensor, lengths: Tensor | None) -> None:
        if features.ndim != 3 or features.shape[1:] != (1, self.num_samples):
            raise UsageError(
                f"expected features (batch, 1, {self.num_samples}), got {tuple(features.shape)}; "
                "build the encoder with the num_samples of the front end Waveform"
            )
        if lengths is not None and (lengths != self.num_samples).any():
            raise UsageError(
                f"TwoBranchNet embeds clips of {self.num_samples} samples, "
                f"got lengths from {int(lengths.min())} to {int(lengths.max())}; "
                "the front end Waveform makes them so"
            )


def _check_sizes(num_bins: int, num_samples: int, embedding_dim: int) -> None:
    if num_bins != 1:
        raise UsageError(
            f"TwoBranchNet reads waveforms, which have 1 bin, got num_bins={num_bins}; "
            "take the front end Waveform"
        )
    if num_samples < SHORTEST_CLIP:
        raise UsageError(
            f"TwoBranchNet needs clips of at least {SHORTEST_CLIP} samples, got {num_samples}; "
            "give the front end Waveform more seconds"
        )
    if embedding_dim < 2 or embedding_dim % 2:
        raise UsageError(
            f"TwoBranchNet: embedding_dim must be even, half for each branch, got {embedding_dim}"
        )


def _band(f_min: float, f_max: float | None, sample_rate: int) -> tuple[float, float]:
    highest = sample_rate / 2
    high = highest if f_max is None else f_max
    if not 0 <= f_min < high <= highest:
        raise UsageError(
            f"TwoBranchNet: expected 0 <= f_min < f_max <= {highest:g} Hz, "
            f"got {f_min:g} and {high:g}"
        )
    return f_min, high
