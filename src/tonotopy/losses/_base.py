"""The contract of a loss: shapes, precision and named terms, in one place for all of them."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.geometry import Head
from tonotopy.losses._targets import class_ids

LossKind = Literal["sample", "batch"]
"""A mean over samples, or a quantity of the whole batch."""

Terms = dict[str, Tensor]


class Loss(nn.Module, ABC):
    """A scalar to minimise over embeddings and what is known about them.

    A subclass declares `kind` and writes `compute`. `forward` has checked the shapes, left
    autocast and raised half precision to float32 before it is called.

    Attributes:
        kind: `"sample"` if the loss is a mean over samples, so that the gradients of N processes
            may be averaged; `"batch"` if it needs the embeddings of the global batch, which must
            then be gathered with their gradient.
    """

    kind: LossKind = "sample"

    def __init__(self) -> None:
        super().__init__()
        self._terms: Terms = {}

    @property
    def head(self) -> Head | None:
        """The classifier that the loss trains, or None."""
        return None

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Give the loss of a batch.

        Args:
            embeddings: (B, D) floats, not normalised. Half precision is raised to float32.
            labels: (B,) int class ids, -1 = ignored; or (B, L) int codes of `LabelTree.encode`, of
                which those of partial labels are ignored; or (B, C) float targets whose rows sum
                to 1, a row of zeros = ignored.

        Returns:
            Scalar; 0, attached to the graph, where nothing in the batch can be judged.

        Raises:
            UsageError: The shapes do not fit.
        """
        _check_shapes(embeddings, labels)
        with torch.autocast(device_type=embeddings.device.type, enabled=False):
            precise = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
            loss, terms = self.compute(precise, labels)
        self._terms = {name: value.detach() for name, value in terms.items()}
        return loss

    @abstractmethod
    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss and its named parts; arguments as in `forward`, float32 or float64."""

    def terms(self) -> Terms:
        """Give the named parts of the last call, detached; empty before the first."""
        return dict(self._terms)


class ClassifierLoss(Loss):
    """A loss on the logits of a classifier that it owns.

    Args:
        classifier: Becomes the model's classifier after training.
    """

    def __init__(self, classifier: Head) -> None:
        super().__init__()
        self.classifier = classifier

    @property
    def head(self) -> Head:
        """The classifier that the loss trains."""
        return self.classifier


class PairLoss(Loss):
    """A loss over the pairs of the global batch, told which are of one class."""

    kind = "batch"

    def __init__(self) -> None:
        super().__init__()
        self._warned = False

    def class_ids(self, labels: Tensor) -> Tensor:
        """Give (B,) class ids of labels in any form; warn once that soft targets lose by it."""
        if labels.is_floating_point() and not self._warned:
            self._warned = True
            warnings.warn(
                f"{type(self).__name__} takes the largest class of each soft target, which under "
                "mixup is almost a coin toss; AngularDistanceDistributionLoss(form='gram') takes "
                "soft targets as they are",
                stacklevel=2,
            )
        return class_ids(labels)


def _check_shapes(embeddings: Tensor, labels: Tensor) -> None:
    known_form = labels.ndim == 2 or (labels.ndim == 1 and not labels.is_floating_point())
    if embeddings.ndim != 2 or not known_form or len(labels) != len(embeddings):
        raise UsageError(
            "a loss takes (B, D) embeddings and labels as (B,) ids, (B, L) codes or (B, C) float "
            f"targets, got {tuple(embeddings.shape)} and {tuple(labels.shape)} {labels.dtype}"
        )


def check_choice(name: str, value: str, choices: object) -> None:
    """Raise `UsageError` unless `value` is one of the strings of a Literal type."""
    allowed = get_args(choices)
    if value not in allowed:
        raise UsageError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def check_not_negative(name: str, *values: float) -> None:
    """Raise `UsageError` unless all values are finite numbers of 0 or more."""
    if not all(0.0 <= value < float("inf") for value in values):
        raise UsageError(f"{name} must be 0 or more, got {', '.join(map(str, values))}")
