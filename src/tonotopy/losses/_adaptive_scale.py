"""The scale of an angular softmax: from the number of classes, or from each batch."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor

from tonotopy.geometry.angular_heads import AngularHead
from tonotopy.losses._base import ClassifierLoss, check_choice
from tonotopy.losses._targets import class_weights

ScaleMode = Literal["fixed", "released", "safe"]
"""As it starts; updated from each batch as in the authors' code; or from what is not the right
class alone, which cannot feed on itself."""

LOWEST = 0.5
"""Below, all classes are about equally likely whatever the embedding."""

HIGHEST = 4.0
"""Times the first scale: beyond, the update has run away."""


def fixed_scale(vectors: int) -> float:
    """Give sqrt(2) · log(vectors - 1), at least 0.5.

    With it the probability of the right class is steepest in the angle at about 45 degrees.

    Args:
        vectors: Centres or sub-centres of all classes.
    """
    return max(math.sqrt(2.0) * math.log(max(vectors - 1, 1)), LOWEST)


def adapted_scale(log_mass: Tensor, angles: Tensor, labelled: Tensor) -> Tensor:
    """Give log(mean of e^log_mass) / cos(min(pi / 4, median angle)) over labelled clips.

    Args:
        log_mass: (B,) logarithm of what the classes weigh that a clip competes with.
        angles: (B,) angles between clips and their classes, in radians.
        labelled: (B,) bool.

    Returns:
        Scalar; not finite where nothing is labelled.
    """
    total = log_mass.masked_fill(~labelled, -torch.inf).logsumexp(dim=0)
    median = masked_median(angles, labelled)
    return (total - labelled.sum().to(total.dtype).log()) / median.clamp_max(math.pi / 4).cos()


def masked_median(values: Tensor, chosen: Tensor) -> Tensor:
    """Give the median of chosen values: the mean of the two middle ones.

    Args:
        values: (B,) floats.
        chosen: (B,) bool.

    Returns:
        Scalar; infinite where nothing is chosen.

    Examples:
        >>> values = torch.tensor([3.0, 9.0, 1.0, 2.0, 4.0])
        >>> masked_median(values, values < 9).item()
        2.5
    """
    infinity = values.new_full((1,), torch.inf)
    ordered = torch.cat([values.masked_fill(~chosen, torch.inf), infinity]).sort().values
    count = chosen.sum()
    middle = torch.stack([(count - 1).clamp_min(0) // 2, count // 2])
    return ordered[middle].mean()


def angles_of(cosines: Tensor) -> Tensor:
    """Give arccos of cosines, for statistics: its slope is not bounded."""
    return cosines.clamp(-1.0, 1.0).acos()


class AdaptiveScaleLoss(ClassifierLoss):
    """A softmax whose scale may follow the batches.

    The scale is a buffer of the head, so checkpoints keep it. It gets no gradient, changes in
    training mode only, and is kept within [0.5, 4 times the first]; the first time that a batch
    asks for more, a warning says so.

    Args:
        classifier: Becomes the model's classifier after training.
        scale_mode: See `ScaleMode`.
    """

    classifier: AngularHead

    def __init__(self, classifier: AngularHead, scale_mode: ScaleMode) -> None:
        check_choice("scale_mode", scale_mode, ScaleMode)
        super().__init__(classifier)
        self.scale_mode: ScaleMode = scale_mode
        # The update is a statistic of the global batch; processes would drift apart without it.
        self.kind = "sample" if scale_mode == "fixed" else "batch"
        self._highest = HIGHEST * float(classifier.scale)
        self._warned = False

    @abstractmethod
    def next_scale(self, cosines: Tensor, weights: Tensor, scale: Tensor) -> Tensor:
        """Give the scale that a batch asks for.

        Args:
            cosines: (B, C, S) cosines.
            weights: (B, C) target rows; a row of zeros is ignored.
            scale: Scalar; that of the step before.
        """

    def step_scale(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Give the scale of this step, in training after its update."""
        scale = self.classifier.scale
        if self.training and self.scale_mode != "fixed":
            with torch.no_grad():
                self._update(embeddings, labels)
        # Not the buffer itself: the next update would overwrite what the backward pass needs.
        return scale.to(embeddings.dtype, copy=True)

    def _update(self, embeddings: Tensor, labels: Tensor) -> None:
        scale = self.classifier.scale
        weights = class_weights(labels, self.classifier.num_classes, embeddings.dtype)
        cosines = self.classifier.cosines(embeddings)
        asked = self.next_scale(cosines, weights, scale.to(embeddings.dtype))
        allowed = asked.clamp(LOWEST, self._highest)
        some = (weights > 0).any()
        scale.copy_(torch.where(some, allowed, scale.to(allowed.dtype)))
        if not torch.compiler.is_compiling() and not self._warned:
            self._warn_if((some & (asked != allowed)).item() is True, asked)

    def _warn_if(self, clamped: bool, asked: Tensor) -> None:
        if clamped:
            self._warned = True
            warnings.warn(
                f"{type(self).__name__} keeps its scale within [{LOWEST:g}, {self._highest:.3g}], "
                f"but the batch asks for {asked.item():.3g}; watch the term 'scale', and if it "
                "stays at a bound, use a fixed scale or mixup",
                stacklevel=2,
            )
