"""The branch of `TwoBranchNet` that reads the magnitude spectrogram."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from tonotopy.encoders._masking import channels_last
from tonotopy.encoders._norm_options import NormOptions
from tonotopy.encoders._same_padding import SameConv2d

_STAGES = (16, 32, 64, 128)
SHORTEST_AXIS = 5
"""Bins and frames that the first pooling needs: 5, halved by the convolution to its window of 3."""


class SpectrogramBranch(nn.Module):
    """Embed magnitude spectrograms with eight residual units and a maximum over time.

    The mean of each bin over the clip is subtracted first, so that what never changes in a clip,
    such as the response of the microphone to a lasting hum, does not count.

    Args:
        num_bins: Height F of the spectrograms, at least `SHORTEST_AXIS`.
        embedding_dim: Length D of the branch's embedding.
        norms: How the normalisations are made.
    """

    def __init__(self, num_bins: int, embedding_dim: int, norms: NormOptions) -> None:
        super().__init__()
        self.input_norm = norms.vectors(num_bins)
        self.conv = SameConv2d(1, _STAGES[0], 7, stride=2)
        self.norm = norms.images(_STAGES[0])
        self.pool = nn.MaxPool2d(3, stride=2)
        self.units = nn.Sequential(
            _ResidualUnit(_STAGES[0], _STAGES[0], norms),
            norms.images(_STAGES[0]),
            _ResidualUnit(_STAGES[0], _STAGES[0], norms, rectify_first=True),
        )
        rows = (-(-num_bins // 2) - 3) // 2 + 1
        for before, after in pairwise(_STAGES):
            self.units.append(norms.images(before))
            self.units.append(_ResidualUnit(before, after, norms, stride=2))
            self.units.append(norms.images(after))
            self.units.append(_ResidualUnit(after, after, norms))
            rows = -(-rows // 2)
        self.pooled_norm = norms.vectors(_STAGES[-1] * rows)
        self.linear = nn.Linear(_STAGES[-1] * rows, embedding_dim, bias=False)

    def forward(self, magnitudes: Tensor) -> Tensor:
        """Map (B, F, T) magnitudes to (B, D)."""
        changes = magnitudes - magnitudes.mean(dim=-1, keepdim=True)
        image = channels_last(self.conv(self.input_norm(changes)[:, None]))
        # ReLU behind the pooling gives the same and has a quarter of the values to do.
        image = self.units(self.pool(self.norm(image)).relu_())
        embeddings: Tensor = self.linear(self.pooled_norm(image.amax(dim=-1).flatten(1)))
        return embeddings


class _ResidualUnit(nn.Module):
    """Add two 3 x 3 convolutions of a rectified image to the image itself.

    Args:
        before: Channels of the input.
        after: Channels of the output.
        norms: How the normalisation is made.
        stride: Of the first convolution; the shortcut is pooled by as much.
        rectify_first: Whether ReLU stands before the normalisation, not behind it.
    """

    def __init__(
        self,
        before: int,
        after: int,
        norms: NormOptions,
        *,
        stride: int = 1,
        rectify_first: bool = False,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.rectify_first = rectify_first
        self.conv1 = SameConv2d(before, after, 3, stride)
        self.norm = norms.images(after)
        self.conv2 = SameConv2d(after, after, 3)
        self.shortcut = SameConv2d(before, after, 1) if before != after else None

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, before, F, T) to (B, after, ⌈F / stride⌉, ⌈T / stride⌉)."""
        out = self.conv1(image.relu())
        out = self.norm(out.relu_()) if self.rectify_first else self.norm(out).relu_()
        if self.shortcut is not None:
            # Keras pads a pooling with what is below every value, so partial windows stay.
            image = self.shortcut(F.max_pool2d(image, self.stride, ceil_mode=True))
        total: Tensor = image + self.conv2(out)
        return total
