"""Rows of contrastive losses, and their formulas in plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal

from loss_row import Oracle, Row, Rows, cosine, dot
from torch import nn
from tree_pair_rows import shared_levels

from tonotopy.losses import (
    AlignmentUniformityLoss,
    AngularContrastiveLoss,
    AngularMarginContrastiveLoss,
    CrossBatchMemory,
    HiMulConLoss,
    Loss,
    NTXentLoss,
    ProjectedLoss,
    SupConLoss,
    VICRegLoss,
)


def relatives(y: list[Any], i: int, level: int) -> tuple[list[int], list[int]]:
    """Clips that certainly share a level with a clip, and those that certainly do not."""
    others = [j for j in range(len(y)) if j != i]
    bounds = {j: shared_levels(y[i], y[j]) for j in others}
    positives = [j for j in others if bounds[j][0] >= level]
    return positives, [j for j in others if bounds[j][1] < level]


def height(y: list[Any]) -> int:
    return 1 if isinstance(y[0], int) else len(y[0])


def pair_losses(z: Rows, y: list[Any], temperature: float, level: int) -> list[list[float]]:
    """Of each anchor, the losses of its positives."""
    table = []
    for i, row in enumerate(z):
        positives, negatives = relatives(y, i, level)
        logits = {j: cosine(row, z[j]) / temperature for j in positives + negatives}
        if positives:
            total = math.log(math.fsum(map(math.exp, logits.values())))
            table.append([total - logits[p] for p in positives])
    return table


def mean_of_means(table: list[list[float]]) -> float:
    return math.fsum(math.fsum(row) / len(row) for row in table) / len(table)


def contrastive_oracle(temperature: float) -> Oracle:
    def oracle(loss: Loss, z: Rows, y: list[Any]) -> float:
        return mean_of_means(pair_losses(z, y, temperature, height(y)))

    return oracle


def _learned_oracle(loss: Loss, z: Rows, y: list[Any]) -> float:
    (log_scale,) = (p.item() for p in loss.parameters())
    return contrastive_oracle(math.exp(-log_scale))(loss, z, y)


def himulcon_oracle(constraint: str | None = None) -> Oracle:
    def oracle(loss: Loss, z: Rows, y: list[Any]) -> float:
        levels, total, level_floor, pair_floor = height(y), 0.0, -math.inf, -math.inf
        for k in range(1, levels + 1):
            table = pair_losses(z, y, 0.1, levels + 1 - k)
            worst = max(max(row) for row in table)
            if constraint == "pair":
                table = [[max(value, pair_floor) for value in row] for row in table]
            value = mean_of_means(table)
            if constraint == "level":
                value = level_floor = max(value, level_floor)
            pair_floor = max(worst, pair_floor)
            total += 2 ** (1 / k) * value
        return total / levels

    return oracle


def angular_oracle(reduction: str = "mean_split", margin: float = 0.5) -> Oracle:
    def oracle(loss: Loss, z: Rows, y: list[Any]) -> float:
        pull, push = [], []
        for i, row in enumerate(z):
            positives, negatives = relatives(y, i, height(y))
            pull += [math.acos(cosine(row, z[j])) ** 2 for j in positives]
            push += [max(0.0, margin - math.acos(cosine(row, z[j]))) ** 2 for j in negatives]
        if reduction == "published":
            return math.fsum(pull + push) / 25
        if reduction == "mean_all":
            return math.fsum(pull + push) / len(pull + push)
        return 10.24 * math.fsum(pull) / len(pull) + 2600.96 * math.fsum(push) / len(push)

    return oracle


def acl_oracle(reduction: str = "mean_split") -> Oracle:
    def oracle(loss: Loss, h: Rows, y: list[Any]) -> float:
        weight = next(loss.parameters()).tolist()
        z = [[dot(w, row) for w in weight] for row in h]
        angular = angular_oracle(reduction)(loss, h, y)
        return 0.3 * contrastive_oracle(0.2)(loss, z, y) + 0.7 * angular

    return oracle


def _learned_acl_oracle(loss: Loss, h: Rows, y: list[Any]) -> float:
    parameters = dict(loss.named_parameters())
    weight = parameters["projection.weight"].tolist()
    temperature = math.exp(-parameters["contrastive.log_scale"].item())
    z = [[dot(w, row) for w in weight] for row in h]
    angular = angular_oracle()(loss, h, y)
    return 0.6 * contrastive_oracle(temperature)(loss, z, y) + 0.4 * angular


def projected_oracle(loss: Loss, h: Rows, y: list[Any]) -> float:
    weight = next(loss.parameters()).tolist()
    return contrastive_oracle(0.2)(loss, [[dot(w, row) for w in weight] for row in h], y)


def vicreg_oracle(loss: Loss, z: Rows, y: list[Any]) -> float:
    """Pair each clip with the next of its class; weights 25, 25 and 1."""
    one, other = [], []
    for label in sorted(set(y) - {-1}):
        members = [i for i, value in enumerate(y) if value == label]
        for a, b in pairwise(members):
            one.append(z[a])
            other.append(z[b])
    n, dim = len(one), len(one[0])
    near = math.fsum(math.dist(p, q) ** 2 for p, q in zip(one, other, strict=True))
    total = 25 * near / (n * dim)
    for rows in (one, other):
        means = [math.fsum(row[k] for row in rows) / n for k in range(dim)]
        centred = [[x - m for x, m in zip(row, means, strict=True)] for row in rows]
        c = [
            [math.fsum(row[i] * row[j] for row in centred) / (n - 1) for j in range(dim)]
            for i in range(dim)
        ]
        hinges = [max(0.0, 1 - math.sqrt(c[k][k] + 1e-4)) for k in range(dim)]
        total += 25 * math.fsum(hinges) / (2 * dim)
        total += math.fsum(c[i][j] ** 2 for i in range(dim) for j in range(dim) if i != j) / dim
    return total


def alignment_oracle(alpha: float, t: float, weight: float) -> Oracle:
    def oracle(loss: Loss, z: Rows, y: list[Any]) -> float:
        units = [[x / math.hypot(*row) for x in row] for row in z]
        near, spread = [], []
        for i, row in enumerate(units):
            positives, negatives = relatives(y, i, height(y))
            near += [math.dist(row, units[j]) ** alpha for j in positives]
            known = positives + negatives
            spread += [math.exp(-t * math.dist(row, units[j]) ** 2) for j in known]
        uniformity = math.log(math.fsum(spread) / len(spread))
        return math.fsum(near) / len(near) + weight * uniformity

    return oracle


def _row(
    name: str,
    make: Callable[[int], Loss],
    oracle: Oracle,
    *,
    form: Literal["ids", "codes"] = "ids",
    rotation_free: bool = True,
    uses_levels: bool = False,
) -> Row:
    return Row(
        name,
        make,
        oracle,
        kind="batch",
        form=form,
        scale_free=True,
        rotation_free=rotation_free,
        uses_levels=uses_levels,
    )


def _projection(dim: int) -> nn.Module:
    return nn.Linear(dim, 3, bias=False)  # without a bias, lengths do not matter


ANGULAR = AngularMarginContrastiveLoss
ACL = AngularContrastiveLoss

CONTRASTIVE_ROWS = [
    _row("ntxent", lambda _: NTXentLoss(), contrastive_oracle(0.2)),
    _row(
        "ntxent-learnable",
        lambda _: NTXentLoss(0.5, learnable_temperature=True),
        _learned_oracle,
    ),
    _row(
        "ntxent-memory",  # which is still empty, and not added to
        lambda dim: CrossBatchMemory(NTXentLoss(), 7, dim).eval(),
        contrastive_oracle(0.2),
    ),
    _row("supcon", lambda _: SupConLoss(), contrastive_oracle(0.1)),
    _row("supcon-tree", lambda _: SupConLoss(), contrastive_oracle(0.1), form="codes"),
    _row("angular-margin", lambda _: ANGULAR(), angular_oracle()),
    _row(
        "angular-margin-wide",
        lambda _: ANGULAR(1.5, reduction="mean_all"),
        angular_oracle("mean_all", 1.5),
    ),
    _row("angular-margin-published", lambda _: ANGULAR.published(), angular_oracle("published")),
    _row("angular-margin-tree", lambda _: ANGULAR(), angular_oracle(), form="codes"),
    _row("acl", lambda dim: ACL(_projection(dim)), acl_oracle(), rotation_free=False),
    _row(
        "acl-published",
        lambda dim: ACL.published(_projection(dim)),
        acl_oracle("published"),
        rotation_free=False,
    ),
    _row(
        "acl-learnable",
        lambda dim: ACL(_projection(dim), alpha=0.6, temperature=0.5, learnable_temperature=True),
        _learned_acl_oracle,
        rotation_free=False,
    ),
    _row(
        "ntxent-projected",
        lambda dim: ProjectedLoss(NTXentLoss(), _projection(dim)),
        projected_oracle,
        rotation_free=False,
    ),
    Row(
        "vicreg",
        lambda _: VICRegLoss(),
        vicreg_oracle,
        kind="batch",
        compiles=False,
        order_matters=True,  # which view of a clip is its first
    ),
    _row(
        "alignment-uniformity",
        lambda _: AlignmentUniformityLoss(),
        alignment_oracle(2.0, 2.0, 1.0),
    ),
    _row(
        "alignment-uniformity-1",
        lambda _: AlignmentUniformityLoss(1.0, 3.0, 0.5),
        alignment_oracle(1.0, 3.0, 0.5),
    ),
    _row("himulcon", lambda _: HiMulConLoss(), himulcon_oracle(), form="codes", uses_levels=True),
    _row(
        "himulcon-published",
        lambda _: HiMulConLoss.published(),
        himulcon_oracle("level"),
        form="codes",
        uses_levels=True,
    ),
    _row(
        "himulcon-pair",
        lambda _: HiMulConLoss(constraint="pair"),
        himulcon_oracle("pair"),
        form="codes",
        uses_levels=True,
    ),
    _row("himulcon-flat", lambda _: HiMulConLoss(), himulcon_oracle(), uses_levels=True),
]
