"""The dict of all numbers over a tree: its form, and that it holds what the functions give."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
import torch

from tonotopy.labels import LabelTree, display_name
from tonotopy.metrics.tree import (
    adaptive_precision_at_k,
    cophenetic_correlation,
    evaluate_tree,
    hierarchical_precision_at_k,
    hierarchical_scores,
    knn_by_level,
    mean_normalised_rank,
    misplaced_pairs,
    mistakes,
    precision_at_k,
    tree_ndcg,
    triplet_accuracy,
)

Make = Callable[..., Any]

LEVEL = {
    "level",
    "classes",
    "clips",
    "accuracy",
    "macro_f1",
    "knn",
    "map",
    "r_precision",
    "silhouette",
}
KEYS = {
    "levels",
    "silhouette",
    "ndcg",
    "mnr",
    "mnr_floor",
    "precision_at_5",
    "adaptive_precision_at_5",
    "hierarchical_precision_at_5",
    "hierarchical",
    "mistakes",
    "triplet_accuracy",
    "cpcc",
    "misplaced_pairs",
    "queries",
    "pairs",
    "nodes",
    "confusion",
    "unseen",
}


def test_form_without_predictions(tree_case: Make) -> None:
    z, codes, tree, _ = tree_case(40, 0)
    found = evaluate_tree(z, codes, tree)
    assert found.keys() == KEYS
    assert [level["level"] for level in found["levels"]] == [1, 2, 3]
    assert [level["classes"] for level in found["levels"]] == [3, 4, 5]
    for level in found["levels"]:
        assert level.keys() == LEVEL
        assert level["knn"].keys() == {"k", "accuracy"}
        assert level["accuracy"] is None
        assert level["macro_f1"] is None
    assert found["hierarchical"] is found["mistakes"] is found["confusion"] is None
    assert found["unseen"] is None
    assert found["pairs"] == "exact"
    assert found["nodes"][0].keys() == {"path", "clips", "recall", "precision", "mistakes"}
    assert found["nodes"][0]["recall"] is None
    assert json.loads(json.dumps(found)) == found


def test_holds_what_the_functions_give(tree_case: Make) -> None:
    z, codes, tree, _ = tree_case(50, 1)
    gallery, validation = tree_case(60, 2)[:2], tree_case(30, 3)[:2]
    predicted = tree_case(50, 4, partial=0.2)[1]
    found = evaluate_tree(
        z, codes, tree, predicted=predicted, gallery=gallery, validation=validation
    )
    rank = mean_normalised_rank(z, codes, tree)
    assert {name: found[name] for name in KEYS - {"levels", "nodes", "confusion"}} == {
        "silhouette": pytest.approx(
            sum(level["silhouette"] for level in found["levels"]) / tree.num_levels
        ),
        "ndcg": tree_ndcg(z, codes, tree),
        "mnr": rank.value,
        "mnr_floor": rank.floor,
        "precision_at_5": precision_at_k(z, codes, tree),
        "adaptive_precision_at_5": adaptive_precision_at_k(z, codes, tree),
        "hierarchical_precision_at_5": hierarchical_precision_at_k(z, codes, tree),
        "hierarchical": hierarchical_scores(predicted, codes, tree)._asdict(),
        "mistakes": asdict(mistakes(predicted, codes, tree)),
        "triplet_accuracy": triplet_accuracy(z, codes, tree),
        "cpcc": cophenetic_correlation(z, codes, tree),
        "misplaced_pairs": misplaced_pairs(z, codes, tree).share,
        "queries": int((codes[:, 0] >= 0).sum()),
        "pairs": "exact",
        "unseen": None,
    }
    knn = knn_by_level(z, codes, tree, gallery=gallery, validation=validation)
    assert [level["knn"] for level in found["levels"]] == [score._asdict() for score in knn]


def test_nodes_and_confusion_equal_counts(tree_case: Make) -> None:
    z, codes, tree, _ = tree_case(90, 5)
    predicted = tree_case(90, 6, partial=0.3)[1]
    found = evaluate_tree(z, codes, tree, predicted=predicted)
    true, guess = codes.tolist(), predicted.tolist()
    for node, entry in enumerate(found["nodes"]):
        level = tree.depth(node) - 1
        assert entry["path"] == list(tree.path(node))
        taken: Counter[str] = Counter()
        right = clips = called = 0
        for a, b in zip(true, guess, strict=True):
            called += a[level] >= 0 and b[level] == node
            if a[level] != node:
                continue
            clips += 1
            right += b[level] == node
            if b[level] != node:
                known = [other for other in b[: level + 1] if other >= 0]
                taken[display_name(tree.path(known[-1])) if known else ""] += 1
        assert entry["clips"] == clips
        assert entry["recall"] == pytest.approx(right / clips if clips else math.nan, nan_ok=True)
        precision = right / called if called else math.nan
        assert entry["precision"] == pytest.approx(precision, nan_ok=True)
        assert len(entry["mistakes"]) == min(5, len(taken))
        assert all(taken[name] == count for name, count in entry["mistakes"])
        named = [count for _, count in entry["mistakes"]]
        assert named == sorted(taken.values(), reverse=True)[:5]
    assert [table["level"] for table in found["confusion"]] == [1, 2, 3]
    for table in found["confusion"]:
        column = table["level"] - 1
        counts = Counter((a[column], b[column]) for a, b in zip(true, guess, strict=True))
        nodes = [node for node in range(tree.num_nodes) if tree.depth(node) == column + 1]
        assert table["names"] == [display_name(tree.path(node)) for node in nodes]
        assert table["counts"] == [[counts[a, b] for b in nodes] for a in nodes]


def test_levels_too_small_or_too_large_have_no_confusion() -> None:
    tree = LabelTree([("a", str(n)) for n in range(61)])
    codes = tree.encode([("a", "1"), ("a", "2")])
    found = evaluate_tree(torch.eye(2), codes, tree, predicted=codes)
    assert found["confusion"] == []
    assert [level["accuracy"] for level in found["levels"]] == [1.0, 1.0]


def test_large_sets_are_sampled() -> None:
    tree = LabelTree([("a", "x"), ("a", "y"), ("b", "z")])
    leaves = torch.arange(2500) % 3
    codes = tree.encode([tree.path(tree.leaves[leaf]) for leaf in leaves.tolist()])
    z = torch.nn.functional.one_hot(leaves, 3).float()
    z = z + 0.1 * torch.randn(2500, 3, generator=torch.Generator().manual_seed(0))
    found = evaluate_tree(z, codes, tree, max_queries=50)
    assert found["queries"] == 50
    assert found["pairs"] == {"sampled_clips": 2000}
    assert found["precision_at_5"] > 0.95
