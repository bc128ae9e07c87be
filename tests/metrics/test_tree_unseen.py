"""Where clips of unseen classes land, against loops and by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tonotopy._errors import DataError, UsageError
from tonotopy.labels import LabelTree
from tonotopy.metrics.tree import tree_ndcg, unseen_class_scores

Make = Callable[..., Any]

TREE = LabelTree([("a", "x"), ("a", "y"), ("b", "z", "w"), ("b", "v"), ("c",)])
TRAIN = [("a", "x"), ("a", "y"), ("b", "z", "w"), ("b", "v"), ("c",)]
GALLERY = torch.eye(5), TREE.encode(TRAIN)


def near(leaf: int) -> torch.Tensor:
    return torch.eye(5)[leaf] + 0.01


def test_each_way_of_prediction() -> None:
    paths = [("a", "new"), ("b", "z", "new"), ("b", "other", "deep"), ("q",), ("c", "below")]
    z = torch.stack([near(0), near(3), near(2), near(1), near(0)])
    leaves = torch.zeros(5, TREE.num_leaves)
    for row, path in enumerate([("a", "y"), ("b", "v"), ("c",), ("c",), ("c",)]):
        leaves[row, TREE.leaves.index(TREE.node(path))] = 1.0
    nodes = torch.full((5, TREE.num_nodes), 0.1)
    for row, path in enumerate([("b",), ("b", "z"), ("b",), ("a",), ("c",)]):
        nodes[row, TREE.node(path)] = 0.9
    found = unseen_class_scores(
        z, paths, TREE, gallery=GALLERY, node_probabilities=nodes, leaf_probabilities=leaves, k=1
    )
    assert (found["clips"], found["classes"], found["excluded"]) == (5, 5, 1)
    by_class = {tuple(entry["path"]): entry for entry in found["lvp_by_class"]}
    expected = {
        ("a", "new"): (["a"], 0.0, 1.0, 1.0, 1.0, "a/y"),
        ("b", "z", "new"): (["b", "z"], 1.0, 0.0, 0.0, 0.0, "b/v"),
        ("b", "other", "deep"): (["b"], 1.0, 0.0, 1.0, 1.0, "c"),
        ("c", "below"): (["c"], 1.0, 1.0, 0.0, 0.0, "c"),
    }
    for path, (parent, *right, place) in expected.items():
        entry = by_class[path]
        assert entry["parent"] == parent
        assert list(entry["accuracy"].values()) == right, path
        assert entry["landed"] == [[place, 1]]
    hidden = by_class[("q",)]
    assert hidden["parent"] == []
    assert all(math.isnan(value) for value in hidden["accuracy"].values())
    assert found["lvp"] == {"level_head": 0.75, "leaf_head": 0.5, "centroid": 0.5, "knn": 0.5}
    whole = LabelTree([*paths, *TRAIN])
    assert found["ndcg"] == tree_ndcg(z, whole.encode(paths), whole)


def test_without_heads_clips_land_at_the_nearest_leaf() -> None:
    paths = [("a", "new")] * 3
    z = torch.stack([near(0), near(1), near(1)])
    found = unseen_class_scores(z, paths, TREE, gallery=GALLERY)
    assert found["lvp"]["level_head"] is None
    assert found["lvp"]["leaf_head"] is None
    assert found["lvp_by_class"][0]["landed"] == [["a/y", 2], ["a/x", 1]]
    nodes = torch.zeros(3, TREE.num_nodes)
    nodes[:, TREE.node(("b",))] = 1.0
    nodes[:, TREE.node(("b", "z"))] = 0.5
    found = unseen_class_scores(z, paths, TREE, gallery=GALLERY, node_probabilities=nodes)
    assert found["lvp_by_class"][0]["landed"] == [["b/z/w", 3]]


def test_centroid_and_vote_equal_loops(tree_case: Make) -> None:
    z, codes, tree, _ = tree_case(80, 0)
    unseen, _, _, shown = tree_case(40, 1, partial=0.0)
    paths = [(*path[: 1 + len(path) // 2], "new") for path in shown]
    found = unseen_class_scores(unseen, paths, tree, gallery=(z, codes), k=7)
    z, unseen = (torch.nn.functional.normalize(x.double(), dim=1) for x in (z, unseen))
    centroid, vote = [], []
    for path, row in zip(paths, unseen, strict=True):
        parent = tree.node(path[:-1])
        column = codes[:, tree.depth(parent) - 1]
        nodes = sorted(set(column[column >= 0].tolist()))
        means = {node: z[column == node].mean(dim=0) for node in nodes}
        best = max(nodes, key=lambda node: float(row @ means[node] / means[node].norm()))
        centroid.append(best == parent)
        order = sorted((column >= 0).nonzero()[:, 0].tolist(), key=lambda i: -float(row @ z[i]))
        votes = {
            node: sum(1 / (1 - float(row @ z[i])) for i in order[:7] if column[i] == node)
            for node in nodes
        }
        vote.append(max(nodes, key=votes.__getitem__) == parent)
    assert 0 < sum(centroid) < len(centroid)
    assert found["lvp"]["centroid"] == pytest.approx(sum(centroid) / len(centroid))
    assert found["lvp"]["knn"] == pytest.approx(sum(vote) / len(vote))


def test_ties_share() -> None:
    paths = [("a", "new"), ("b", "z", "new")]
    flat = {
        "node_probabilities": torch.ones(2, TREE.num_nodes),
        "leaf_probabilities": torch.ones(2, TREE.num_leaves),
    }
    found = unseen_class_scores(torch.zeros(2, 5), paths, TREE, gallery=GALLERY, k=5, **flat)
    a, b = (entry["accuracy"] for entry in found["lvp_by_class"])
    assert a == pytest.approx(
        {"level_head": 1 / 3, "leaf_head": 2 / 5, "centroid": 1 / 3, "knn": 0.5}
    )
    assert b == pytest.approx(
        {"level_head": 1 / 4, "leaf_head": 1 / 5, "centroid": 1 / 4, "knn": 0.25}
    )


def test_nothing_to_look_at() -> None:
    nothing = torch.empty(0, 5), TREE.encode([])
    found = unseen_class_scores(torch.empty(0, 5), [], TREE, gallery=GALLERY)
    assert found["clips"] == 0
    assert math.isnan(found["lvp"]["knn"])
    found = unseen_class_scores(torch.eye(5)[:1], [("a", "new")], TREE, gallery=nothing)
    assert found["lvp"]["knn"] == found["lvp"]["centroid"] == 0.0
    assert found["lvp_by_class"][0]["landed"] == []
    empty = LabelTree([])
    none = torch.empty(0, 5), empty.encode([])
    assert unseen_class_scores(torch.eye(5)[:1], [("a",)], empty, gallery=none)["excluded"] == 1


def test_refuses_what_does_not_fit() -> None:
    z, paths = torch.ones(1, 5), [("a", "new")]
    for path in ((), ("a",), ("a", "x")):
        with pytest.raises(UsageError, match="not in the tree"):
            unseen_class_scores(z, [path], TREE, gallery=GALLERY)
    with pytest.raises(UsageError, match="expected embeddings"):
        unseen_class_scores(z, paths * 2, TREE, gallery=GALLERY)
    with pytest.raises(UsageError, match="dimensions"):
        unseen_class_scores(z[:, :3], paths, TREE, gallery=GALLERY)
    with pytest.raises(UsageError, match=r"expected leaf_probabilities \(1, 5\)"):
        unseen_class_scores(z, paths, TREE, gallery=GALLERY, leaf_probabilities=torch.ones(1, 4))
    with pytest.raises(UsageError, match="k must be 1 or more"):
        unseen_class_scores(z, paths, TREE, gallery=GALLERY, k=0)
    with pytest.raises(DataError, match="embeddings are not finite"):
        unseen_class_scores(z * math.nan, paths, TREE, gallery=GALLERY)
    nodes = torch.full((1, TREE.num_nodes), math.nan)
    with pytest.raises(DataError, match="node_probabilities are not finite"):
        unseen_class_scores(z, paths, TREE, gallery=GALLERY, node_probabilities=nodes)
