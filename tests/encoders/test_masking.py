"""Masked layers against loops over single clips."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tonotopy.encoders._masking import (
    average_pool,
    batch_norm,
    max_over_frames,
    mean_over_frames,
    strided,
    zero_padding,
)

LENGTHS = torch.tensor([9, 1, 4])


def image(fill: float = 0.0) -> Tensor:
    x = torch.randn(3, 2, 5, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for row, length in zip(x, LENGTHS.tolist(), strict=True):
        row[..., length:] = fill
    return x


def test_batch_norm_counts_valid_frames_only() -> None:
    norm = nn.BatchNorm2d(2, dtype=torch.float64)
    out = batch_norm(norm, image(fill=1e6), LENGTHS)
    pairs = list(zip(image(), LENGTHS.tolist(), strict=True))
    valid = torch.cat([x[..., :length].flatten(1) for x, length in pairs], dim=1)
    mean, variance = valid.mean(1), valid.var(1, correction=0)
    for got, (x, length) in zip(out, pairs, strict=True):
        expected = (x[..., :length] - mean[:, None, None]) / (variance + norm.eps)[
            :, None, None
        ].sqrt()
        torch.testing.assert_close(got[..., :length], expected)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    torch.testing.assert_close(norm.running_mean, 0.1 * mean)
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * valid.var(1))


@pytest.mark.parametrize("kernel", [(2, 2), (2, 1), (1, 4), (3, 3)])
def test_average_pool_of_partial_windows(kernel: tuple[int, int]) -> None:
    out = average_pool(image(), LENGTHS, kernel)
    ends = strided(LENGTHS, kernel[1])
    assert ends is not None
    for got, x, length, end in zip(out, image(), LENGTHS.tolist(), ends.tolist(), strict=True):
        for row in range(got.shape[1]):
            for column in range(got.shape[2]):
                window = x[
                    :,
                    row * kernel[0] : (row + 1) * kernel[0],
                    column * kernel[1] : min(length, (column + 1) * kernel[1]),
                ]
                expected = window.mean((1, 2)) if column < end else torch.zeros(2).double()
                torch.testing.assert_close(got[:, row, column], expected)


def test_pooling_over_frames_ignores_padding() -> None:
    sequence = image().mean(2) - 5.0
    means = mean_over_frames(zero_padding(sequence[:, :, None], LENGTHS)[:, :, 0], LENGTHS)
    maxima = max_over_frames(sequence, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        valid = sequence[row, :, :length]
        torch.testing.assert_close(means[row], valid.mean(1))
        torch.testing.assert_close(maxima[row], valid.amax(1))


def test_zero_padding_removes_what_is_not_a_number() -> None:
    out = zero_padding(image(fill=float("nan")), LENGTHS)
    torch.testing.assert_close(out, image())
    assert zero_padding(out, None) is out


def test_strided_lengths_match_a_strided_convolution() -> None:
    lengths = torch.arange(1, 20)
    got = strided(lengths, 2)
    assert got is not None
    conv = nn.Conv1d(1, 1, 3, stride=2, padding=1)
    assert got.tolist() == [conv(torch.zeros(1, 1, int(n))).shape[-1] for n in lengths]
    assert strided(None, 2) is None
