"""ResNet-18 for one-channel features."""

from __future__ import annotations

from torch import Tensor, nn

from tonotopy.encoders._masking import (
    BinNorm,
    as_image,
    batch_norm,
    channels_last,
    mean_over_frames,
    strided,
    zero_padding,
)
from tonotopy.encoders.encoder import Encoder


class ResNet18(Encoder):
    """Embed clips with an 18-layer residual network and a global average, D = 8 · width.

    The encoder of the angular distance distribution experiments (Almudévar et al. 2024), there
    with 128 mel bands, `width=64` and so D = 512. Time and bins shrink by 32.

    Source: He et al., "Deep Residual Learning for Image Recognition", 2016, table 1; one input
    channel instead of three.

    Args:
        num_bins: Height F of the features.
        width: Channels of the first stage; the others have 2, 4 and 8 times as many. 64 is the
            published network (11.2 M parameters); 16 trains on a CPU (0.7 M).

    Examples:
        >>> import torch
        >>> encoder = ResNet18(num_bins=64, width=16).eval()
        >>> encoder(torch.randn(2, 64, 100), torch.tensor([100, 37])).shape
        torch.Size([2, 128])
    """

    def __init__(self, num_bins: int, width: int = 64) -> None:
        super().__init__(num_bins, embedding_dim=8 * width)
        self.input_norm = BinNorm(num_bins)
        self.conv = nn.Conv2d(1, width, 7, stride=2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.blocks = residual_blocks(width)
        initialise_convolutions(self)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """See `Encoder.forward`."""
        image, lengths = as_image(features, lengths, self.num_bins)
        image = self.input_norm(image, lengths)
        image, lengths = channels_last(self.conv(image)), strided(lengths, 2)
        image = zero_padding(self.relu(batch_norm(self.norm, image, lengths)), lengths)
        # Zero padding is as good as none for a maximum over values that are not negative.
        image, lengths = self.pool(image), strided(lengths, 2)
        image = zero_padding(image, lengths)
        for block in self.blocks:
            image, lengths = block(image, lengths)
        return mean_over_frames(image.mean(dim=2), lengths)


def residual_blocks(width: int) -> nn.ModuleList:
    """Make the four stages of two blocks, with `width`, 2, 4 and 8 times `width` channels."""
    channels = [width, width, 2 * width, 4 * width, 8 * width]
    blocks = nn.ModuleList()
    for stage in range(4):
        before, after = channels[stage], channels[stage + 1]
        blocks.append(_ResidualBlock(before, after, stride=1 if stage == 0 else 2))
        blocks.append(_ResidualBlock(after, after, stride=1))
    return blocks


def initialise_convolutions(network: nn.Module) -> None:
    """Draw the weights of all convolutions as He et al. (2015) do for ReLU, by fan-out."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class _ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (He et al. 2016, figure 2)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Conv2d | None = None
        if stride != 1 or before != after:
            self.shortcut = nn.Conv2d(before, after, 1, stride=stride, bias=False)
            self.shortcut_norm = nn.BatchNorm2d(after)

    def forward(self, image: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Map (B, before, F, T) to (B, after, ⌈F/stride⌉, ⌈T/stride⌉) and its lengths."""
        lengths = strided(lengths, self.stride)
        out = self.relu(batch_norm(self.norm1, self.conv1(image), lengths))
        out = batch_norm(self.norm2, self.conv2(zero_padding(out, lengths)), lengths)
        if self.shortcut is not None:
            image = batch_norm(self.shortcut_norm, self.shortcut(image), lengths)
        return zero_padding(self.relu(out + image), lengths), lengths
