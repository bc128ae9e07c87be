"""Losses on what a layer inside the encoder gives, read while the encoder runs."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.audio import FrontEnd
from tonotopy.encoders import Encoder, PatchEncoder
from tonotopy.losses import Loss, WeightedSumLoss
from tonotopy.training._layer_reading import LayerReading, readable_layers
from tonotopy.training.config import FitConfig
from tonotopy.training.intermediate_options import Pooling


class IntermediateLosses(nn.Module):
    """Embed a batch and give, beside the embeddings, one vector a clip of an inner layer.

    The layer is read by a hook that is there while the encoder runs and no longer, so neither the
    encoder nor the saved model knows of it.

    Args:
        layer: Dotted name of a module of the encoder.
        reading: What the layer gives.
        pooling: Over time and bins.
        losses: Name to loss over the vectors, `reading.channels` long.
        weights: Name to weight; 1 where not given.
    """

    def __init__(
        self,
        layer: str,
        reading: LayerReading,
        pooling: Pooling,
        losses: Mapping[str, Loss],
        weights: Mapping[str, float],
    ) -> None:
        super().__init__()
        self.layer = layer
        self.reading = reading
        self.pooling: Pooling = pooling
        self.loss = WeightedSumLoss(losses, weights)

    def encode(self, encoder: Encoder, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Run the encoder and read the layer.

        Args:
            encoder: The network that the layer is of.
            features: (B, F, T).
            frames: (B,) valid frames.

        Returns:
            The embeddings (B, D) and the layer's vectors (B, C).
        """
        outputs: list[Any] = []
        hook = encoder.get_submodule(self.layer).register_forward_hook(
            lambda _module, _inputs, output: outputs.append(output)
        )
        try:
            embeddings: Tensor = encoder(features, frames)
        finally:
            hook.remove()
        if not outputs:  # an encoder of patches does not run for a batch of no clip
            return embeddings, features.new_zeros(0, self.reading.channels)
        output = self.reading.tensor(outputs[0])
        assert output is not None, "the layer was found to give a tensor"
        if isinstance(encoder, PatchEncoder):
            vectors = pool_layer(output, None, self.pooling)
            return embeddings, encoder.average_patches(vectors, frames)
        return embeddings, pool_layer(output, self.reading.valid(frames), self.pooling)


def pool_layer(output: Tensor, valid: Tensor | None, pooling: Pooling) -> Tensor:
    """Pool a layer's output over everything but clips and channels.

    Args:
        output: (B, C), (B, C, T) or (B, C, F, T).
        valid: (B,) frames that belong to each clip; None where all do.
        pooling: The largest value, or the mean, of those frames.

    Returns:
        (B, C).
    """
    if output.ndim == 2:
        return output
    image = output if output.ndim == 4 else output.unsqueeze(2)
    if valid is None:
        return image.amax(dim=(2, 3)) if pooling == "max" else image.mean(dim=(2, 3))
    padding = torch.arange(image.shape[-1], device=image.device) >= valid.to(image.device)[:, None]
    padding = padding[:, None, None]
    if pooling == "max":
        return image.masked_fill(padding, -math.inf).amax(dim=(2, 3))
    count = (valid.to(image.device) * image.shape[2])[:, None]
    return image.masked_fill(padding, 0.0).sum(dim=(2, 3)) / count


def intermediate_losses(
    config: FitConfig,
    front_end: FrontEnd,
    encoder: Encoder,
    build_losses: Callable[[int], dict[str, Loss]],
    *,
    num_classes: int,
    seconds: float,
) -> IntermediateLosses | None:
    """Make the losses that the configuration wants on an inner layer; None where it wants none.

    Args:
        config: With `intermediate`.
        front_end: Of the model.
        encoder: Of the model.
        build_losses: Makes the losses when told the length of the vectors.
        num_classes: Of soft labels, for mixup.
        seconds: How much of a clip training sees.

    Raises:
        UsageError: The layer does not exist or cannot be read, which the message explains; or the
            labels of mixed clips are nothing for one of the losses.
    """
    options = config.intermediate
    if options.layer is None:
        return None
    reading = _find(encoder, front_end, options.layer, seconds)
    losses = build_losses(reading.channels)
    if config.mixup_alpha:
        for name, loss in losses.items():
            _check_soft_labels(name, loss, reading.channels, num_classes)
    weights = {name: config.loss_weights[name] for name in losses if name in config.loss_weights}
    return IntermediateLosses(options.layer, reading, options.pooling, losses, weights)


def _find(encoder: Encoder, front_end: FrontEnd, layer: str, seconds: float) -> LayerReading:
    name = type(encoder).__name__
    layers = readable_layers(encoder, front_end, seconds)
    usable = [at for at, reading in layers.items() if isinstance(reading, LayerReading)]
    there = f"it has: {', '.join(usable)}" if usable else "none of its layers can be"
    found = layers.get(layer)
    if found is None:
        raise UsageError(f"--intermediate.layer: {name} has no layer {layer!r} to be read; {there}")
    if isinstance(found, str):
        raise UsageError(
            f"--intermediate.layer: {layer!r} of {name} cannot be read, since {found}; {there}"
        )
    return found


def _check_soft_labels(name: str, loss: Loss, channels: int, num_classes: int) -> None:
    """Refuse a loss that would take a mixture for the larger of its parts, or would not run."""
    halves = torch.full((2, num_classes), 1.0 / num_classes)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            copy.deepcopy(loss)(torch.eye(2, channels), halves)
    except (UserWarning, UsageError) as error:
        raise UsageError(
            f"--mixup_alpha gives mixed clips the labels of both, which --intermediate.losses "
            f"{name} cannot use ({error}); set it to 0"
        ) from error
