"""What losses on an inner layer of the encoder can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tonotopy._components import Component
from tonotopy._errors import UsageError

Pooling = Literal["max", "mean"]


@dataclass(frozen=True)
class IntermediateOptions:
    """Further losses, on what a layer inside the encoder gives.

    They are added to those on the embeddings, each times its `loss_weights`, and logged as
    `train/NAME`. They only train: the saved model, its validation and `val/loss` know nothing of
    them. For the tasks `classes` and `tree`.

    Args:
        layer: Dotted name of a module of the encoder, as `encoder.named_modules()` lists them; a
            wrong one gets the list of those that can be read. Of a convolution take its raw
            output, before normalisation and activation, as in `layers.3.conv` of `ConvNet` or
            `convs.2` of `PatchConvNet`.
        pooling: `max` or `mean` over time and bins, which leaves one number a channel. Frames
            beyond the end of a clip never count. In an encoder of patches it is taken over each
            patch, and averaged over the patches of a clip.
        losses: Name to loss, each over these vectors and the labels of the clips. Not names of
            losses on the embeddings.
    """

    layer: str | None = None
    pooling: Pooling = "max"
    losses: dict[str, Component] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.layer is None) != (not self.losses):
            raise UsageError(
                "--intermediate.layer and --intermediate.losses go together: the layer that is "
                "read, and what is made of it"
            )
