"""Convolutional recurrent network for one-channel features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tonotopy.encoders._masking import (
    BinNorm,
    as_image,
    average_pool,
    batch_norm,
    channels_last,
    mean_over_frames,
    strided,
    zero_padding,
)
from tonotopy.encoders.encoder import Encoder

_CHANNELS = (16, 32, 64, 128, 128, 128, 128)
_TIME_STRIDES = (2, 2, 1, 1, 1, 1, 1)


class CRNN(Encoder):
    """Embed clips with seven gated convolutions and a bidirectional GRU, averaged over time.

    The recurrent encoder of the angular distance distribution experiments (Almudévar et al. 2024),
    there with 128 mel bands. Every block halves the bins, so 128 of them shrink to one; the first
    two also halve time. Bins that are left after the last block are averaged.

    Source: the network of the DCASE 2020 challenge, task 4 (Turpault et al. 2019).

    Args:
        num_bins: Height F of the features.
        hidden_size: Units of the GRU in each direction; D = 2 · hidden_size.
        dropout: Probability of dropping an activation after each block, 0..1.

    Examples:
        >>> import torch
        >>> encoder = CRNN(num_bins=64).eval()
        >>> encoder(torch.randn(2, 64, 100), torch.tensor([100, 37])).shape
        torch.Size([2, 256])
    """

    def __init__(self, num_bins: int, hidden_size: int = 128, dropout: float = 0.5) -> None:
        super().__init__(num_bins, embedding_dim=2 * hidden_size)
        self.input_norm = BinNorm(num_bins)
        befores = (1, *_CHANNELS[:-1])
        self.blocks = nn.ModuleList(
            _GatedBlock(before, after, time_stride, dropout)
            for before, after, time_stride in zip(befores, _CHANNELS, _TIME_STRIDES, strict=True)
        )
        self.gru = nn.GRU(
            _CHANNELS[-1], hidden_size, num_layers=2, bidirectional=True, batch_first=True
        )

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """See `Encoder.forward`."""
        image, lengths = as_image(features, lengths, self.num_bins)
        image = self.input_norm(image, lengths)
        for block in self.blocks:
            image, lengths = block(image, lengths)
        sequence = self._recur(image.mean(dim=2).transpose(1, 2), lengths)
        return mean_over_frames(sequence.transpose(1, 2), lengths)

    def _recur(self, sequence: Tensor, lengths: Tensor | None) -> Tensor:
        """Run the GRU over (B, T, C), each clip from its own last frame backwards."""
        if lengths is None:
            out: Tensor = self.gru(sequence)[0]
            return out
        packed = pack_padded_sequence(
            sequence, lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        return pad_packed_sequence(
            self.gru(packed)[0], batch_first=True, total_length=sequence.shape[1]
        )[0]


class _GatedBlock(nn.Module):
    """3 x 3 convolution, normalisation, gate, dropout and average pooling."""

    def __init__(self, before: int, after: int, time_stride: int, dropout: float) -> None:
        super().__init__()
        self.time_stride = time_stride
        # No bias before a normalisation, which would take it away again.
        self.conv = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(after)
        self.linear = nn.Conv2d(after, after, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, image: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Map (B, before, F, T) to (B, after, ⌈F/2⌉, ⌈T/time_stride⌉) and its lengths."""
        out = batch_norm(self.norm, channels_last(self.conv(image)), lengths)
        # The challenge's gate: a linear map of the channels times the sigmoid of its own input.
        out = zero_padding(self.linear(out) * torch.sigmoid(out), lengths)
        out = average_pool(self.dropout(out), lengths, (2, self.time_stride))
        return out, strided(lengths, self.time_stride)
