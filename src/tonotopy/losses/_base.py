"""The contract of a loss: shapes, precision and named terms, in one place for all of them."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from tonotopy._errors import DataError, UsageError
from tonotopy.geometry import Head
from tonotopy.labels import PairRelations
from tonotopy.losses._targets import class_ids

Labels = Tensor | PairRelations
"""(B,) ids, (B, L) codes of a label tree, (B, C) soft targets, or what is known of every pair."""

LossKind = Literal["sample", "batch"]
"""A mean over samples, or a quantity of the whole batch."""

Terms = dict[str, Tensor]


class Loss(nn.Module, ABC):
    """A scalar to minimise over embeddings and what is known about them.

    A subclass declares `kind` and writes `compute`. `forward` has checked the shapes, left
    autocast and raised half precision to float32 before it is called.

    Attributes:
        takes_relations: Whether labels may be `PairRelations`.
        kind: `"sample"` if the loss is a mean over samples, so that the gradients of N processes
            may be averaged; `"batch"` if it needs the embeddings of the global batch, which must
            then be gathered with their gradient.
        learns_one_class: Whether clips of a single class give it a gradient.
    """

    kind: LossKind = "sample"
    takes_relations = False
    learns_one_class = False

    def __init__(self) -> None:
        super().__init__()
        self._terms: Terms = {}

    @property
    def head(self) -> Head | None:
        """The classifier that the loss trains, or None."""
        return None

    def forward(self, embeddings: Tensor, labels: Labels) -> Tensor:
        """Give the loss of a batch.

        Args:
            embeddings: (B, D) floats, not normalised. Half precision is raised to float32.
            labels: (B,) int class ids, -1 = ignored; or (B, L) int codes of `LabelTree.encode`, of
                which those of partial labels are ignored by losses over flat classes; or (B, C)
                float targets whose rows sum to 1, a row of zeros = ignored. Losses over pairs also
                take `PairRelations`.

        Returns:
            Scalar; 0, attached to the graph, where nothing in the batch can be judged.

        Raises:
            UsageError: The shapes or the form of the labels do not fit.
            DataError: An embedding is not finite; the message names the rows. Not checked in
                compiled and exported graphs.
        """
        _check_shapes(embeddings, labels)
        if isinstance(labels, PairRelations) and not self.takes_relations:
            raise UsageError(
                f"{type(self).__name__}, as it is set, takes the labels of clips, not relations of "
                "pairs"
            )
        if not torch.compiler.is_compiling():
            _check_finite(embeddings)
        with torch.autocast(device_type=embeddings.device.type, enabled=False):
            precise = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
            loss, terms = self.compute(precise, labels)
        if not torch.compiler.is_exporting():  # a graph has no place to leave them
            self._terms = {name: value.detach() for name, value in terms.items()}
        return loss

    @abstractmethod
    def compute(self, embeddings: Tensor, labels: Any) -> tuple[Tensor, Terms]:
        """Give the loss and its named parts; arguments as in `forward`, float32 or float64."""

    def sample_count(self, labels: Tensor) -> Tensor:
        """Give how many clips of a batch a loss of kind `"sample"` is the mean over."""
        return (class_ids(labels) >= 0).sum()

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
    """A loss over the pairs of the global batch, told what is known of each."""

    kind = "batch"
    takes_relations = True

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

    def relations(self, labels: Labels) -> PairRelations:
        """Give what labels of any form say about every pair."""
        if isinstance(labels, PairRelations):
            return labels
        if labels.is_floating_point():
            labels = self.class_ids(labels)
        return PairRelations.from_labels(labels)


def _check_shapes(embeddings: Tensor, labels: Labels) -> None:
    if isinstance(labels, PairRelations):
        fits = embeddings.ndim == 2 and len(labels) == len(embeddings)
        given = f"the relations of {len(labels)} clips"
    else:
        known_form = labels.ndim == 2 or (labels.ndim == 1 and not labels.is_floating_point())
        fits = embeddings.ndim == 2 and known_form and len(labels) == len(embeddings)
        given = f"{tuple(labels.shape)} {labels.dtype}"
    if not fits:
        raise UsageError(
            "a loss takes (B, D) embeddings and labels as (B,) ids, (B, L) codes, (B, C) float "
            f"targets or relations of the B clips, got {tuple(embeddings.shape)} and {given}"
        )


def _check_finite(embeddings: Tensor) -> None:
    # The sum, which is cheap, is finite only if all are; it may overflow though all are.
    if embeddings.sum().isfinite() or embeddings.isfinite().all():
        return
    rows = (~embeddings.isfinite().all(dim=1)).nonzero().flatten().tolist()
    named = ", ".join(map(str, rows[:8])) + (", ..." if len(rows) > 8 else "")
    raise DataError(
        f"embeddings must be finite, but {len(rows)} of {len(embeddings)} rows are not: row "
        f"{named}; look at these clips, or lower the learning rate"
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
