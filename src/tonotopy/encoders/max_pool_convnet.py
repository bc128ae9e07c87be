"""The convolutional network of the hybrid losses paper."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from tonotopy.encoders._masking import (
    as_image,
    batch_norm,
    channels_last,
    max_over_frames,
    strided,
    zero_padding,
)
from tonotopy.encoders.encoder import Encoder

BLOCKS = 4


class MaxPoolConvNet(Encoder):
    """Embed clips with four convolutions, each followed by 2 x 2 max pooling.

    Four times a 3 x 3 convolution, batch normalisation, ReLU and 2 x 2 max pooling; the maximum
    over time, all channels and bins side by side, and a linear layer. Time and bins shrink by 16.

    Source: the public code of Tian, Lattner, McFee and Saitis, "Hybrid Losses for Hierarchical
    Embedding Learning", ICASSP 2025, which drops partial windows where this keeps them, so that
    clips of a few frames can be embedded, too.

    Args:
        num_bins: Height F of the features, such as mel bands.
        embedding_dim: Length D of the embedding.
        width: Channels of every convolution.

    Examples:
        >>> import torch
        >>> encoder = MaxPoolConvNet(num_bins=128).eval()
        >>> encoder(torch.randn(2, 128, 87), torch.tensor([87, 30])).shape
        torch.Size([2, 256])
        >>> sum(p.numel() for p in encoder.parameters())
        707456
    """

    def __init__(self, num_bins: int, embedding_dim: int = 256, width: int = 128) -> None:
        super().__init__(num_bins, embedding_dim)
        before = [1] + [width] * (BLOCKS - 1)
        self.convs = nn.ModuleList(nn.Conv2d(size, width, 3, padding=1) for size in before)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in before)
        self.linear = nn.Linear(width * math.ceil(num_bins / 2**BLOCKS), embedding_dim)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """See `Encoder.forward`."""
        image, lengths = as_image(features, lengths, self.num_bins)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            image = batch_norm(norm, channels_last(conv(image)), lengths).relu()
            # Zeros of the padding are below nothing that ReLU gives.
            image = F.max_pool2d(zero_padding(image, lengths), 2, ceil_mode=True)
            lengths = strided(lengths, 2)
        pooled = max_over_frames(image.flatten(1, 2), lengths)
        embeddings: Tensor = self.linear(pooled)
        return embeddings
