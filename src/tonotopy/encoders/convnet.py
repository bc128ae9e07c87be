"""Small convolutional network, the default on a CPU."""

from __future__ import annotations

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
    """Embed clips with five convolutions that spend their time on fine resolution.

    A 5 x 5 convolution of stride 2 and four 3 x 3 convolutions with average pooling between them.
    Bins are averaged, time is pooled by mean plus maximum (so that both lasting and short sounds
    count), and a linear layer makes the embedding. Time and bins shrink by 16.

    Source: the pooling is that of Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks
    for Audio Pattern Recognition", 2020, section II; the layers are our own.

    Args:
        num_bins: Height F of the features.
        embedding_dim: Length D of the embedding.
        width: Channels of the first two layers; the others have 2, 4 and 8 times as many.
        dropout: Probability of dropping a pooled channel before the last layer, 0..1.

    Examples:
        >>> import torch
        >>> encoder = ConvNet(num_bins=64).eval()
        >>> encoder(torch.randn(2, 64, 100), torch.tensor([100, 37])).shape
        torch.Size([2, 128])
    """

    def __init__(
        self, num_bins: int, embedding_dim: int = 128, width: int = 24, dropout: float = 0.2
    ) -> None:
        super().__init__(num_bins, embedding_dim)
        self.input_norm = BinNorm(num_bins)
        self.stem = _ConvLayer(1, width, kernel=5, stride=2)
        self.layers = nn.ModuleList(
            [
                _ConvLayer(width, width),
                _ConvLayer(width, 2 * width),
                _ConvLayer(2 * width, 4 * width),
                _ConvLayer(4 * width, 8 * width),
            ]
        )
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(8 * width, embedding_dim)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """See `Encoder.forward`."""
        image, lengths = as_image(features, lengths, self.num_bins)
        image, lengths = self.stem(self.input_norm(image, lengths), lengths)
        for index, layer in enumerate(self.layers):
            if index > 0:
                image, lengths = average_pool(image, lengths, (2, 2)), strided(lengths, 2)
            image, lengths = layer(image, lengths)
        sequence = image.mean(dim=2)
        pooled = mean_over_frames(sequence, lengths) + max_over_frames(sequence, lengths)
        embeddings: Tensor = self.linear(self.dropout(pooled))
        return embeddings


class _ConvLayer(nn.Module):
    """Convolution, normalisation and ReLU."""

    def __init__(self, before: int, after: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, image: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Map (B, before, F, T) to (B, after, ⌈F/stride⌉, ⌈T/stride⌉) and its lengths."""
        image, lengths = channels_last(self.conv(image)), strided(lengths, self.stride)
        image = self.relu(batch_norm(self.norm, image, lengths))
        return zero_padding(image, lengths), lengths
