"""The classifiers of a probe against loops and closed forms."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from tonotopy.protocols._probe_linear import Standardiser, fit_linear
from tonotopy.protocols._probe_neighbours import centroid_scores, vote_patches
from tonotopy.protocols._probe_patches import LabelledPatches, cut_patches
from tonotopy.protocols._probe_subsets import _order

CLASSES = 3


def unit(rows: NDArray[Any]) -> NDArray[Any]:
    """Scale one row, or each of several, to length one."""
    lengths: NDArray[Any] = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return lengths


def blobs(seed: int = 0, clips: int = 18, dim: int = 5) -> LabelledPatches:
    """Clips of one to four patches around their class's centre."""
    random = np.random.default_rng(seed)
    labels = np.arange(clips) % CLASSES
    owners = np.repeat(np.arange(clips), random.integers(1, 5, clips))
    centres = random.standard_normal((CLASSES, dim))
    rows = centres[labels[owners]] + 0.8 * random.standard_normal((len(owners), dim))
    return LabelledPatches(rows.astype(np.float32), owners, labels)


@pytest.mark.parametrize("k", [1, 3, 8, 1000])
def test_votes_equal_the_loop(k: int) -> None:
    train, queries = blobs(0), blobs(1).embeddings
    expected = []
    for cosines in unit(queries) @ unit(train.embeddings).T:
        nearest = np.argsort(-cosines)[:k]
        votes = Counter(train.patch_labels[nearest].tolist())
        most = max(votes.values())
        expected.append(min(label for label, count in votes.items() if count == most))
    assert vote_patches(queries, train, [k], CLASSES)[k].tolist() == expected


def test_votes_of_several_sizes_are_those_of_each() -> None:
    train, queries = blobs(0), blobs(1).embeddings
    together = vote_patches(queries, train, [1, 4, 9], CLASSES)
    for k, votes in together.items():
        torch.testing.assert_close(votes, vote_patches(queries, train, [k], CLASSES)[k])


def test_centroids_equal_the_loop() -> None:
    train, queries = blobs(2), blobs(3).embeddings
    for q, scores in zip(queries, centroid_scores(queries, train, CLASSES), strict=True):
        for label in range(CLASSES):
            clips = [c for c in range(len(train.labels)) if train.labels[c] == label]
            means = [
                np.mean([unit(x) for x in train.embeddings[train.owners == c]], axis=0)
                for c in clips
            ]
            expected = unit(q) @ unit(np.mean(means, axis=0))
            assert scores[label] == pytest.approx(expected, abs=1e-5)


def objective(
    weights: NDArray[np.float64], bias: NDArray[np.float64], train: LabelledPatches, penalty: float
) -> float:
    """Mean over clips of the mean over their patches, and the penalty."""
    scaling = Standardiser.fit(train.embeddings)
    logits = torch.from_numpy(scaling(train.embeddings) @ weights.T + bias)
    losses = cross_entropy(logits, torch.from_numpy(train.patch_labels), reduction="none").numpy()
    clips = [losses[train.owners == clip].mean() for clip in range(len(train.labels))]
    return float(np.mean(clips) + penalty / 2 * (weights**2).sum())


@pytest.mark.parametrize("dim", [5, 100])  # fewer, and more than there are patches
@pytest.mark.parametrize("penalty", [1.0, 0.01])
def test_the_linear_probe_minimises_what_it_says(penalty: float, dim: int) -> None:
    train = blobs(4, dim=dim)
    probe = fit_linear(train, penalty)
    assert probe.converged
    least = objective(probe.weights, probe.bias, train, penalty)
    random = np.random.default_rng(0)
    for size in (0.3, 0.03):
        for _ in range(50):
            weights = probe.weights + size * random.standard_normal(probe.weights.shape)
            bias = probe.bias + size * random.standard_normal(probe.bias.shape)
            assert objective(weights, bias, train, penalty) > least


def test_repeating_every_clip_changes_nothing() -> None:
    train = blobs(4)
    twice = LabelledPatches(
        np.concatenate([train.embeddings] * 2),
        np.concatenate([train.owners, train.owners + len(train.labels)]),
        np.concatenate([train.labels] * 2),
    )
    queries = blobs(5).embeddings
    np.testing.assert_allclose(
        fit_linear(train, 0.1).probabilities(queries),
        fit_linear(twice, 0.1).probabilities(queries),
        atol=2e-3,
    )


def test_probabilities_do_not_depend_on_scale_and_shift_of_the_embedding() -> None:
    train, queries = blobs(4), blobs(5).embeddings
    random = np.random.default_rng(0)
    scale = random.uniform(0.1, 10, 5).astype(np.float32)
    shift = random.uniform(-1, 1, 5).astype(np.float32)
    moved = LabelledPatches(train.embeddings * scale + shift, train.owners, train.labels)
    np.testing.assert_allclose(
        fit_linear(moved, 0.1).probabilities(queries * scale + shift),
        fit_linear(train, 0.1).probabilities(queries),
        atol=2e-3,
    )


def test_two_classes_give_two_columns() -> None:
    train = blobs(4)
    pair = train.subset(np.flatnonzero(train.labels < 2))
    probe = fit_linear(pair, 0.1)
    found = probe.probabilities(pair.embeddings)
    assert found.shape == (len(pair.owners), 2)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found.argmax(axis=1) == pair.patch_labels).mean() > 0.8


def test_dimensions_that_do_not_vary_do_no_harm() -> None:
    rows = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    rows[:, 1] = 1234.5678
    rows[:, 2] = 0.0
    scaled = Standardiser.fit(rows)(rows)
    assert np.isfinite(scaled).all()
    assert np.abs(scaled).max() < 10
    assert scaled[:, 0].std() == pytest.approx(1, abs=1e-3)


def test_subsets_and_means_equal_the_loop() -> None:
    patches = blobs(6)
    chosen = np.array([7, 2, 11])
    part = patches.subset(chosen)
    assert part.labels.tolist() == patches.labels[[2, 7, 11]].tolist()
    rows = [patches.embeddings[patches.owners == clip] for clip in (2, 7, 11)]
    np.testing.assert_array_equal(part.embeddings, np.concatenate(rows))
    assert part.owners.tolist() == [i for i, row in enumerate(rows) for _ in row]
    means = part.clip_means()
    np.testing.assert_allclose(means.embeddings, [row.mean(axis=0) for row in rows], rtol=1e-5)
    assert np.bincount(part.owners, weights=part.weights).tolist() == pytest.approx([1, 1, 1])


def test_draws_take_each_clip_of_a_class_once_and_hold_the_smaller_ones() -> None:
    labels = np.array([0, 1, 1, 0, 2, 1, 0, 0])
    seen = set()
    for draw in range(30):
        order = _order(labels, 3, draw)
        for label in range(3):
            own = sorted(order[labels == label].tolist())
            assert own == list(range(len(own)))
        seen.add(tuple(np.flatnonzero(order < 1).tolist()))
    assert len(seen) > 6  # of the 12 choices of one clip a class
    assert (_order(labels, 3, 0) == _order(labels, 3, 0)).all()


@pytest.mark.parametrize(
    ("samples", "seconds", "firsts"),
    [
        (1000, 0.5, [0, 250, 500]),
        (1249, 0.5, [0, 250, 500]),
        (1250, 0.5, [0, 250, 500, 750]),
        (499, 0.5, [0]),
        (500, 0.5, [0]),
        (3, 0.5, [0]),
    ],
)
def test_patches_lie_half_of_one_apart(samples: int, seconds: float, firsts: list[int]) -> None:
    wave = np.arange(samples, dtype=np.float32)
    patches = cut_patches(wave, 1000, seconds)
    assert [int(patch[0]) for patch in patches] == firsts
    assert {len(patch) for patch in patches} == {min(500, samples)}
