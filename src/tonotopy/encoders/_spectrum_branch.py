"""The branch of `TwoBranchNet` that reads the spectrum of the whole clip."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tonotopy.encoders._norm_options import NormOptions
from tonotopy.encoders._same_padding import SameConv1d

_CHANNELS = 128
_KERNELS_AND_STRIDES = ((256, 64), (64, 32), (16, 4))
_HIDDEN_LAYERS = 4


class SpectrumBranch(nn.Module):
    """Embed spectra with three strided convolutions and five linear layers.

    Everything is in float32, also under autocast: the spectrum of a tone is as large as half the
    number of samples, which float16 cannot hold.

    Args:
        num_bins: Length K of a spectrum.
        embedding_dim: Length D of the branch's embedding.
        norms: How the normalisations are made.
    """

    def __init__(self, num_bins: int, embedding_dim: int, norms: NormOptions) -> None:
        super().__init__()
        self.convs = nn.ModuleList()
        channels, length = 1, num_bins
        for kernel, stride in _KERNELS_AND_STRIDES:
            self.convs.append(SameConv1d(channels, _CHANNELS, kernel, stride))
            channels, length = _CHANNELS, -(-length // stride)
        self.hidden = nn.Sequential()
        size = channels * length
        for _ in range(_HIDDEN_LAYERS):
            self.hidden.append(nn.Linear(size, _CHANNELS, bias=False))
            self.hidden.append(norms.vectors(_CHANNELS))
            self.hidden.append(nn.ReLU(inplace=True))
            size = _CHANNELS
        self.linear = nn.Linear(size, embedding_dim, bias=False)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Map (B, K) magnitudes to (B, D)."""
        with torch.autocast(spectrum.device.type, enabled=False):
            sequence = spectrum[:, None]
            for conv in self.convs:
                sequence = conv(sequence).relu_()
            embeddings: Tensor = self.linear(self.hidden(sequence.flatten(1)))
            return embeddings
