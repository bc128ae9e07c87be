"""Which layers of an encoder give something of each clip, found out by running it once or twice."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tonotopy.audio import FrontEnd
from tonotopy.encoders import Encoder, PatchEncoder

LONGEST_STRIDE = 512
"""Frames of the features to one of a layer; the clips that are tried are a multiple of it."""

SHORTER = 37
"""By how many frames a second batch is shorter, to see which axis is time."""


@dataclass(frozen=True)
class LayerReading:
    """What a layer gives for each clip.

    Args:
        channels: Length of its second axis.
        stride: Frames of the features to one of the layer; 0 where all that it gives belongs to
            the clip.
    """

    channels: int
    stride: int

    def valid(self, frames: Tensor) -> Tensor | None:
        """Give the layer's frames (B,) of clips of so many `frames` (B,) of features."""
        return (frames + self.stride - 1) // self.stride if self.stride else None

    @staticmethod
    def tensor(output: Any) -> Tensor | None:
        """Give the tensor of a layer that may give its lengths, too; None where there is none."""
        if isinstance(output, tuple) and output:
            output = output[0]
        return output if isinstance(output, Tensor) else None


@dataclass
class _Pass:
    """One batch: its clips or patches, frames of its features, and what the layers gave."""

    rows: int
    frames: int
    shapes: dict[str, list[torch.Size | None]]
    overwritten: set[str]


def readable_layers(
    encoder: Encoder, front_end: FrontEnd, seconds: float
) -> dict[str, LayerReading | str]:
    """Give every layer that runs, with what it gives, or why it cannot be read.

    A copy of the encoder runs in training mode over noise, padded as clips of several lengths are.

    Args:
        encoder: Of the model; it is not changed.
        front_end: Of the model.
        seconds: How much of a clip training sees.
    """
    if not list(encoder.children()):
        return {}
    samples = max(2, round(seconds * front_end.sample_rate))
    whole, half = (int(front_end(torch.zeros(1, n))[1][0]) for n in (samples, samples // 2))
    fixed = whole == half
    longest = whole if fixed else LONGEST_STRIDE * -(-whole // LONGEST_STRIDE)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        copied = copy.deepcopy(encoder).cpu().train()
        passes = [_run(copied, longest, fixed)]
        if not fixed:
            passes.append(_run(copied, longest - SHORTER, fixed))
    return {
        name: _read(module, name, passes, timed=not (fixed or isinstance(encoder, PatchEncoder)))
        for name, module in encoder.named_modules()
        if name and any(passes[0].shapes[name])
    }


def _run(encoder: Encoder, longest: int, fixed: bool) -> _Pass:
    features = torch.randn(3, encoder.num_bins, longest)
    frames = torch.tensor([longest] * 3 if fixed else [longest, longest * 2 // 3, longest // 2])
    rows = int(encoder.patch_counts(frames).sum()) if isinstance(encoder, PatchEncoder) else 3
    kept: list[tuple[str, Tensor, int]] = []
    shapes: dict[str, list[torch.Size | None]] = {name: [] for name, _ in encoder.named_modules()}

    def remember(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            tensor = LayerReading.tensor(output)
            shapes[name].append(None if tensor is None else tensor.shape)
            if tensor is not None:
                kept.append((name, tensor, tensor._version))

        return hook

    hooks = [m.register_forward_hook(remember(name)) for name, m in encoder.named_modules()]
    encoder(features, frames)
    for hook in hooks:
        hook.remove()
    overwritten = {name for name, tensor, version in kept if tensor._version != version}
    return _Pass(rows, longest, shapes, overwritten)


def _read(module: nn.Module, name: str, passes: list[_Pass], *, timed: bool) -> LayerReading | str:
    """Give what a layer gives, or why it cannot be read, as the end of a sentence."""
    if any(len(run.shapes[name]) != 1 for run in passes):
        return "it runs more than once for a clip"
    if isinstance(module, nn.RNNBase):
        return "a recurrent layer gives frames before channels"
    if any(name in run.overwritten for run in passes):
        return "the layer behind it overwrites what it gives: take that one"
    shapes = [shape for run in passes for shape in run.shapes[name] if shape is not None]
    if len(shapes) < len(passes) or any(len(shape) not in (2, 3, 4) for shape in shapes):
        return "it gives no vectors, sequences or images of clips"
    if any(shape[0] != run.rows for shape, run in zip(shapes, passes, strict=True)):
        return "the first axis of what it gives is not the clips"
    if len({shape[1] for shape in shapes}) > 1:
        return "the second axis of what it gives is not channels"
    if shapes[0][1] < 2:
        return "it has a single channel"
    stride = _stride(shapes, passes) if timed else 0
    if stride is None:
        return "its frames do not follow those of the features in equal steps"
    return LayerReading(shapes[0][1], stride)


def _stride(shapes: list[torch.Size], passes: list[_Pass]) -> int | None:
    """Give the frames of the features to one of the layer, 0 without time; None where unclear."""
    if len(shapes[0]) == 2 or all(shape[-1] == 1 for shape in shapes):
        return 0
    stride, rest = divmod(passes[0].frames, shapes[0][-1])
    fits = all(
        -(-run.frames // max(stride, 1)) == shape[-1]
        for shape, run in zip(shapes, passes, strict=True)
    )
    return stride if stride and not rest and fits else None
