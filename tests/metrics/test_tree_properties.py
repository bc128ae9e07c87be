"""What must not change the metrics over a tree, their edges, and what they refuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy.labels import LabelTree
from tonotopy.metrics.tree import _rankings as rankings_module
from tonotopy.metrics.tree import (
    adaptive_precision_at_k,
    evaluate_tree,
    hierarchical_scores,
    knn_by_level,
    mean_normalised_rank,
    misplaced_pairs,
    mistakes,
    precision_at_k,
    silhouette,
    tree_ndcg,
    triplet_accuracy,
)
from tonotopy.metrics.tree._clips import tree_clips
from tonotopy.metrics.tree._rankings import rankings
from tonotopy.metrics.tree.ranks import rank_rows
from tonotopy.metrics.tree.triplets import triplet_rows

Make = Callable[..., Any]

TREE = LabelTree([("a", "x"), ("a", "y"), ("b", "z", "w"), ("c",)])


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """The leaves of nested dicts and lists by their place."""
    if isinstance(value, dict):
        items = [(f"{name}.{key}", item) for key, item in value.items()]
    elif isinstance(value, list):
        items = [(f"{name}[{place}]", item) for place, item in enumerate(value)]
    else:
        return {name: value}
    return {key: leaf for place, item in items for key, leaf in flat(item, place).items()}


def same(a: dict[str, Any], b: dict[str, Any]) -> None:
    first, second = flat(a), flat(b)
    assert first.keys() == second.keys()
    for name, value in first.items():
        if isinstance(value, float):
            assert second[name] == pytest.approx(value, abs=1e-9, nan_ok=True), name
        else:
            assert second[name] == value, name


@pytest.mark.parametrize("grid", [False, True])
def test_order_and_length_do_not_matter(tree_case: Make, grid: bool) -> None:
    z, codes, tree, _ = tree_case(60, 0)
    if grid:
        z = z.round().clamp(-1, 1)
    predicted = codes[torch.randperm(60, generator=torch.Generator().manual_seed(1))]
    expected = evaluate_tree(z, codes, tree, predicted=predicted)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(2))
    same(expected, evaluate_tree(z[order], codes[order], tree, predicted=predicted[order]))
    lengths = torch.linspace(0.1, 30.0, 60)[:, None].double()
    same(expected, evaluate_tree(z.double() * lengths, codes, tree, predicted=predicted))


def test_names_do_not_matter(tree_case: Make) -> None:
    z, codes, tree, paths = tree_case(60, 1)

    def renamed(path: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(chr(0x17F - ord(name[0])) for name in path)

    other = LabelTree([renamed(tree.path(leaf)) for leaf in tree.leaves])
    assert renamed(tree.path(0)) != other.path(0)
    first = evaluate_tree(z, codes, tree)
    second = evaluate_tree(z, other.encode([renamed(path) for path in paths]), other)
    for scores in (first, second):
        del scores["nodes"]
    same(first, second)


def test_the_size_of_blocks_does_not_matter(
    tree_case: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    z, codes, tree, _ = tree_case(60, 2)
    gallery, validation = tree_case(50, 3)[:2], tree_case(30, 4)[:2]
    expected = evaluate_tree(z, codes, tree, gallery=gallery, validation=validation)
    for module in ("_rankings", "silhouettes", "cophenetic", "misplaced", "neighbours"):
        monkeypatch.setattr(f"tonotopy.metrics.tree.{module}.BLOCK", 130)
    assert rankings_module.BLOCK == 130
    same(expected, evaluate_tree(z, codes, tree, gallery=gallery, validation=validation))


def test_clips_without_label_do_not_matter(tree_case: Make) -> None:
    z, codes, tree, _ = tree_case(40, 5, partial=0.0)
    nothing = tree.encode([()] * 5)
    more = torch.cat([z, torch.full((5, 5), math.nan)])
    same(evaluate_tree(z, codes, tree), evaluate_tree(more, torch.cat([codes, nothing]), tree))


def test_perfect_embeddings() -> None:
    tree = LabelTree([("a", "x"), ("a", "y"), ("b", "z"), ("b", "w")])
    paths = [tree.path(leaf) for leaf in tree.leaves for _ in range(6)]
    centres = torch.tensor([[1.0, 0.4], [1.0, -0.4], [-1.0, 0.4], [-1.0, -0.4]])
    z, codes = centres.repeat_interleave(6, 0), tree.encode(paths)
    found = evaluate_tree(z, codes, tree, predicted=codes)
    rank = found.pop("mnr")
    assert rank == pytest.approx(found["mnr_floor"])
    ones = ["ndcg", "triplet_accuracy", "hierarchical_precision_at_5", "precision_at_5"]
    assert [found[name] for name in ones] == pytest.approx([1.0] * 4)
    assert found["misplaced_pairs"] == 0.0
    assert found["mistakes"]["count"] == 0
    assert math.isnan(found["mistakes"]["severity"])
    assert all(level["knn"]["accuracy"] == 1.0 for level in found["levels"])
    assert found["levels"][1]["silhouette"] == pytest.approx(1.0)


@pytest.mark.parametrize("z", [torch.ones(8, 3), torch.zeros(8, 3)])
def test_equal_embeddings_score_as_chance_does(z: Tensor) -> None:
    paths = [("a", "x")] * 2 + [("a", "y")] * 2 + [("b", "z", "w")] * 2 + [("c",)] * 2
    codes = TREE.encode(paths)
    assert precision_at_k(z, codes, TREE, k=3) == pytest.approx(1 / 7)
    assert mean_normalised_rank(z, codes, TREE).value == pytest.approx(3 / 7)
    assert triplet_accuracy(z, codes, TREE) == 0.5
    assert [score.accuracy for score in knn_by_level(z, codes, TREE, k=7)][2] == 1.0
    found = evaluate_tree(z, codes, TREE)
    assert math.isnan(found["cpcc"])
    assert found["silhouette"] == 0.0


def test_rounding_is_no_distance() -> None:
    leaves = [("a", "x")] * 3 + [("a", "y")] * 5 + [("b", "z", "w")] * 6 + [("c",)] * 7
    z = torch.tensor([[0.1, 0.7, 0.3]], dtype=torch.float64).repeat(21, 1)
    z *= torch.linspace(0.3, 7.0, 21, dtype=torch.float64)[:, None]
    found = evaluate_tree(z, TREE.encode(leaves), TREE)
    assert [level["silhouette"] for level in found["levels"][:2]] == [0.0, 0.0]
    assert math.isnan(found["cpcc"])
    assert found["triplet_accuracy"] == 0.5


@pytest.mark.parametrize("paths", [[], [("a", "x")], [()] * 4, [("a",)] * 4])
def test_nothing_to_compare(paths: list[tuple[str, ...]]) -> None:
    z = torch.randn(len(paths), 3)
    codes = TREE.encode(paths)
    scores = evaluate_tree(z, codes, TREE, predicted=codes)
    for name in ("precision_at_5", "triplet_accuracy", "cpcc", "silhouette", "misplaced_pairs"):
        assert math.isnan(scores[name]), name
    assert len(scores["nodes"]) == TREE.num_nodes


def test_one_class() -> None:
    scores = evaluate_tree(torch.randn(6, 3), TREE.encode([("c",)] * 6), TREE)
    assert scores["ndcg"] == scores["precision_at_5"] == 1.0
    assert scores["mnr"] == pytest.approx(0.4)
    assert math.isnan(scores["triplet_accuracy"])
    assert scores["levels"][1]["clips"] == 0


def test_the_empty_tree() -> None:
    tree = LabelTree([])
    scores = evaluate_tree(torch.randn(3, 2), tree.encode([()] * 3), tree)
    assert scores["levels"] == []
    assert math.isnan(scores["ndcg"])


def test_a_leaf_of_one_clip_counts_as_wrong_or_not_at_all() -> None:
    z = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    codes = TREE.encode([("a", "x"), ("a", "x"), ("c",)])
    assert precision_at_k(z, codes, TREE, k=1) == pytest.approx(2 / 3)
    assert adaptive_precision_at_k(z, codes, TREE, k=1) == 1.0


def test_mistakes_of_paths_that_end_early_or_are_not_known() -> None:
    true = TREE.encode([("a", "x"), ("b", "z", "w"), ("b",), ("c",), ("b", "z", "w")])
    guess = TREE.encode([("a",), ("b", "z", "w"), ("b", "z", "w"), ("b", "z", "w"), ("a", "y")])
    found = mistakes(guess, true, TREE)
    # The root is 3 above its deepest leaf, a is 1 above; the partial label is not judged.
    assert (found.count, found.judged) == (3, 4)
    assert found.severity == pytest.approx((1 + 3 + 3) / 3)
    assert found.mean_lca_height == pytest.approx(7 / 4)
    precision, recall, f1 = hierarchical_scores(guess, true, TREE)
    # What is predicted below the partial label is neither right nor wrong.
    assert (precision, recall, f1) == pytest.approx((5 / 10, 5 / 10, 5 / 10))


def test_samples_say_so(tree_case: Make) -> None:
    z, codes, tree, _ = tree_case(60, 6, partial=0.0)
    share, sampled = misplaced_pairs(z, codes, tree, max_clips=20)
    assert sampled == 20
    assert share != misplaced_pairs(z, codes, tree, max_clips=20, seed=1).share
    assert evaluate_tree(z, codes, tree, max_queries=10)["queries"] == 10


def test_large_counts_are_exact() -> None:
    number = 70_001
    paths = [("a", "x")] * 35_001 + [("c",)] * 35_000
    clips = tree_clips(torch.ones(number, 1), TREE.encode(paths), TREE)
    (ranking,) = rankings(clips, torch.tensor([0]))
    value, floor = rank_rows(ranking, clips)
    assert value.item() == pytest.approx((number - 2) / 2 / (number - 1), rel=1e-14)
    assert floor.item() == pytest.approx(34_999 / 2 / (number - 1), rel=1e-14)
    right, valid = triplet_rows(ranking, TREE.num_levels)
    assert valid.item() == 35_000 * 35_000
    assert right.item() == 35_000 * 35_000 / 2


def test_dot_products_depend_on_length() -> None:
    z = torch.tensor([[1.0, 0.0], [1.0, 0.1], [9.0, 9.0], [8.0, 9.0]])
    codes = TREE.encode([("a", "x"), ("a", "x"), ("c",), ("c",)])
    assert tree_ndcg(z, codes, TREE) == 1.0
    assert tree_ndcg(z, codes, TREE, similarity="dot") < 1.0
    huge = tree_ndcg(z.double() * 1e60, codes, TREE, similarity="dot")
    assert huge == tree_ndcg(z, codes, TREE, similarity="dot")


def test_refuses_what_does_not_fit() -> None:
    z, codes = torch.ones(2, 3), TREE.encode([("c",), ("a", "x")])
    with pytest.raises(UsageError, match=r"expected codes \(N, 3\)"):
        tree_ndcg(z, codes[:, :2], TREE)
    with pytest.raises(UsageError, match="encode of this tree"):
        tree_ndcg(z, codes + 40, TREE)
    with pytest.raises(UsageError, match="mode must be one of"):
        tree_ndcg(z, codes, TREE, mode="best")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="affinity must be one of"):
        tree_ndcg(z, codes, TREE, affinity="mean")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="similarity must be one of"):
        tree_ndcg(z, codes, TREE, similarity="l2")  # type: ignore[arg-type]
    many = torch.ones(4097, 1)
    with pytest.raises(UsageError, match="at most 4096 clips"):
        tree_ndcg(many, codes[:1].expand(4097, 3), TREE, mode="pooled")
    with pytest.raises(UsageError, match="k must be 1 or more"):
        precision_at_k(z, codes, TREE, k=0)
    with pytest.raises(UsageError, match="k must be 1 or more"):
        knn_by_level(z, codes, TREE, k=0)
    with pytest.raises(UsageError, match="max_clips must be 2 or more"):
        misplaced_pairs(z, codes, TREE, max_clips=1)
    with pytest.raises(UsageError, match="max_queries must be at least 1"):
        evaluate_tree(z, codes, TREE, max_queries=0)
    with pytest.raises(UsageError, match="one predicted path a clip"):
        evaluate_tree(z, codes, TREE, predicted=codes[:1])
    with pytest.raises(UsageError, match="dimensions"):
        evaluate_tree(z, codes, TREE, gallery=(torch.ones(2, 4), codes))
    with pytest.raises(DataError, match="not finite"):
        triplet_accuracy(torch.full((2, 3), math.inf), codes, TREE)
    with pytest.raises(UsageError, match="expected embeddings"):
        silhouette(z, codes)
