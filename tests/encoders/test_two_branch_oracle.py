"""The layers of the two-branch network against loops in NumPy, from the description alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from tonotopy.encoders._norm_options import NormOptions
from tonotopy.encoders._same_padding import SameConv1d, SameConv2d, same_padding
from tonotopy.encoders._spectrogram_branch import SpectrogramBranch
from tonotopy.encoders._spectrum_branch import SpectrumBranch

Array = NDArray[np.float64]
KERAS = NormOptions(affine=True, momentum=0.01, eps=1e-3)


class State:
    """The tensors of a module by name, as NumPy arrays."""

    def __init__(self, module: nn.Module) -> None:
        self.tensors = {name: value.numpy() for name, value in module.state_dict().items()}

    def conv(self, x: Array, name: str, stride: int = 1) -> Array:
        """A convolution of (C, F, T) with zeros around, the extra one at the end."""
        weight = self.tensors[f"{name}.weight"]
        kernel = weight.shape[-1]
        sizes = [math.ceil(size / stride) for size in x.shape[1:]]
        out = np.zeros((len(weight), *sizes))
        starts = []
        for size, count in zip(x.shape[1:], sizes, strict=True):
            total = max((count - 1) * stride + kernel - size, 0)
            starts.append(total // 2)
        for row in range(sizes[0]):
            for column in range(sizes[1]):
                for i in range(kernel):
                    for j in range(kernel):
                        at = (row * stride + i - starts[0], column * stride + j - starts[1])
                        if 0 <= at[0] < x.shape[1] and 0 <= at[1] < x.shape[2]:
                            out[:, row, column] += weight[:, :, i, j] @ x[:, at[0], at[1]]
        return out

    def norm(self, x: Array, name: str) -> Array:
        """Trained batch normalisation over the first axis."""
        mean, variance, scale, shift = (
            self.tensors[f"{name}.{part}"].reshape(-1, *[1] * (x.ndim - 1))
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        normalised: Array = (x - mean) / np.sqrt(variance + 1e-3) * scale + shift
        return normalised

    def linear(self, x: Array, name: str) -> Array:
        product: Array = self.tensors[f"{name}.weight"] @ x
        return product

    def unit(self, x: Array, name: str, stride: int, rectify_first: bool) -> Array:
        """A residual unit; a strided one has a shortcut of its own."""
        out = self.conv(relu(x), f"{name}.conv1", stride)
        if rectify_first:
            out = self.norm(relu(out), f"{name}.norm")
        else:
            out = relu(self.norm(out, f"{name}.norm"))
        out = self.conv(out, f"{name}.conv2")
        if stride == 2:
            x = self.conv(halved(x), f"{name}.shortcut")
        return x + out


def relu(x: Array) -> Array:
    return np.maximum(x, 0.0)


def halved(x: Array) -> Array:
    """Maxima of 2 x 2 windows; at the end a window may hold less."""
    rows, columns = (math.ceil(size / 2) for size in x.shape[1:])
    out = np.empty((len(x), rows, columns))
    for i in range(rows):
        for j in range(columns):
            out[:, i, j] = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max(axis=(1, 2))
    return out


def pooled(x: Array) -> Array:
    """Maxima of whole 3 x 3 windows, two apart."""
    rows, columns = ((size - 3) // 2 + 1 for size in x.shape[1:])
    out = np.empty((len(x), rows, columns))
    for i in range(rows):
        for j in range(columns):
            out[:, i, j] = x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max(axis=(1, 2))
    return out


def trained(module: nn.Module) -> nn.Module:
    """The module in float64 with normalisations of any statistics, scales and shifts."""
    generator = torch.Generator().manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.normal_(0, 0.5, generator=generator)
            part.running_var.uniform_(0.5, 2.0, generator=generator)
            part.weight.data.normal_(1, 0.3, generator=generator)
            part.bias.data.normal_(0, 0.3, generator=generator)
    return module.double().eval()


@pytest.mark.parametrize(("bins", "frames"), [(21, 30), (26, 17), (5, 5)])
def test_the_spectrogram_branch_is_the_published_one(bins: int, frames: int) -> None:
    torch.manual_seed(1)
    branch = trained(SpectrogramBranch(bins, 6, KERAS))
    magnitudes = 3 * torch.rand(2, bins, frames, dtype=torch.float64)
    with torch.no_grad():
        got = branch(magnitudes).numpy()
    state = State(branch)
    for clip, result in zip(magnitudes.numpy(), got, strict=True):
        x = state.norm(clip - clip.mean(axis=1, keepdims=True), "input_norm")[None]
        x = pooled(relu(state.norm(state.conv(x, "conv", 2), "norm")))
        for at in range(8):
            if at > 0:
                x = state.norm(x, f"units.{2 * at - 1}")
            stride = 2 if at in (2, 4, 6) else 1
            x = state.unit(x, f"units.{2 * at}", stride, rectify_first=at == 1)
        assert x.shape[0] == 128
        vector = state.norm(x.max(axis=2).reshape(-1), "pooled_norm")
        np.testing.assert_allclose(result, state.linear(vector, "linear"), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("bins", [300, 4500, 5])
def test_the_spectrum_branch_is_the_published_one(bins: int) -> None:
    torch.manual_seed(1)
    branch = trained(SpectrumBranch(bins, 6, KERAS))
    spectra = 100 * torch.rand(2, bins, dtype=torch.float64)
    with torch.no_grad():
        got = branch(spectra).numpy()
    state = State(branch)
    for clip, result in zip(spectra.numpy(), got, strict=True):
        x = clip[None]
        for at, stride in enumerate((64, 32, 4)):
            x = relu(convolved(x, state.tensors[f"convs.{at}.weight"], stride))
        vector = x.reshape(-1)
        for at in range(4):
            vector = state.linear(vector, f"hidden.{3 * at}")
            vector = relu(state.norm(vector, f"hidden.{3 * at + 1}"))
        np.testing.assert_allclose(result, state.linear(vector, "linear"), rtol=1e-9, atol=1e-9)


def convolved(x: Array, weight: Array, stride: int) -> Array:
    """A convolution of (C, T) with zeros around, the extra one at the end."""
    kernel, count = weight.shape[-1], math.ceil(x.shape[1] / stride)
    before = max((count - 1) * stride + kernel - x.shape[1], 0) // 2
    out = np.zeros((len(weight), count))
    for at in range(count):
        for j in range(kernel):
            source = at * stride + j - before
            if 0 <= source < x.shape[1]:
                out[:, at] += weight[:, :, j] @ x[:, source]
    return out


def test_the_extra_zero_is_at_the_end() -> None:
    conv = SameConv1d(1, 1, 3, stride=2)
    conv.weight.data = torch.tensor([[[1.0, 10.0, 100.0]]])
    even = conv(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]))
    assert even.tolist() == [[[321.0, 43.0]]]
    odd = conv(torch.tensor([[[1.0, 2.0, 3.0]]]))
    assert odd.tolist() == [[[210.0, 32.0]]]


@pytest.mark.parametrize(("rows", "columns"), [(6, 6), (7, 7), (6, 7), (7, 6)])
def test_every_shape_has_its_own_padding(rows: int, columns: int) -> None:
    torch.manual_seed(1)
    conv = SameConv2d(2, 3, 3, stride=2).double()
    x = torch.randn(1, 2, rows, columns, dtype=torch.float64)
    with torch.no_grad():
        expected = State(nn.ModuleDict({"conv": conv})).conv(x[0].numpy(), "conv", 2)
        np.testing.assert_allclose(conv(x)[0].numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("size", "kernel", "stride"), [(80000, 256, 64), (9, 2, 4), (1, 16, 4)])
def test_padding_gives_the_rounded_up_number_of_windows(
    size: int, kernel: int, stride: int
) -> None:
    before, after = same_padding(size, kernel, stride)
    assert after - before in (0, 1)
    windows = (size + before + after - kernel) // stride + 1
    assert windows == math.ceil(size / stride)
