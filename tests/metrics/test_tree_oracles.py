"""The metrics over a tree against loops over leaves, clips, pairs and triplets."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tonotopy.labels import LabelPath, LabelTree
from tonotopy.metrics.tree import (
    adaptive_precision_at_k,
    cophenetic_correlation,
    hierarchical_precision_at_k,
    mean_normalised_rank,
    misplaced_pairs,
    precision_at_k,
    tree_ndcg,
    triplet_accuracy,
)

Case = tuple[LabelTree, list[LabelPath], Tensor]
NAMES = st.sampled_from("ab")


@st.composite
def cases(draw: st.DrawFn, partial: bool = True) -> Case:
    """Random ragged trees; labels stop anywhere; few different directions, so many ties."""
    tree = LabelTree(draw(st.lists(st.lists(NAMES, min_size=1, max_size=3), min_size=1)))
    nodes = range(tree.num_nodes) if partial else tree.leaves
    options = [tree.path(node) for node in nodes] + [()] * partial
    paths = draw(st.lists(st.sampled_from(options), min_size=1, max_size=8))
    grid = st.lists(st.integers(-2, 2), min_size=2, max_size=2)
    rows = draw(st.lists(grid, min_size=len(paths), max_size=len(paths)))
    return tree, paths, torch.tensor(rows, dtype=torch.float64)


def cosine(a: Tensor, b: Tensor) -> float:
    return round(float(a @ b / max(float(a.norm() * b.norm()), 1e-12)), 9)


def shared(a: LabelPath, b: LabelPath) -> int:
    return next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


def completions(tree: LabelTree, path: LabelPath) -> list[LabelPath]:
    return [tree.path(leaf) for leaf in tree.leaves_under(tree.node(path))]


def depths(tree: LabelTree, a: LabelPath, b: LabelPath) -> set[int]:
    """All depths that the lowest common ancestor may have; a new leaf may grow at a partial end."""
    pairs = itertools.product(completions(tree, a), completions(tree, b))
    return {shared(x, y) for x, y in pairs} | {shared(a, b)}


def affinity(tree: LabelTree, a: LabelPath, b: LabelPath, kind: str = "max") -> float | None:
    if len(depths(tree, a, b)) > 1:
        return None
    leaves = [tree.path(leaf) for leaf in tree.leaves]
    diameter = max(len(x) + len(y) - 2 * shared(x, y) for x in leaves for y in leaves)
    values = set()
    for x, y in itertools.product(completions(tree, a), completions(tree, b)):
        up, down = len(x) - shared(x, y), len(y) - shared(x, y)
        if kind == "max":
            values.add(1 - max(up, down) / tree.num_levels)
        else:
            values.add(1 - (up + down) / max(diameter, 1))
    return values.pop() if len(values) == 1 else None


def same_leaf(tree: LabelTree, a: LabelPath, b: LabelPath) -> float | None:
    if a == b and tree.is_leaf(tree.node(a)):
        return 1.0
    return None if set(completions(tree, a)) & set(completions(tree, b)) else 0.0


def same_at(tree: LabelTree, a: LabelPath, b: LabelPath, level: int) -> float | None:
    found = depths(tree, a, b)
    return 1.0 if min(found) >= level else None if max(found) >= level else 0.0


def in_order(scored: list[tuple[float, float | None]]) -> list[float]:
    """Gains by place, the most similar first; those that tie have their mean."""
    known = [(score, gain) for score, gain in scored if gain is not None]
    gains = []
    for value in sorted({score for score, _ in known}, reverse=True):
        tied = [gain for score, gain in known if score == value]
        gains += [sum(tied) / len(tied)] * len(tied)
    return gains


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def labelled(case: Case) -> list[tuple[LabelPath, Tensor]]:
    _, paths, z = case
    return [(path, row) for path, row in zip(paths, z, strict=True) if path]


def dcg(gains: list[float]) -> float:
    return sum(gain / math.log2(place + 2) for place, gain in enumerate(gains))


@settings(deadline=None, max_examples=150)
@given(cases(), st.sampled_from(["max", "sum"]))
def test_ndcg_and_hierarchical_precision(case: Case, kind: str) -> None:
    tree, paths, z = case
    clips = labelled(case)
    ndcg, precision, pooled = [], [], []
    for i, (a, u) in enumerate(clips):
        others = [(cosine(u, v), affinity(tree, a, b, kind)) for b, v in clips[:i] + clips[i + 1 :]]
        pooled += others
        gains = in_order(others)
        best = sorted((gain for _, gain in others if gain is not None), reverse=True)
        if sum(best) > 0:
            ndcg.append(dcg(gains) / dcg(best))
            precision.append(sum(gains[:3]) / sum(best[:3]))
    codes = tree.encode(paths)
    options = {"affinity": kind}
    assert tree_ndcg(z, codes, tree, **options) == pytest.approx(mean(ndcg), nan_ok=True)  # type: ignore[arg-type]
    best = sorted((gain for _, gain in pooled if gain is not None), reverse=True)
    together = dcg(in_order(pooled)) / dcg(best) if sum(best) > 0 else math.nan
    found = tree_ndcg(z, codes, tree, mode="pooled", **options)  # type: ignore[arg-type]
    assert found == pytest.approx(together, nan_ok=True)
    if kind == "max":
        found = hierarchical_precision_at_k(z, codes, tree, k=3)
        assert found == pytest.approx(mean(precision), nan_ok=True)


@settings(deadline=None, max_examples=150)
@given(cases())
def test_precision_at_k(case: Case) -> None:
    tree, paths, z = case
    clips = labelled(case)
    plain, adaptive = [], []
    for i, (a, u) in enumerate(clips):
        if not tree.is_leaf(tree.node(a)) or len(clips) < 2:
            continue
        others = [(cosine(u, v), same_leaf(tree, a, b)) for b, v in clips[:i] + clips[i + 1 :]]
        gains = in_order(others)
        plain.append(sum(gains[:3]) / 3)
        relevant = min(3, round(sum(gains)))
        if relevant:
            adaptive.append(sum(gains[:relevant]) / relevant)
    codes = tree.encode(paths)
    found = precision_at_k(z, codes, tree, k=3), adaptive_precision_at_k(z, codes, tree, k=3)
    assert found == pytest.approx((mean(plain), mean(adaptive)), nan_ok=True)


@settings(deadline=None, max_examples=150)
@given(cases())
def test_mean_normalised_rank(case: Case) -> None:
    tree, paths, z = case
    clips = labelled(case)
    values, floors = [], []
    for i, (a, u) in enumerate(clips):
        ranks, least = [], []
        for level in range(1, tree.num_levels + 1):
            others = clips[:i] + clips[i + 1 :]
            gains = in_order([(cosine(u, v), same_at(tree, a, b, level)) for b, v in others])
            relevant = round(sum(gains))
            if relevant:
                place = sum(rank * gain for rank, gain in enumerate(gains)) / relevant
                ranks.append(place / len(gains))
                least.append(sum(range(relevant)) / relevant / len(gains))
        if ranks:
            values.append(mean(ranks))
            floors.append(mean(least))
    found = mean_normalised_rank(z, tree.encode(paths), tree)
    assert found == pytest.approx((mean(values), mean(floors)), nan_ok=True)


@settings(deadline=None, max_examples=150)
@given(cases())
def test_triplet_accuracy(case: Case) -> None:
    tree, paths, z = case
    scores = []
    for (a, u), (p, v), (n, w) in itertools.permutations(labelled(case), 3):
        if min(depths(tree, a, p)) > max(depths(tree, a, n)):
            near, far = cosine(u, v), cosine(u, w)
            scores.append(1.0 if near > far else 0.5 if near == far else 0.0)
    found = triplet_accuracy(z, tree.encode(paths), tree)
    assert found == pytest.approx(mean(scores), nan_ok=True)


@settings(deadline=None, max_examples=150)
@given(cases())
def test_misplaced_pairs(case: Case) -> None:
    tree, paths, z = case
    pairs = []
    for (a, u), (b, v) in itertools.combinations(labelled(case), 2):
        same = same_leaf(tree, a, b)
        found = depths(tree, a, b)
        if same == 1.0:
            pairs.append((-cosine(u, v), 0))
        elif same == 0.0 and len(found) == 1:
            pairs.append((-cosine(u, v), tree.num_levels - found.pop()))
    blocks = sorted(rank for _, rank in pairs)
    order = sorted(distance for distance, _ in pairs)
    wrong = []
    for distance, rank in pairs:
        places = [place for place, other in enumerate(order) if other == distance]
        wrong.append(mean([float(blocks[place] != rank) for place in places]))
    share, sampled = misplaced_pairs(z, tree.encode(paths), tree)
    assert share == pytest.approx(mean(wrong), nan_ok=True, abs=1e-9)
    assert sampled is None


@settings(deadline=None, max_examples=150)
@given(cases())
def test_cophenetic_correlation(case: Case) -> None:
    tree, paths, z = case
    units: dict[LabelPath, list[Tensor]] = {}
    for path, row in labelled(case):
        if tree.is_leaf(tree.node(path)):
            units.setdefault(path, []).append(row / row.norm().clamp_min(1e-6))
    means = {path: torch.stack(rows).mean(dim=0) for path, rows in units.items()}
    pairs = [
        (float((means[a] - means[b]).norm()), len(a) + len(b) - 2 * shared(a, b))
        for a, b in itertools.combinations(means, 2)
    ]
    expected = math.nan
    if len(pairs) > 1:
        both = torch.tensor(pairs, dtype=torch.float64).T
        if (both.std(dim=1) > 1e-9).all():
            expected = torch.corrcoef(both)[0, 1].item()
    found = cophenetic_correlation(z, tree.encode(paths), tree)
    assert found == pytest.approx(expected, nan_ok=True, abs=1e-9)
