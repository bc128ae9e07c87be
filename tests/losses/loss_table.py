"""The table of all losses: how to make each, what is true of it, and its formula in plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tonotopy.losses import (
    AngularDistanceDistributionLoss,
    AngularPrototypeLoss,
    CrossEntropyLoss,
    FocalLoss,
    Loss,
    OrthogonalProjectionLoss,
    PrototypeLoss,
    RBFSoftmaxLoss,
    WeightedSumLoss,
)

C = 3
Rows = list[list[float]]
Oracle = Callable[[Loss, Rows, list[int]], float]


@dataclass(frozen=True)
class Row:
    """A loss and what is true of it."""

    name: str
    make: Callable[[int], Loss]
    oracle: Oracle
    kind: str = "sample"
    takes_codes: bool = False  # (B, L) of a label tree
    scale_free: bool = False  # the length of an embedding does not matter
    rotation_free: bool = False

    def build(self, dim: int, dtype: torch.dtype = torch.float64) -> Loss:
        torch.manual_seed(3)
        return self.make(dim).to(dtype)


def _cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return _dot(a, b) / (math.hypot(*a) * math.hypot(*b))


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def _sides(z: Rows, y: list[int], distance: str) -> tuple[list[float], list[float]]:
    scale = {"angle": 1.0, "angle_quad": 2 / math.pi}
    sides: tuple[list[float], list[float]] = ([], [])
    for i, a in enumerate(z):
        for j, b in enumerate(z):
            if i != j and min(y[i], y[j]) >= 0:
                s = _cosine(a, b)
                d = 1 - s if distance == "cosine" else scale[distance] * math.acos(s)
                sides[y[i] != y[j]].append(d)
    return sides


def _add_oracle(
    distance: str = "cosine", *, spread: str = "var", gram: bool = False, balanced: bool = False
) -> Oracle:
    right_angle = math.pi / 2 if distance == "angle" else 1.0

    def oracle(loss: Loss, z: Rows, y: list[int]) -> float:
        total = 0.0
        clips = sum(label >= 0 for label in y)
        for side, target in zip(_sides(z, y, distance), (0.0, right_angle), strict=True):
            mean = math.fsum(side) / len(side)
            square = math.fsum((d - mean) ** 2 for d in side)
            if gram:
                share = 1 / len(side) if balanced else 1 / clips**2
                total += share * math.fsum((d - target) ** 2 for d in side)
            elif spread == "std":
                total += (mean - target) ** 2 + math.sqrt(square / (len(side) - 1))
            else:
                total += (mean - target) ** 2 + square / len(side)
        return total

    return oracle


def _macro_oracle(loss: Loss, z: Rows, y: list[int]) -> float:
    total = 0.0
    for same, target in ((True, 0.0), (False, 1.0)):
        cells = [
            [
                1 - _cosine(z[i], z[j])
                for i in range(len(y))
                for j in range(len(y))
                if i != j and y[i] == a and y[j] == b
            ]
            for a in range(C)
            for b in range(C)
            if (a == b) == same
        ]
        cells = [cell for cell in cells if cell]
        mean = math.fsum(math.fsum(cell) / len(cell) for cell in cells) / len(cells)
        spread = [math.fsum((d - mean) ** 2 for d in cell) / len(cell) for cell in cells]
        total += (mean - target) ** 2 + math.fsum(spread) / len(cells)
    return total


def _opl_oracle(loss: Loss, z: Rows, y: list[int]) -> float:
    same, other = ([1 - d for d in side] for side in _sides(z, y, "cosine"))
    return 1 - math.fsum(same) / len(same) + 2 * math.fsum(map(abs, other)) / len(other)


def _softmax_oracle(
    logits: Callable[[Loss, list[float]], list[float]], gamma: float = 0.0
) -> Oracle:
    def oracle(loss: Loss, z: Rows, y: list[int]) -> float:
        values = []
        for row, label in zip(z, y, strict=True):
            if label >= 0:
                exponentials = [math.exp(value) for value in logits(loss, row)]
                p = exponentials[label] / math.fsum(exponentials)
                values.append(-((1 - p) ** gamma) * math.log(p))
        return math.fsum(values) / len(values)

    return oracle


def _linear(loss: Loss, z: list[float]) -> list[float]:
    weight, bias = (p.tolist() for p in loss.parameters())
    return [_dot(w, z) + b for w, b in zip(weight, bias, strict=True)]


def _rbf(loss: Loss, z: list[float]) -> list[float]:
    (centres,) = (p.tolist() for p in loss.parameters())
    unit = [x / math.hypot(*z) for x in z]
    return [14 * math.exp(-(math.dist(unit, w) ** 2) / 2.2) for w in centres]


def _prototype_oracle(loss: Loss, z: Rows, y: list[int]) -> float:
    p = loss.get_buffer("prototypes").tolist()
    known = [(row, p[label]) for row, label in zip(z, y, strict=True) if label >= 0]
    squares = [(a - 10 * b) ** 2 for row, proto in known for a, b in zip(row, proto, strict=True)]
    return math.fsum(squares) / len(squares)


def _angular_prototype_oracle(loss: Loss, z: Rows, y: list[int]) -> float:
    p = loss.get_buffer("prototypes").tolist()
    known = [1 - _cosine(row, p[label]) for row, label in zip(z, y, strict=True) if label >= 0]
    return math.fsum(known) / len(known)


def _sum_oracle(loss: Loss, z: Rows, y: list[int]) -> float:
    return _softmax_oracle(_linear)(loss, z, y) + 0.5 * _add_oracle()(loss, z, y)


ADD = AngularDistanceDistributionLoss


def _pair_row(name: str, make: Callable[[], Loss], oracle: Oracle) -> Row:
    return Row(
        name,
        lambda _: make(),
        oracle,
        kind="batch",
        takes_codes=True,
        scale_free=True,
        rotation_free=True,
    )


ROWS = [
    _pair_row("add", ADD, _add_oracle()),
    _pair_row("add-published", ADD.published, _add_oracle(spread="std")),
    _pair_row("add-angle", lambda: ADD(distance="angle"), _add_oracle("angle")),
    _pair_row("add-quad", lambda: ADD(distance="angle_quad"), _add_oracle("angle_quad")),
    _pair_row("add-macro", lambda: ADD(pooling="macro"), _macro_oracle),
    _pair_row("add-gram", lambda: ADD.published(form="gram"), _add_oracle(gram=True)),
    _pair_row(
        "add-gram-balanced",
        lambda: ADD(form="gram", balanced=True),
        _add_oracle(gram=True, balanced=True),
    ),
    _pair_row("opl", OrthogonalProjectionLoss, _opl_oracle),
    Row("ce", lambda dim: CrossEntropyLoss(C, dim), _softmax_oracle(_linear)),
    Row("focal", lambda dim: FocalLoss(C, dim), _softmax_oracle(_linear, 2.0)),
    Row("rbf", lambda dim: RBFSoftmaxLoss(C, dim), _softmax_oracle(_rbf), scale_free=True),
    Row("prototypes", lambda dim: PrototypeLoss(C, dim), _prototype_oracle),
    Row(
        "angular-prototypes",
        lambda dim: AngularPrototypeLoss(C, dim),
        _angular_prototype_oracle,
        scale_free=True,
    ),
    Row(
        "ce+add",
        lambda dim: WeightedSumLoss({"ce": CrossEntropyLoss(C, dim), "add": ADD()}, {"add": 0.5}),
        _sum_oracle,
        kind="batch",
    ),
]


def batch(dim: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(dim)
    z = torch.randn(11, dim, generator=generator, dtype=torch.float64) + 0.3
    labels = torch.tensor([0, 1, 2, 0, -1, 1, 2, 0, 1, 0, -1])
    return z.to(dtype), labels
