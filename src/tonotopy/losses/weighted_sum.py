"""Several losses as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.geometry import Head
from tonotopy.losses._base import Labels, Loss, Terms, check_not_negative


class WeightedSumLoss(Loss):
    """Add named losses, each times its weight.

    Its kind is `"batch"` when any part's is, and its head is that of the first part that has one.

    Args:
        losses: Name to loss, at least one; names must not contain "/" or ".".
        weights: Name to weight, 0 or more; 1 where not given.

    Raises:
        UsageError: No loss, a name that cannot be used, or a weight for a loss that is not there.

    Examples:
        >>> import torch
        >>> from tonotopy.losses import AngularDistanceDistributionLoss, CrossEntropyLoss
        >>> ce = CrossEntropyLoss(num_classes=3, embedding_dim=8)
        >>> add = AngularDistanceDistributionLoss()
        >>> loss = WeightedSumLoss({"ce": ce, "add": add}, {"add": 0.5})
        >>> value = loss(torch.randn(6, 8), torch.tensor([0, 0, 1, 1, 2, 2]))
        >>> loss.kind, loss.head is ce.head, "add/inter_std" in loss.terms()
        ('batch', True, True)
    """

    takes_relations = True  # each part answers for itself

    def __init__(self, losses: Mapping[str, Loss], weights: Mapping[str, float]) -> None:
        super().__init__()
        _check_names(losses, weights)
        check_not_negative("weights", *weights.values())
        self.losses = nn.ModuleDict(losses)
        self.weights = {name: float(weights.get(name, 1.0)) for name in losses}
        self.kind = "batch" if any(loss.kind == "batch" for loss in losses.values()) else "sample"

    @property
    def head(self) -> Head | None:
        """The classifier of the first part that trains one, or None."""
        heads = (loss.head for loss in self._parts().values())
        return next((head for head in heads if head is not None), None)

    def compute(self, embeddings: Tensor, labels: Labels) -> tuple[Tensor, Terms]:
        """Give the weighted sum and the unweighted parts."""
        values: Terms = {name: loss(embeddings, labels) for name, loss in self._parts().items()}
        weighted = [self.weights[name] * value for name, value in values.items()]
        return torch.stack(weighted).sum(), values

    def terms(self) -> Terms:
        """Give the unweighted parts of the last call and, as "part/term", the terms of each."""
        terms = super().terms()
        for name, loss in self._parts().items():
            terms |= {f"{name}/{term}": value for term, value in loss.terms().items()}
        return terms

    def _parts(self) -> dict[str, Loss]:
        return cast("dict[str, Loss]", dict(self.losses.items()))


def _check_names(losses: Mapping[str, Loss], weights: Mapping[str, float]) -> None:
    if not losses:
        raise UsageError("a weighted sum needs at least one loss, got none")
    for name in losses:
        if not name or hasattr(nn.ModuleDict(), name) or {"/", "."} & set(name):
            raise UsageError(
                f"a loss cannot be named {name!r}: choose a word that has no '/' or '.' and is "
                "not a method of torch.nn.ModuleDict"
            )
    for name in weights:
        if name not in losses:
            raise UsageError(
                f"a weight is given for {name!r}, which is not among the losses: "
                f"{', '.join(losses)}"
            )
