"""Small convolutional network, the default on a CPU."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from tonotopy.encoders._masking import (
    BinNorm,
    as_image,
    average_pool,
    batch_norm,
    channels_last,
    max_over_frames,
    mean_over_frames,
    strided,
    zero_padding,
)
from tonotopy.encoders.encoder import Encoder


class ConvNet(Encoder):
    """Embed clips with four blocks of two convolutions each.

    A small relative of the CNN10 of Kong et al., "PANNs: Large-Scale Pretrained Audio Neural
    Networks for Audio Pattern Recognition", 2020, section II: bins are averaged at the end, time is
    pooled by mean plus maximum, and a linear layer makes the embedding.

    Args:
        num_bins: Height F of the features.
        embedding_dim: Length D of the embedding.
        width: Channels of the first block; the others have 2, 4 and 8 times as many.
        dropout: Probability of dropping a pooled channel before the last layer, 0..1.

    Example:
        >>> import torch
        >>> encoder = ConvNet(num_bins=64).eval()
        >>> encoder(torch.randn(2, 64, 100), torch.tensor([100, 37])).shape
        torch.Size([2, 128])
    """

    def __init__(
        self, num_bins: int, embedding_dim: int = 128, width: int = 16, dropout: float = 0.2
    ) -> None:
        super().__init__(num_bins, embedding_dim)
        self.input_norm = BinNorm(num_bins)
        channels = [1, width, 2 * width, 4 * width, 8 * width]
        self.blocks = nn.ModuleList(
            _ConvBlock(before, after) for before, after in itertools.pairwise(channels)
        )
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(8 * width, embedding_dim)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """See `Encoder.forward`."""
        image, lengths = as_image(features, lengths, self.num_bins)
        image = self.input_norm(image, lengths)
        for block in self.blocks:
            image, lengths = block(image, lengths)
        sequence = image.mean(dim=2)
        pooled = mean_over_frames(sequence, lengths) + max_over_frames(sequence, lengths)
        embeddings: Tensor = self.linear(self.dropout(pooled))
        return embeddings


class _ConvBlock(nn.Module):
    """Twice a 3 x 3 convolution, normalisation and ReLU, then average pooling by 2 x 2."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, image: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Map (B, before, F, T) to (B, after, ⌈F/2⌉, ⌈T/2⌉) and its lengths."""
        out = self.relu(batch_norm(self.norm1, channels_last(self.conv1(image)), lengths))
        out = self.conv2(zero_padding(out, lengths))
        out = zero_padding(self.relu(batch_norm(self.norm2, out, lengths)), lengths)
        return average_pool(out, lengths, (2, 2)), strided(lengths, 2)
