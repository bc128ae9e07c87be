"""Rows of losses that classify into a label tree, by plain loops over its paths."""

from __future__ import annotations

import math
from typing import Any

from loss_row import TREE, Row, Rows, dot
from torch import Tensor, nn

from tonotopy.losses import (
    CPCCLoss,
    FromMetricLearning,
    HierarchicalCrossEntropyLoss,
    HierarchicalPrototypeLoss,
    LeafCrossEntropyLoss,
    LevelCrossEntropyLoss,
    Loss,
    NodeBCELoss,
    SoftLabelLoss,
)

Path = tuple[str, ...]

LEAVES: list[Path] = [TREE.path(leaf) for leaf in TREE.leaves]
NODES: list[Path] = [TREE.path(node) for node in range(TREE.num_nodes)]
LEAF_WEIGHTS = [0.25, 1.0, 2.0, 0.5, 3.0, 1.0]
NODE_WEIGHTS = [0.5 * (1 + node % 4) for node in range(TREE.num_nodes)]
LEVEL_WEIGHTS = [0.5, 2.0, 1.0]


def known_path(code: list[int]) -> Path:
    known = [node for node in code if node >= 0]
    return NODES[known[-1]] if known else ()


def logits(loss: Loss, z: list[float], names: list[Path]) -> dict[Path, float]:
    weight, bias = (p.tolist() for p in loss.parameters())
    return {name: dot(w, z) + b for name, w, b in zip(names, weight, bias, strict=True)}


def log_softmax(values: dict[Path, float]) -> dict[Path, float]:
    total = math.log(math.fsum(math.exp(value) for value in values.values()))
    return {name: value - total for name, value in values.items()}


def under(path: Path, node: Path) -> bool:
    return path[: len(node)] == node


def mean(values: list[float], weights: list[float] | None = None) -> float:
    weights = weights or [1.0] * len(values)
    total = math.fsum(w * v for w, v in zip(weights, values, strict=True))
    return total / math.fsum(weights) if values else 0.0


def leaf_oracle(loss: Loss, z: Rows, y: list[Any], weighted: bool = False) -> float:
    values, weights = [], []
    for row, path in zip(z, map(known_path, y), strict=True):
        if path in LEAVES:
            values.append(-log_softmax(logits(loss, row, LEAVES))[path])
            weights.append(LEAF_WEIGHTS[LEAVES.index(path)] if weighted else 1.0)
    return mean(values, weights)


def level_oracle(loss: Loss, z: Rows, y: list[Any], weighted: bool = False) -> float:
    total = 0.0
    for depth in range(1, 4):
        values, weights = [], []
        for row, path in zip(z, map(known_path, y), strict=True):
            if len(path) >= depth:
                level = {n: x for n, x in logits(loss, row, NODES).items() if len(n) == depth}
                values.append(-log_softmax(level)[path[:depth]])
                weights.append(NODE_WEIGHTS[NODES.index(path[:depth])] if weighted else 1.0)
        total += (LEVEL_WEIGHTS[depth - 1] if weighted else 1.0) * mean(values, weights)
    return total


def node_oracle(loss: Loss, z: Rows, y: list[Any], weighted: bool = False) -> float:
    clips = []
    for row, path in zip(z, map(known_path, y), strict=True):
        values = []
        for index, (node, x) in enumerate(logits(loss, row, NODES).items()):
            if under(path, node):
                w = NODE_WEIGHTS[index] if weighted else 1.0
                values.append(w * math.log1p(math.exp(-x)))
            elif not under(node, path):
                values.append(math.log1p(math.exp(x)))
        if path:
            clips.append(mean(values))
    return mean(clips)


def hxe_oracle(alpha: float) -> Any:
    def oracle(loss: Loss, z: Rows, y: list[Any]) -> float:
        clips = []
        for row, path in zip(z, map(known_path, y), strict=True):
            p = {n: math.exp(v) for n, v in log_softmax(logits(loss, row, LEAVES)).items()}
            mass = [
                math.fsum(p[leaf] for leaf in LEAVES if under(leaf, path[:depth]))
                for depth in range(len(path) + 1)
            ]
            steps = [
                math.exp(-alpha * depth) * math.log(mass[depth - 1] / mass[depth])
                for depth in range(1, len(path) + 1)
            ]
            if path:
                clips.append(math.fsum(steps))
        return mean(clips)

    return oracle


def common(a: Path, b: Path) -> Path:
    depth = [x == y for x, y in zip(a, b, strict=False)]
    return a[: [*depth, False].index(False)]


def soft_oracle(loss: Loss, z: Rows, y: list[Any]) -> float:
    def height(node: Path) -> int:
        return max(len(leaf) for leaf in LEAVES if under(leaf, node)) - len(node)

    clips = []
    for row, path in zip(z, map(known_path, y), strict=True):
        if path in LEAVES:
            q = {leaf: math.exp(-4.0 * height(common(leaf, path)) / 3) for leaf in LEAVES}
            log_p = log_softmax(logits(loss, row, LEAVES))
            total = math.fsum(q.values())
            clips.append(-math.fsum(q[leaf] / total * log_p[leaf] for leaf in LEAVES))
    return mean(clips)


def centre(rows: Rows) -> list[float]:
    return [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]


def by_leaf(z: Rows, y: list[Any]) -> dict[Path, Rows]:
    clips: dict[Path, Rows] = {}
    for row, path in zip(z, map(known_path, y), strict=True):
        if path in LEAVES:
            clips.setdefault(path, []).append(row)
    return clips


def prototype_oracle(loss: Loss, z: Rows, y: list[Any]) -> float:
    clips = by_leaf(z, y)
    leaves = {leaf: centre(rows[:1]) for leaf, rows in clips.items()}
    total = 0.0
    for h in range(3):
        groups: dict[Path, Rows] = {}
        for leaf, prototype in leaves.items():  # a shallow leaf is its own dummy parent
            groups.setdefault(leaf[: 3 - h], []).append(prototype)
        centres = {node: centre(rows) for node, rows in groups.items()}
        values = [
            -log_softmax({node: -math.dist(row, c) for node, c in centres.items()})[leaf[: 3 - h]]
            for leaf, rows in clips.items()
            for row in rows[1:]
        ]
        total += math.exp(-0.75 * h) * mean(values)
    return total


def cpcc_oracle(loss: Loss, z: Rows, y: list[Any]) -> float:
    means = {leaf: centre(rows) for leaf, rows in by_leaf(z, y).items()}
    pairs = [(a, b) for a in means for b in means if a < b]
    d = [math.dist(means[a], means[b]) for a, b in pairs]
    t = [float(len(a) + len(b) - 2 * len(common(a, b))) for a, b in pairs]
    d, t = ([x - mean(side) for x in side] for side in (d, t))
    return 1 - dot(d, t) / math.sqrt(dot(d, d) * dot(t, t))


class MeanSquare(nn.Module):
    """Has the call of pytorch-metric-learning's losses: mean square, and 1 more a class."""

    def forward(self, embeddings: Tensor, labels: Tensor, indices_tuple: Any = None) -> Tensor:
        assert (labels >= 0).all()
        classes = set(labels.tolist())
        return embeddings.square().mean() + len(classes)


def mean_square_oracle(loss: Loss, z: Rows, y: list[Any]) -> float:
    known = [row for row, path in zip(z, map(known_path, y), strict=True) if path in LEAVES]
    return mean([x * x for row in known for x in row]) + len(by_leaf(z, y))


def _weighted(oracle: Any) -> Any:
    return lambda loss, z, y: oracle(loss, z, y, weighted=True)


def _row(name: str, make: Any, oracle: Any, **facts: Any) -> Row:
    return Row(name, make, oracle, form="codes", **facts)


TREE_CLASS_ROWS = [
    _row("leaf-ce", lambda dim: LeafCrossEntropyLoss(TREE, dim), leaf_oracle),
    _row(
        "leaf-ce-weighted",
        lambda dim: LeafCrossEntropyLoss(TREE, dim, LEAF_WEIGHTS),
        _weighted(leaf_oracle),
        kind="batch",
    ),
    _row("level-ce", lambda dim: LevelCrossEntropyLoss(TREE, dim), level_oracle, kind="batch"),
    _row(
        "level-ce-weighted",
        lambda dim: LevelCrossEntropyLoss(TREE, dim, LEVEL_WEIGHTS, NODE_WEIGHTS),
        _weighted(level_oracle),
        kind="batch",
    ),
    _row("node-bce", lambda dim: NodeBCELoss(TREE, dim), node_oracle),
    _row(
        "node-bce-weighted",
        lambda dim: NodeBCELoss(TREE, dim, NODE_WEIGHTS),
        _weighted(node_oracle),
    ),
    _row("hxe", lambda dim: HierarchicalCrossEntropyLoss(TREE, dim), hxe_oracle(0.5)),
    _row(
        "hxe-flat",
        lambda dim: HierarchicalCrossEntropyLoss(TREE, dim, alpha=0.0),
        hxe_oracle(0.0),
    ),
    _row("soft-label", lambda dim: SoftLabelLoss(TREE, dim, beta=4.0), soft_oracle),
    _row("cpcc", lambda _: CPCCLoss(TREE), cpcc_oracle, kind="batch", rotation_free=True),
    _row(
        "metric-learning",
        lambda _: FromMetricLearning(MeanSquare()),
        mean_square_oracle,
        kind="batch",
        rotation_free=True,
        compiles=False,
    ),
    _row(
        "hierarchical-prototype",
        lambda _: HierarchicalPrototypeLoss(TREE),
        prototype_oracle,
        kind="batch",
        rotation_free=True,
        order_matters=True,  # the first clips of a leaf are its examples
    ),
]
