"""Bias-free convolutions that are padded as Keras pads them for `padding="same"`.

PyTorch pads alike on both sides, which for a stride above one shifts every window against those of
the published network.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Give the zeros before and after an axis so that a convolution yields ⌈size / stride⌉ values.

    Args:
        size: Length of the axis.
        kernel: Length of the window.
        stride: From window to window.

    Returns:
        The zeros before and after; of an odd number the extra one is at the end.
    """
    windows = -(-size // stride)
    total = max((windows - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class SameConv1d(nn.Conv1d):
    """A convolution of sequences (B, before, T) to (B, after, ⌈T / stride⌉)."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1) -> None:
        super().__init__(before, after, kernel, stride=stride, bias=False)

    def forward(self, sequence: Tensor) -> Tensor:
        """Pad and convolve."""
        padding = same_padding(sequence.shape[-1], self.kernel_size[0], self.stride[0])
        return super().forward(F.pad(sequence, padding))


class SameConv2d(nn.Conv2d):
    """A convolution of images (B, before, F, T) to (B, after, ⌈F / stride⌉, ⌈T / stride⌉)."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1) -> None:
        super().__init__(before, after, kernel, stride=stride, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """Pad and convolve."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        rows, columns = (same_padding(size, kernel, stride) for size in image.shape[-2:])
        if rows[0] == rows[1] and columns[0] == columns[1]:
            # The convolution's own padding saves a copy of the image.
            return F.conv2d(image, self.weight, stride=stride, padding=(rows[0], columns[0]))
        return super().forward(F.pad(image, (*columns, *rows)))
