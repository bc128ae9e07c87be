"""Rows of angular margin, compactness and one-class losses, and their formulas in plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable

from loss_row import C, Oracle, Row, Rows, cosine, dot

from tonotopy.losses import (
    AdaCosLoss,
    AdaProjLoss,
    ArcFaceLoss,
    CompactnessLoss,
    CosFaceLoss,
    DeepSVDDLoss,
    DescriptivenessCompactnessLoss,
    Loss,
    NormalizedSoftmaxLoss,
    OneClassCompactnessLoss,
    SphereFaceLoss,
    SubclusterAdaCosLoss,
)

Psi = Callable[[float], float]


def _arcface(mode: str, m: float = 0.5) -> Psi:
    def psi(s: float) -> float:
        theta = math.acos(s)
        if mode == "guarded" and theta + m > math.pi:
            return s - m * math.sin(m)
        return s if mode == "easy" and s <= 0 else math.cos(theta + m)

    return psi


def _sphereface(s: float, m: int = 4) -> float:
    theta = math.acos(s)
    k = min(int(theta * m / math.pi), m - 1)
    return (-1.0 if k % 2 else 1.0) * math.cos(m * theta) - 2 * k


def _centres(loss: Loss, per_class: int) -> list[Rows]:
    """The vectors of each class, in order."""
    flat = loss.state_dict()
    (rows,) = (flat[name].tolist() for name in flat if name.endswith("centres"))
    return [rows[c * per_class : (c + 1) * per_class] for c in range(C)]


def _known(z: Rows, y: list[int]) -> list[tuple[list[float], int]]:
    return [(row, label) for row, label in zip(z, y, strict=True) if label >= 0]


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def _softmax_oracle(psi: Psi, scale: float = 30.0) -> Oracle:
    def oracle(loss: Loss, z: Rows, y: list[int]) -> float:
        centres = _centres(loss, 1)
        values = []
        for row, label in _known(z, y):
            s = [cosine(row, w) for (w,) in centres]
            own = scale * psi(s[label])
            others = [math.exp(scale * s[k] - own) for k in range(C) if k != label]
            values.append(math.log1p(math.fsum(others)))
        return _mean(values)

    return oracle


def _subcluster_oracle(per_class: int) -> Oracle:
    def oracle(loss: Loss, z: Rows, y: list[int]) -> float:
        scale = loss.state_dict()["classifier.scale"].item()
        centres = _centres(loss, per_class)
        values = []
        for row, label in _known(z, y):
            mass = [math.fsum(math.exp(scale * cosine(row, w)) for w in own) for own in centres]
            values.append(-math.log(mass[label] / math.fsum(mass)))
        return _mean(values)

    return oracle


def _projection_oracle(loss: Loss, z: Rows, y: list[int]) -> float:
    scale = loss.state_dict()["classifier.scale"].item()
    bases = [[[x / math.hypot(*w) for x in w] for w in basis] for basis in _centres(loss, 2)]
    values = []
    for row, label in _known(z, y):
        mass = []
        for basis in bases:
            shares = [dot(row, w) for w in basis]
            projection = [
                math.fsum(a * w[d] for a, w in zip(shares, basis, strict=True))
                for d in range(len(row))
            ]
            mass.append(math.exp(scale * cosine(row, projection)))
        values.append(-math.log(mass[label] / math.fsum(mass)))
    return _mean(values)


def _compactness_oracle(per_class: int) -> Oracle:
    def oracle(loss: Loss, z: Rows, y: list[int]) -> float:
        centres = _centres(loss, per_class)
        return _mean(
            [min(2 - 2 * cosine(row, w) for w in centres[label]) for row, label in _known(z, y)]
        )

    return oracle


def _others_oracle(loss: Loss, z: Rows, y: list[int]) -> float:
    units = [[x / math.hypot(*row) for x in row] for row, _ in _known(z, y)]
    squares = []
    for i, u in enumerate(units):
        others = [v for j, v in enumerate(units) if j != i]
        mean = [_mean(list(column)) for column in zip(*others, strict=True)]
        squares.append(math.dist(u, mean) ** 2)
    return _mean(squares) / len(z[0])


def _mean_oracle(loss: Loss, z: Rows, y: list[int]) -> float:
    units = [[x / math.hypot(*row) for x in row] for row, _ in _known(z, y)]
    mean = [_mean(list(column)) for column in zip(*units, strict=True)]
    return _mean([math.dist(u, mean) ** 2 for u in units])


def _descriptiveness_oracle(loss: Loss, z: Rows, y: list[int]) -> float:
    weight, bias = (p.tolist() for p in loss.parameters())
    values = []
    for row, label in _known(z, y):
        mass = [math.exp(dot(w, row) + b) for w, b in zip(weight, bias, strict=True)]
        values.append(-math.log(mass[label] / math.fsum(mass)))
    return _mean(values) + 0.1 * _others_oracle(loss, z, y)


def _svdd_squares(loss: Loss, z: Rows, y: list[int]) -> list[float]:
    centre = loss.state_dict()["centre"].tolist()
    return [math.dist(row, centre) ** 2 for row, _ in _known(z, y)]


def _svdd_oracle(loss: Loss, z: Rows, y: list[int]) -> float:
    return _mean(_svdd_squares(loss, z, y))


def _boundary_oracle(loss: Loss, z: Rows, y: list[int]) -> float:
    """The formula is linear in R² between the distances, so its minimum is at one of them."""
    squares = _svdd_squares(loss, z, y)
    return min(
        radius + math.fsum(max(0.0, d - radius) for d in squares) / (0.3 * len(squares))
        for radius in (0.0, *squares)
    )


def _row(name: str, make: Callable[[int], Loss], oracle: Oracle, *, dynamic: bool = False) -> Row:
    return Row(
        name,
        (lambda dim: make(dim).eval()) if dynamic else make,
        oracle,
        kind="batch" if dynamic else "sample",
        scale_free=True,
    )


def _one_class_row(name: str, around: str, oracle: Oracle) -> Row:
    return Row(
        name,
        lambda _: OneClassCompactnessLoss("mean" if around == "mean" else "others"),
        oracle,
        kind="batch",
        scale_free=True,
        rotation_free=True,
    )


SUB = SubclusterAdaCosLoss

MARGIN_ROWS = [
    _row("normalized-softmax", lambda dim: NormalizedSoftmaxLoss(C, dim), _softmax_oracle(float)),
    _row("sphereface", lambda dim: SphereFaceLoss(C, dim), _softmax_oracle(_sphereface)),
    _row("cosface", lambda dim: CosFaceLoss(C, dim), _softmax_oracle(lambda s: s - 0.35)),
    _row("arcface", lambda dim: ArcFaceLoss(C, dim), _softmax_oracle(_arcface("guarded"))),
    _row(
        "arcface-plain",
        lambda dim: ArcFaceLoss(C, dim, scale=8.0, mode="plain"),
        _softmax_oracle(_arcface("plain"), 8.0),
    ),
    _row(
        "arcface-easy",
        lambda dim: ArcFaceLoss(C, dim, mode="easy", soft_labels="interpolated"),
        _softmax_oracle(_arcface("easy")),
    ),
    _row("adacos", lambda dim: AdaCosLoss(C, dim), _subcluster_oracle(1)),
    _row(
        "adacos-dynamic",
        lambda dim: AdaCosLoss.published(C, dim),
        _subcluster_oracle(1),
        dynamic=True,
    ),
    _row("subcluster-adacos", lambda dim: SUB(C, dim), _subcluster_oracle(16)),
    _row(
        "subcluster-adacos-safe",
        lambda dim: SUB(C, dim, subclusters=2, scale_mode="safe"),
        _subcluster_oracle(2),
        dynamic=True,
    ),
    _row(
        "subcluster-adacos-published",
        lambda dim: SUB.published(C, dim, subclusters=4),
        _subcluster_oracle(4),
        dynamic=True,
    ),
    _row("adaproj", lambda dim: AdaProjLoss(C, dim, subspace_dim=2), _projection_oracle),
    _row(
        "adaproj-published",
        lambda dim: AdaProjLoss.published(C, dim, subspace_dim=2),
        _projection_oracle,
        dynamic=True,
    ),
    _row("compactness", lambda dim: CompactnessLoss(C, dim), _compactness_oracle(1)),
    _row(
        "compactness-subclusters",
        lambda dim: CompactnessLoss(C, dim, subclusters=3, trainable_centres=False),
        _compactness_oracle(3),
    ),
    _one_class_row("one-class-compactness", "others", _others_oracle),
    _one_class_row("one-class-compactness-mean", "mean", _mean_oracle),
    Row(
        "descriptiveness-compactness",
        lambda dim: DescriptivenessCompactnessLoss(C, dim),
        _descriptiveness_oracle,
        kind="batch",
    ),
    Row("deep-svdd", DeepSVDDLoss, _svdd_oracle),
    Row("deep-svdd-soft", lambda dim: DeepSVDDLoss(dim, nu=0.3), _boundary_oracle, kind="batch"),
]
