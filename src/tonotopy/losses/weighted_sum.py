"""Several losses as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.geometry import Head
from tonotopy.losses._base import Labels, Loss, Terms, check_not_negative


@dataclass(frozen=True)
class Ramp:
    """A weight that moves in a straight line from one value to another, and stays there.

    Args:
        start: Weight at the first training step, 0 or more.
        end: Weight from step `steps` on, 0 or more.
        steps: Training steps in between, at least 1.
    """

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        check_not_negative("start and end of a ramp", self.start, self.end)
        if self.steps < 1:
            raise UsageError(f"a ramp takes at least 1 step, got {self.steps}")


class WeightedSumLoss(Loss):
    """Add named losses, each times its weight, which may change during training.

    Its kind is `"sample"` when all parts are means over the same clips, and its head is that of the
    first part that has one.

    Args:
        losses: Name to loss, at least one; names must not contain "/" or ".".
        weights: Name to weight, 0 or more, or to a `Ramp` over training steps; 1 where not given.
            Steps are counted by the calls in training mode, and stored with the state.

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

    step: Tensor

    def __init__(self, losses: Mapping[str, Loss], weights: Mapping[str, float | Ramp]) -> None:
        super().__init__()
        _check_names(losses, weights)
        self._ramps = {name: _as_ramp(weights.get(name, 1.0)) for name in losses}
        self.losses = nn.ModuleDict(losses)
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
        self.kind = "sample" if _means_over_the_same(losses.values()) else "batch"

    @property
    def head(self) -> Head | None:
        """The classifier of the first part that trains one, or None."""
        heads = (loss.head for loss in self.parts().values())
        return next((head for head in heads if head is not None), None)

    def compute(self, embeddings: Tensor, labels: Labels) -> tuple[Tensor, Terms]:
        """Give the weighted sum and the unweighted parts."""
        values: Terms = {name: loss(embeddings, labels) for name, loss in self.parts().items()}
        weighted = [self.weight(name) * value for name, value in values.items()]
        if self.training:
            self.step = self.step + 1
        return torch.stack(weighted).sum(), values

    def weight(self, name: str) -> float | Tensor:
        """Give the weight of a part at the present step."""
        ramp = self._ramps[name]
        if ramp.start == ramp.end:
            return ramp.start
        return ramp.start + (ramp.end - ramp.start) * (self.step / ramp.steps).clamp(max=1.0)

    def sample_count(self, labels: Tensor) -> Tensor:
        """Give how many clips the parts of kind `"sample"` are the mean over."""
        return next(iter(self.parts().values())).sample_count(labels)

    def terms(self) -> Terms:
        """Give the unweighted parts of the last call and, as "part/term", the terms of each."""
        terms = super().terms()
        for name, loss in self.parts().items():
            terms |= {f"{name}/{term}": value for term, value in loss.terms().items()}
        return terms

    def parts(self) -> dict[str, Loss]:
        """Give the losses by their names."""
        return cast("dict[str, Loss]", dict(self.losses.items()))


def _means_over_the_same(losses: Iterable[Loss]) -> bool:
    parts = list(losses)
    counts = {type(loss).sample_count for loss in parts}
    return all(loss.kind == "sample" for loss in parts) and len(counts) == 1


def _as_ramp(weight: float | Ramp) -> Ramp:
    if isinstance(weight, Ramp):
        return weight
    check_not_negative("weights", weight)
    return Ramp(weight, weight, 1)


def _check_names(losses: Mapping[str, Loss], weights: Mapping[str, float | Ramp]) -> None:
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
