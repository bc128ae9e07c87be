"""Where scikit-learn has the same score, the value is the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    ndcg_score,
    precision_score,
    recall_score,
    silhouette_samples,
    silhouette_score,
)
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from tonotopy.metrics.tree import (
    evaluate_tree,
    hierarchical_scores,
    knn_by_level,
    level_silhouettes,
    silhouette,
    tree_ndcg,
)

Make = Callable[..., Any]


def cosines(a: Tensor, b: Tensor) -> Tensor:
    a, b = (torch.nn.functional.normalize(x.double(), dim=1) for x in (a, b))
    return a @ b.T


def distances(x: Tensor) -> np.ndarray:
    found = (1.0 - cosines(x, x)).clamp_min(0.0).numpy()
    np.fill_diagonal(found, 0.0)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_silhouette(tree_case: Make, seed: int) -> None:
    z, codes, tree, _ = tree_case(60, seed)
    z[5], z[7] = 0.0, z[6]
    expected = []
    for column in codes.T:
        known = column >= 0
        x, labels = z[known], column[known]
        expected.append(silhouette_score(distances(x), labels, metric="precomputed"))
        assert silhouette(z, column) == pytest.approx(expected[-1], abs=1e-12)
    found = level_silhouettes(z, codes, tree)
    assert found.levels == pytest.approx(expected, abs=1e-12)
    assert found.mean == pytest.approx(np.mean(expected), abs=1e-12)


def test_silhouette_of_classes_of_one_clip() -> None:
    z = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 3, -1, -1])
    expected = silhouette_samples(distances(z[:7]), labels[:7], metric="precomputed").mean()
    assert silhouette(z, labels) == pytest.approx(expected, abs=1e-12)
    assert math.isnan(silhouette(z, torch.arange(9)))
    assert math.isnan(silhouette(z, torch.zeros(9, dtype=torch.long)))


@pytest.mark.parametrize("seed", range(3))
def test_ndcg(tree_case: Make, seed: int) -> None:
    z, codes, tree, paths = tree_case(40, seed, partial=0.0)
    z = z.round()
    scores = cosines(z, z).numpy().round(9)
    values = []
    for i, a in enumerate(paths):
        others = [j for j in range(len(paths)) if j != i]
        common = [tree.lca_depth(tree.node(a), tree.node(paths[j])) for j in others]
        longest = [max(len(a), len(paths[j])) for j in others]
        gains = 1 - (np.array(longest) - np.array(common)) / tree.num_levels
        values.append(ndcg_score([gains], [scores[i, others]]))
    assert tree_ndcg(z, codes, tree) == pytest.approx(np.mean(values), abs=1e-12)


def test_hierarchical_scores_are_micro_averages(tree_case: Make) -> None:
    _, codes, tree, _ = tree_case(80, 0, partial=0.0)
    predicted = codes[torch.randperm(80, generator=torch.Generator().manual_seed(1))]

    def nodes(rows: Tensor) -> np.ndarray:
        marks = torch.zeros(len(rows), tree.num_nodes + 1, dtype=torch.long)
        return marks.scatter_(1, rows.clamp_min(-1) + 1, 1)[:, 1:].numpy()

    found = hierarchical_scores(predicted, codes, tree)
    expected = [
        score(nodes(codes), nodes(predicted), average="micro")
        for score in (precision_score, recall_score, f1_score)
    ]
    assert found == pytest.approx(expected, abs=1e-12)


def test_levels_of_the_evaluation(tree_case: Make) -> None:
    z, codes, tree, _ = tree_case(50, 3)
    predicted = tree.encode([tree.path(tree.leaves[i % len(tree.leaves)]) for i in range(50)])
    found = evaluate_tree(z, codes, tree, predicted=predicted)["levels"]
    for column, guess, scores in zip(codes.T, predicted.T, found, strict=True):
        known = column >= 0
        x, labels = z[known], column[known]
        similar = cosines(x, x)
        rows = torch.arange(len(x))
        average = [
            average_precision_score((labels == labels[i])[rows != i], similar[i][rows != i])
            for i in rows.tolist()
            if (labels == labels[i]).sum() > 1
        ]
        assert scores["clips"] == len(x)
        assert scores["map"] == pytest.approx(np.mean(average), abs=1e-12)
        assert scores["accuracy"] == pytest.approx((guess[known] == labels).double().mean().item())
        assert scores["macro_f1"] == pytest.approx(
            f1_score(labels, guess[known], labels=labels.unique(), average="macro")
        )


@pytest.mark.parametrize("coarse", ["vote", "parent"])
def test_neighbours(tree_case: Make, coarse: Any) -> None:
    z, codes, tree, _ = tree_case(60, 0)
    gallery = tree_case(90, 1)[:2]
    validation = tree_case(40, 2)[:2]
    gallery[0][3] = z[4]  # an exact match votes alone
    found = knn_by_level(z, codes, tree, gallery=gallery, validation=validation, coarse=coarse)
    ancestors = {int(row.max()): row for row in gallery[1]}
    for level, score in enumerate(found):
        column = gallery[1][:, level]
        voting, target = column >= 0, column
        if coarse == "parent":
            voting, target = (gallery[1] != -1).all(dim=1), gallery[1].amax(dim=1)

        def accuracy(x: Tensor, truth: Tensor, k: int, level: int, v: Tensor, t: Tensor) -> float:
            vote = KNeighborsClassifier(k, weights="distance", metric="cosine", algorithm="brute")
            guess = vote.fit(gallery[0][v].double(), t[v]).predict(x[truth >= 0].double())
            if coarse == "parent":
                guess = np.array([int(ancestors[node][level]) for node in guess])
            return float(np.mean(guess == truth[truth >= 0].numpy()))

        tried = [
            accuracy(validation[0], validation[1][:, level], k, level, voting, target)
            for k in range(1, min(40, int(voting.sum())) + 1)
        ]
        assert score.k == 1 + int(np.argmax(tried))
        expected = accuracy(z, codes[:, level], score.k, level, voting, target)
        assert score.accuracy == pytest.approx(expected, abs=1e-12)
