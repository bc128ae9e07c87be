"""Rows of losses over the pairs, triplets and quadruplets of a label tree, by plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

from loss_row import Oracle, Row, Rows, cosine

from tonotopy.losses import (
    GeneralizedTripletLoss,
    Loss,
    QuadrupletLoss,
    RankBasedLoss,
    TreeDistanceDistributionLoss,
)

Metric = Callable[[list[float], list[float]], float]


def shared_levels(a: Any, b: Any) -> tuple[int, int]:
    """Fewest and most levels that two labels share; ids are labels of one level."""
    a, b = ([label] if isinstance(label, int) else label for label in (a, b))
    pairs = list(zip(a, b, strict=True))
    parts = [x != y or x < 0 for x, y in pairs]
    at_least = [*parts, True].index(True)
    surely_parts = [(x != y and -1 not in (x, y)) or -2 in (x, y) for x, y in pairs]
    at_most = [*surely_parts, True].index(True)
    if a == b and -1 not in a:
        at_least = len(a)
    if all(x == y or -1 in (x, y) for x, y in pairs):
        at_most = len(a)
    return at_least, at_most


def cosine_distance(a: list[float], b: list[float]) -> float:
    return 1 - cosine(a, b)


def sphere_distance(a: list[float], b: list[float]) -> float:
    return math.dist([x / math.hypot(*a) for x in a], [x / math.hypot(*b) for x in b])


def hyperbolic_distance(a: list[float], b: list[float]) -> float:
    x, y = ([v * math.tanh(min(2.3, math.hypot(*p))) / math.hypot(*p) for v in p] for p in (a, b))
    room = (1 - math.hypot(*x) ** 2) * (1 - math.hypot(*y) ** 2)
    return math.acosh(1 + 2 * math.dist(x, y) ** 2 / room)


def triplets(labels: list[Any], adjacent: bool = False) -> Iterator[tuple[int, int, int, int, int]]:
    """Anchor, positive, negative, and the levels that the two share with the anchor."""
    clips = range(len(labels))
    for a in clips:
        for n in clips:
            if n == a:
                continue
            negative = shared_levels(labels[a], labels[n])[1]
            levels = {p: shared_levels(labels[a], labels[p])[0] for p in clips if p != a}
            levels = {p: level for p, level in levels.items() if level > negative and p != n}
            for p, level in levels.items():
                if not adjacent or level == min(levels.values()):
                    yield a, p, n, level, negative


def triplet_oracle(
    metric: Metric = cosine_distance,
    margin: Callable[[int, int], float] = lambda near, far: 0.3,
    adjacent: bool = False,
    active_only: bool = False,
) -> Oracle:
    def oracle(loss: Loss, z: Rows, y: list[Any]) -> float:
        hinges = [
            max(0.0, margin(near, far) + metric(z[a], z[p]) - metric(z[a], z[n]))
            for a, p, n, near, far in triplets(y, adjacent)
        ]
        number = sum(hinge > 0 for hinge in hinges) if active_only else len(hinges)
        return math.fsum(hinges) / number

    return oracle


def quadruplet_oracle(loss: Loss, z: Rows, y: list[Any]) -> float:
    terms = []
    clips = range(len(y))
    top = len(y[0])
    d = [[cosine_distance(a, b) for b in z] for a in z]
    bounds = [[shared_levels(a, b) for b in y] for a in y]
    for a in clips:
        for p in clips:
            for s in clips:
                for n in clips:
                    kin = bounds[a][p][0] == top and bounds[a][s] == (top - 1, top - 1)
                    if p != a and kin and bounds[a][n][1] < top - 1:
                        first = max(0.0, d[a][p] - d[a][s] + 0.1)
                        terms.append(first + max(0.0, d[a][s] - d[a][n] + 0.1))
    return math.fsum(terms) / len(terms)


def _rank_term(
    place: int, ordered: list[float], start: int, stop: int, target: str, r: int
) -> float:
    if start <= place < stop:
        return 0.0
    wanted = {
        "block_nearest": ordered[start] if place < start else ordered[stop - 1],
        "block_first": ordered[start],
        "block_middle": ordered[(start + stop - 1) // 2],
        "block_mean": math.fsum(ordered[start:stop]) / (stop - start),
        "rank_index": ordered[min(2 * r, len(ordered) - 1)],
    }[target]
    return (ordered[place] - wanted) ** 2


def rank_terms(pairs: list[tuple[float, int]], target: str) -> list[float]:
    """Terms of one sorted list of (distance, rank)."""
    pairs = sorted(pairs)
    ordered = [d for d, _ in pairs]
    terms = []
    for place, (_, r) in enumerate(pairs):
        start = sum(other < r for _, other in pairs)
        stop = start + sum(other == r for _, other in pairs)
        terms.append(_rank_term(place, ordered, start, stop, target, r))
    return terms


def rank_oracle(
    target: str = "block_nearest",
    metric: Metric = cosine_distance,
    per_anchor: bool = False,
    misplaced_only: bool = False,
) -> Oracle:
    def oracle(loss: Loss, z: Rows, y: list[Any]) -> float:
        lists: dict[int, list[tuple[float, int]]] = {}
        for i, a in enumerate(y):
            for j, b in enumerate(y):
                lo, hi = shared_levels(a, b)
                if lo == hi and (i != j if per_anchor else i < j):
                    top = 1 if isinstance(a, int) else len(a)
                    pair = metric(z[i], z[j]), top - lo
                    lists.setdefault(i if per_anchor else 0, []).append(pair)
        terms = [term for pairs in lists.values() for term in rank_terms(pairs, target)]
        number = sum(term > 0 for term in terms) if misplaced_only else len(terms)
        return math.fsum(terms) / number

    return oracle


def tree_add_oracle(loss: Loss, z: Rows, y: list[Any]) -> float:
    top = 1 if isinstance(y[0], int) else len(y[0])
    total = 0.0
    for level in range(top + 1):
        distances = [
            cosine_distance(z[i], z[j])
            for i in range(len(y))
            for j in range(len(y))
            if i != j and shared_levels(y[i], y[j]) == (level, level)
        ]
        if distances:
            mean = math.fsum(distances) / len(distances)
            square = math.fsum((d - mean) ** 2 for d in distances) / len(distances)
            total += (mean - (top - level) / top) ** 2 + square * (len(distances) > 2)
    return total


def _row(
    name: str,
    make: Callable[[], Loss],
    oracle: Oracle,
    *,
    form: Literal["ids", "codes"] = "codes",
    scale_free: bool = True,
    constants_inside: bool = False,
) -> Row:
    return Row(
        name,
        lambda _: make(),
        oracle,
        kind="batch",
        form=form,
        scale_free=scale_free,
        rotation_free=True,
        constants_inside=constants_inside,
        uses_levels=True,
    )


TRIPLET = GeneralizedTripletLoss

TREE_PAIR_ROWS = [
    _row("tree-add", TreeDistanceDistributionLoss, tree_add_oracle),
    _row("tree-add-flat", TreeDistanceDistributionLoss, tree_add_oracle, form="ids"),
    _row("triplet", TRIPLET, triplet_oracle()),
    _row("triplet-flat", TRIPLET, triplet_oracle(), form="ids"),
    _row("triplet-adjacent", lambda: TRIPLET(pairs="adjacent"), triplet_oracle(adjacent=True)),
    _row(
        "triplet-graded",
        lambda: TRIPLET(margin=(0.1, 0.2, 0.4)),
        triplet_oracle(margin=lambda near, far: math.fsum((0.1, 0.2, 0.4)[far:near])),
    ),
    _row(
        "triplet-active",
        lambda: TRIPLET(reduction="mean_active"),
        triplet_oracle(active_only=True),
    ),
    _row(
        "triplet-euclidean",
        lambda: TRIPLET(distance="euclidean"),
        triplet_oracle(math.dist),
        scale_free=False,
    ),
    _row(
        "triplet-poincare",
        lambda: TRIPLET(distance="poincare"),
        triplet_oracle(hyperbolic_distance),
        scale_free=False,
    ),
    _row("quadruplet", QuadrupletLoss, quadruplet_oracle),
    _row("rank", RankBasedLoss, rank_oracle(), constants_inside=True),
    _row("rank-flat", RankBasedLoss, rank_oracle(), form="ids", constants_inside=True),
    _row("rank-published", RankBasedLoss.published, rank_oracle("rank_index")),
    _row(
        "rank-mean",
        lambda: RankBasedLoss(target="block_mean", stop_gradient=False),
        rank_oracle("block_mean"),
    ),
    _row(
        "rank-first",
        lambda: RankBasedLoss(target="block_first", stop_gradient=False),
        rank_oracle("block_first"),
    ),
    _row(
        "rank-middle",
        lambda: RankBasedLoss(target="block_middle", stop_gradient=False),
        rank_oracle("block_middle"),
    ),
    _row(
        "rank-anchor",
        lambda: RankBasedLoss(scope="anchor", stop_gradient=False),
        rank_oracle(per_anchor=True),
    ),
    _row(
        "rank-misplaced",
        lambda: RankBasedLoss(reduction="mean_misplaced", stop_gradient=False),
        rank_oracle(misplaced_only=True),
    ),
    _row(
        "rank-euclidean",
        lambda: RankBasedLoss(distance="euclidean", stop_gradient=False),
        rank_oracle(metric=sphere_distance),
    ),
]
