"""Coherent probabilities over a label tree, against loops written from the definition."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.labels import (
    NO_LEVEL,
    LabelTree,
    Reading,
    decode_paths,
    node_probabilities,
    path_probabilities,
    stopping_depth,
)

TREE = LabelTree([("a", "x", "p"), ("a", "x", "q"), ("a", "y"), ("b",), ("c", "only", "one")])
READINGS: tuple[Reading, ...] = ("leaves", "levels", "nodes")

trees = st.sets(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(tuple), min_size=1, max_size=12
).map(LabelTree.from_paths)


def by_loops(row: list[float], tree: LabelTree, reading: Reading) -> list[float]:
    if reading == "leaves":
        total = sum(math.exp(x) for x in row)
        leaf = {node: math.exp(x) / total for node, x in zip(tree.leaves, row, strict=True)}
        return [sum(leaf[u] for u in tree.leaves_under(v)) for v in range(tree.num_nodes)]
    found: list[float] = []
    for node in range(tree.num_nodes):  # parents before children
        parent = tree.parent(node)
        above = 1.0 if parent < 0 else found[parent]
        if reading == "nodes":
            found.append(min(above, 1 / (1 + math.exp(-row[node]))))
        else:
            siblings = sum(math.exp(row[other]) for other in tree.children(parent))
            found.append(above * math.exp(row[node]) / siblings)
    return found


def scores(tree: LabelTree, reading: Reading, seed: int = 0, rows: int = 3) -> Tensor:
    width = tree.num_leaves if reading == "leaves" else tree.num_nodes
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(rows, width, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("reading", READINGS)
@given(tree=trees, seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_they_are_those_of_the_definition(reading: Reading, tree: LabelTree, seed: int) -> None:
    logits = scores(tree, reading, seed)
    found = node_probabilities(logits, tree, reading)
    expected = torch.tensor([by_loops(row, tree, reading) for row in logits.tolist()])
    torch.testing.assert_close(found, expected.double(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("reading", READINGS)
@given(tree=trees, seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_no_child_is_likelier_than_its_parent(reading: Reading, tree: LabelTree, seed: int) -> None:
    found = node_probabilities(scores(tree, reading, seed).float(), tree, reading)
    for node in range(tree.num_nodes):
        parent = tree.parent(node)
        if parent >= 0:
            assert (found[:, node] <= found[:, parent]).all()
    if reading != "nodes":
        torch.testing.assert_close(found[:, list(tree.leaves)].sum(1), torch.ones(3))


@given(tree=trees, seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_decoding_goes_down_to_the_likeliest_child(tree: LabelTree, seed: int) -> None:
    found = node_probabilities(scores(tree, "levels", seed), tree, "levels")
    codes = decode_paths(found, tree)
    for row, path in zip(found.tolist(), tree.decode(codes), strict=True):
        node = -1
        while tree.children(node):
            node = max(tree.children(node), key=lambda child: row[child])
        assert path == tree.path(node)
    assert torch.equal(codes, tree.encode(tree.decode(codes)))


def test_a_clip_stops_where_it_is_no_longer_sure() -> None:
    logits = torch.tensor([[2.0, 2.0, -4.0, -4.0, -4.0]])  # a/x/p and a/x/q alike
    found = node_probabilities(logits, TREE, "leaves")
    codes = decode_paths(found, TREE)
    assert TREE.decode(codes) == [("a", "x", "p")]
    assert stopping_depth(found, codes, 0.6).tolist() == [2]
    assert stopping_depth(found, codes, 0.4).tolist() == [3]
    assert stopping_depth(found, codes, 1.0).tolist() == [0]
    shallow = torch.full((1, 5), -9.0)
    shallow[0, 3] = 9.0  # b, a leaf at the top
    found = node_probabilities(shallow, TREE, "leaves")
    codes = decode_paths(found, TREE)
    assert codes.tolist() == [[TREE.node(("b",)), NO_LEVEL, NO_LEVEL]]
    assert path_probabilities(found, codes)[0, 1:].tolist() == [0.0, 0.0]
    assert stopping_depth(found, codes, 0.5).tolist() == [1]


def test_extreme_scores_stay_finite() -> None:
    for reading in READINGS:
        for size in (1e4, -1e4):
            logits = scores(TREE, reading).float() * size
            assert node_probabilities(logits, TREE, reading).isfinite().all()
        assert node_probabilities(scores(TREE, reading)[:0], TREE, reading).shape[0] == 0


def test_misuse_is_named() -> None:
    with pytest.raises(UsageError, match="each of the 9 nodes"):
        node_probabilities(torch.zeros(2, 5), TREE, "levels")
    with pytest.raises(UsageError, match="each of the 5 leaves"):
        node_probabilities(torch.zeros(2, 9), TREE, "leaves")
    found = node_probabilities(torch.zeros(2, 5), TREE, "leaves")
    with pytest.raises(UsageError, match="threshold"):
        stopping_depth(found, decode_paths(found, TREE), 0.0)
