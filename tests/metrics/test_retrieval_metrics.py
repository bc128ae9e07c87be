from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy.metrics import (
    knn_accuracy,
    mean_average_precision,
    precision_at_k,
    r_precision,
    retrieval_scores,
)

CUTOFFS = (1, 5, 10, 100)


def clips(
    n: int, classes: int, seed: int, dim: int = 4, grid: bool = False
) -> tuple[Tensor, Tensor]:
    """Noisy clusters, the same for every seed; on a `grid` many cosines are equal."""
    centres = torch.randn(20, dim, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(-1, classes, (n,), generator=generator)
    embeddings = centres[labels.clamp_min(0)] + torch.randn(n, dim, generator=generator)
    return (embeddings.round().clamp(-1, 1) if grid else embeddings), labels


def cosines(queries: Tensor, gallery: Tensor) -> Tensor:
    """Cosines in float64, rounded so that equal ones are equal."""
    u = queries.double() / torch.linalg.vector_norm(
        queries.double(), dim=1, keepdim=True
    ).clamp_min(1e-6)
    v = gallery.double() / torch.linalg.vector_norm(
        gallery.double(), dim=1, keepdim=True
    ).clamp_min(1e-6)
    return torch.round(u @ v.T, decimals=9)


def questions(
    embeddings: Tensor, labels: Tensor, gallery: tuple[Tensor, Tensor] | None
) -> list[tuple[Tensor, Tensor]]:
    """The scores of all labelled gallery clips and whether each is relevant, by query."""
    stored, stored_labels = (embeddings, labels) if gallery is None else gallery
    scores = cosines(embeddings, stored)
    found = []
    for query in (labels >= 0).nonzero()[:, 0].tolist():
        kept = stored_labels >= 0
        if gallery is None:
            kept = kept & (torch.arange(len(labels)) != query)
        found.append((scores[query][kept], (stored_labels == labels[query])[kept]))
    return found


def expected_precision(scores: Tensor, relevant: Tensor, k: int) -> float:
    """Place the tied clips one after another, each place a fair draw of what is left."""
    hits, left = 0.0, k
    for value in sorted(set(scores.tolist()), reverse=True):
        tied = relevant[scores == value]
        taken = min(left, len(tied))
        hits += taken * float(tied.double().mean())
        left -= taken
    return hits / k


@pytest.mark.parametrize("with_gallery", [False, True])
@pytest.mark.parametrize("grid", [False, True])
@pytest.mark.parametrize(("n", "classes"), [(60, 4), (40, 15), (30, 1)])
def test_equal_a_loop_over_queries(n: int, classes: int, grid: bool, with_gallery: bool) -> None:
    embeddings, labels = clips(n, classes, seed=n, grid=grid)
    gallery = clips(50, classes + 1, seed=1, grid=grid) if with_gallery else None
    scores = retrieval_scores(embeddings, labels, gallery=gallery, cutoffs=CUTOFFS)

    asked = [(s, r) for s, r in questions(embeddings, labels, gallery) if r.any()]
    precisions = [average_precision_score(r.numpy(), s.numpy()) for s, r in asked]
    assert scores.queries == len(asked)
    assert scores.map == pytest.approx(np.mean(precisions), abs=1e-12)
    assert scores.map_se == pytest.approx(np.std(precisions, ddof=1) / len(asked) ** 0.5, rel=1e-9)
    wanted = [expected_precision(s, r, int(r.sum())) for s, r in asked]
    assert scores.r_precision == pytest.approx(np.mean(wanted), abs=1e-12)
    for k in CUTOFFS:
        wanted = [expected_precision(s, r, k) for s, r in asked]
        assert scores.precision_at_k[k] == pytest.approx(np.mean(wanted), abs=1e-12)


def test_precision_is_the_mean_over_all_orders_of_ties() -> None:
    """The loop's shortcut against every permutation of a small gallery."""
    scores = torch.tensor([0.5, 0.5, 0.9, 0.5, 0.1])
    relevant = torch.tensor([True, False, False, True, True])
    for k in range(1, 6):
        values = []
        for order in itertools.permutations(range(5)):
            ranked = sorted(order, key=lambda i: -float(scores[i]))
            values.append(sum(bool(relevant[i]) for i in ranked[:k]) / k)
        assert expected_precision(scores, relevant, k) == pytest.approx(np.mean(values))


def near_votes(distances: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> object:
    """One vote each, and so little more for near clips that it only breaks ties."""
    return 1.0 + 1e-6 * (1.0 - distances)


@pytest.mark.parametrize("k", [1, 2, 5, 9])
@pytest.mark.parametrize("with_gallery", [False, True])
def test_knn_agrees_with_scikit_learn(k: int, with_gallery: bool) -> None:
    embeddings, labels = clips(80, 5, seed=k)
    known = (labels >= 0).nonzero()[:, 0]
    x, y = embeddings[known].double().numpy(), labels[known].numpy()
    model = KNeighborsClassifier(k, metric="cosine", algorithm="brute", weights=near_votes)
    gallery = None
    if with_gallery:
        gallery = clips(70, 5, seed=100)
        stored = gallery[1] >= 0
        model.fit(gallery[0][stored].double().numpy(), gallery[1][stored].numpy())
        wanted = float((model.predict(x) == y).mean())
    else:
        right = []
        for i in range(len(x)):
            model.fit(np.delete(x, i, axis=0), np.delete(y, i))
            right.append(model.predict(x[i : i + 1])[0] == y[i])
        wanted = float(np.mean(right))
    assert 0.2 < wanted < 0.9
    assert knn_accuracy(embeddings, labels, gallery=gallery, k=k) == pytest.approx(wanted)


def test_clips_behind_the_query_can_win() -> None:
    """Every cosine with the query is negative; the least negative is still the nearest."""
    query = (torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    gallery = (torch.tensor([[-1.0, 2.0], [-1.0, 0.5], [-1.0, 0.1]]), torch.tensor([0, 1, 1]))
    assert knn_accuracy(*query, gallery=gallery, k=1) == 1.0
    assert retrieval_scores(*query, gallery=gallery).map == 1.0
    worse = (gallery[0], torch.tensor([1, 1, 0]))
    assert retrieval_scores(*query, gallery=worse).map == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("stored", "classes", "k", "wanted"),
    [
        # Two votes against one for a nearer clip.
        ([[1.0, 0.0], [1.0, 0.1], [1.0, 0.2]], [0, 1, 1], 3, 0.0),
        # One vote each: the nearer class wins.
        ([[1.0, 0.0], [1.0, 0.1]], [0, 1], 2, 1.0),
        ([[1.0, 0.1], [1.0, 0.0]], [0, 1], 2, 0.0),
        # One vote each at the same cosine: drawn.
        ([[1.0, 0.1], [1.0, -0.1]], [0, 1], 2, 0.5),
        # Three clips tie for one place, two of them right.
        ([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]], [0, 0, 1], 1, 1.0),
        # More voters than clips: all vote.
        ([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], [0, 1, 1], 50, 0.0),
    ],
)
def test_votes(
    stored: Sequence[Sequence[float]], classes: list[int], k: int, wanted: float
) -> None:
    query = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    gallery = torch.tensor(stored), torch.tensor(classes)
    assert knn_accuracy(*query, gallery=gallery, k=k) == wanted


def test_collapse_scores_as_chance_does() -> None:
    """Six of class 0 and two of class 1, all at one place: nothing can be told apart."""
    labels = torch.tensor([0, 1, 0, 0, 1, 0, 0, 0])
    for embeddings in (torch.full((8, 3), 0.3), torch.zeros(8, 3)):
        scores = retrieval_scores(embeddings, labels)
        chance = (6 * 5 / 7 + 2 * 1 / 7) / 8
        assert scores.map == pytest.approx(chance, abs=1e-6)
        assert scores.r_precision == pytest.approx(chance, abs=1e-6)
        assert scores.precision_at_k[5] == pytest.approx(chance, abs=1e-6)
        assert scores.knn_accuracy == pytest.approx(6 / 8)


def test_duplicates_tie_whatever_the_rounding_of_the_product() -> None:
    """97 copies of few vectors, at many places of the matrix product, scaled by powers of two."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(3, 37, generator=generator)
    which = torch.randint(3, (97,), generator=generator)
    scale = 2.0 ** torch.randint(-3, 4, (97, 1), generator=generator)
    labels = torch.randint(4, (97,), generator=generator)
    copies, plain = scale * vectors[which], torch.eye(3)[which]
    apart = torch.linalg.qr(vectors.T.double()).Q.T.float()[which]
    assert retrieval_scores(copies, labels).gallery == 97
    # Copies of orthogonal vectors score as copies of the axes, where every product is exact.
    assert retrieval_scores(apart, labels).precision_at_k == pytest.approx(
        retrieval_scores(plain, labels).precision_at_k
    )
    order = torch.randperm(97, generator=generator)
    assert mean_average_precision(copies[order], labels[order]) == pytest.approx(
        mean_average_precision(copies, labels), abs=1e-12
    )


@pytest.mark.parametrize("grid", [False, True])
def test_invariant_to_order_length_and_block_size(
    grid: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings, labels = clips(70, 6, seed=2, grid=grid)
    wanted = retrieval_scores(embeddings, labels)
    order = torch.randperm(70, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("tonotopy.metrics._ranking.BLOCK", 3 * 70)
    got = retrieval_scores(4.0 * embeddings[order], labels[order])
    assert got.map == pytest.approx(wanted.map, abs=1e-12)
    assert got.precision_at_k == pytest.approx(wanted.precision_at_k, abs=1e-12)
    assert got.knn_accuracy == pytest.approx(wanted.knn_accuracy, abs=1e-12)
    assert got.r_precision == pytest.approx(wanted.r_precision, abs=1e-12)


def test_a_sample_of_queries_is_seeded_and_estimates_the_whole() -> None:
    embeddings, labels = clips(600, 5, seed=3)
    whole = retrieval_scores(embeddings, labels)
    sample = retrieval_scores(embeddings, labels, max_queries=200, seed=1)
    assert sample == retrieval_scores(embeddings, labels, max_queries=200, seed=1)
    assert sample.map != retrieval_scores(embeddings, labels, max_queries=200, seed=2).map
    assert sample.queries == 200
    assert sample.gallery == whole.gallery == int((labels >= 0).sum())
    assert abs(sample.map - whole.map) < 4 * sample.map_se
    assert sample.map_se == pytest.approx(whole.map_se * (whole.queries / 200) ** 0.5, rel=0.2)


def test_queries_without_relevant_clip_are_left_out_but_of_the_vote() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    scores = retrieval_scores(embeddings, torch.tensor([0, 0, 1]))
    assert (scores.queries, scores.map, scores.map_se) == (2, 1.0, 0.0)
    assert scores.knn_accuracy == pytest.approx(2 / 3)
    unknown = retrieval_scores(
        embeddings, torch.tensor([5, 5, 5]), gallery=(embeddings, torch.arange(3))
    )
    assert unknown.queries == 0
    assert math.isnan(unknown.map)
    assert unknown.knn_accuracy == 0.0


@pytest.mark.parametrize(
    ("n", "labels"),
    [(0, []), (1, [0]), (3, [-1, -1, -1]), (2, [-1, 4])],
)
def test_nothing_to_ask(n: int, labels: list[int]) -> None:
    scores = retrieval_scores(torch.ones(n, 3), torch.tensor(labels, dtype=torch.long))
    assert scores.queries == 0
    assert all(
        math.isnan(value)
        for value in (
            scores.map,
            scores.map_se,
            scores.r_precision,
            scores.knn_accuracy,
            *scores.precision_at_k.values(),
        )
    )


def test_an_empty_gallery() -> None:
    scores = retrieval_scores(
        torch.eye(2),
        torch.tensor([0, 1]),
        gallery=(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long)),
    )
    assert scores.gallery == 0
    assert math.isnan(scores.map)
    assert math.isnan(scores.knn_accuracy)


def test_the_short_functions_give_the_same() -> None:
    x, y = clips(40, 3, seed=4)
    gallery = clips(30, 3, seed=5)
    scores = retrieval_scores(x, y, gallery=gallery, cutoffs=(7,))
    assert mean_average_precision(x, y, gallery=gallery) == scores.map
    assert r_precision(x, y, gallery=gallery) == scores.r_precision
    assert precision_at_k(x, y, 7, gallery=gallery) == scores.precision_at_k[7]
    assert knn_accuracy(x, y, gallery=gallery) == scores.knn_accuracy


def test_wrong_use_is_named() -> None:
    x, y = torch.eye(3), torch.tensor([0, 0, 1])
    with pytest.raises(UsageError, match="k must be 1 or more, got 0"):
        knn_accuracy(x, y, k=0)
    with pytest.raises(UsageError, match="cutoffs"):
        retrieval_scores(x, y, cutoffs=(0,))
    with pytest.raises(UsageError, match="max_queries must be at least 1"):
        retrieval_scores(x, y, max_queries=0)
    with pytest.raises(UsageError, match="3 dimensions, the gallery has 2"):
        retrieval_scores(x, y, gallery=(torch.eye(2), torch.tensor([0, 1])))
    with pytest.raises(UsageError, match="integer labels"):
        knn_accuracy(x, y.float())
    with pytest.raises(UsageError, match=r"labels \(N,\)"):
        knn_accuracy(x, y[:2])
    x[1, 1] = torch.nan
    with pytest.raises(DataError, match="1 of 3 embeddings"):
        knn_accuracy(x, y)
