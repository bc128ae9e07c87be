"""Rows of losses over flat classes, and their formulas in plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable

from loss_row import C, Oracle, Row, Rows, cosine, dot

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


def _sides(z: Rows, y: list[int], distance: str) -> tuple[list[float], list[float]]:
    scale = {"angle": 1.0, "angle_quad": 2 / math.pi}
    sides: tuple[list[float], list[float]] = ([], [])
    for i, a in enumerate(z):
        for j, b in enumerate(z):
            if i != j and min(y[i], y[j]) >= 0:
                s = cosine(a, b)
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
                1 - cosine(z[i], z[j])
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
    return [dot(w, z) + b for w, b in zip(weight, bias, strict=True)]


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
    known = [1 - cosine(row, p[label]) for row, label in zip(z, y, strict=True) if label >= 0]
    return math.fsum(known) / len(known)


def _sum_oracle(loss: Loss, z: Rows, y: list[int]) -> float:
    return _softmax_oracle(_linear)(loss, z, y) + 0.5 * _add_oracle()(loss, z, y)


ADD = AngularDistanceDistributionLoss


def _pair_row(name: str, make: Callable[[], Loss], oracle: Oracle, tolerance: float = 1e-11) -> Row:
    return Row(
        name,
        lambda _: make(),
        oracle,
        kind="batch",
        scale_free=True,
        rotation_free=True,
        tolerance=tolerance,
    )


FLAT_ROWS = [
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
    _pair_row("opl", OrthogonalProjectionLoss, _opl_oracle, tolerance=1e-6),
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
