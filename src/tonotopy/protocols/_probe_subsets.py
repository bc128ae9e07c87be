"""What is learnt from few labels: few-shot accuracy and learning curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tonotopy._progress import track
from tonotopy.metrics.clip_accuracy import BootstrapInterval
from tonotopy.protocols._probe_linear import DEFAULT_PENALTY, Standardiser, fit_linear
from tonotopy.protocols._probe_methods import Judged
from tonotopy.protocols._probe_neighbours import centroid_scores, vote_patches
from tonotopy.protocols._probe_patches import LabelledPatches

Accuracies = dict[str, BootstrapInterval]
Method = Callable[[LabelledPatches], Accuracies]


def few_shot(
    train: LabelledPatches, test: Judged, *, shots: Sequence[int], draws: int, seed: int
) -> dict[str, Any]:
    """Judge classifiers that know k clips of each class, many times over.

    A clip is known by the mean of its patches. All dimensions are standardised by the patches of
    all training clips, for which no label is needed; the penalty of the linear classifier is
    fixed, because choosing it would take further labels. A class with fewer than k training clips
    gives all; a k that no class has is left out.

    Args:
        train: All training clips.
        test: The test clips.
        shots: The k.
        draws: How often k clips are drawn.
        seed: Of the draws.

    Returns:
        `{"draws", "penalty", "centroid": [row], "linear": [row]}` with one row a k; see `_row`.
    """
    scaling = Standardiser.fit(train.embeddings)
    means = train.clip_means()
    known = LabelledPatches(scaling(means.embeddings), means.owners, means.labels)
    queries = scaling(test.patches.embeddings)
    unscaled = Standardiser(np.zeros_like(scaling.mean), np.ones_like(scaling.std))

    def centroid(chosen: LabelledPatches) -> Accuracies:
        return test.by_probability(centroid_scores(queries, chosen, test.num_classes))[0]

    def linear(chosen: LabelledPatches) -> Accuracies:
        probe = fit_linear(chosen, DEFAULT_PENALTY, scaling=unscaled)
        return test.by_probability(probe.probabilities(queries))[0]

    largest = int(np.bincount(known.labels).max())
    sizes = [k for k in sorted(set(shots)) if k <= largest]
    methods = {"centroid": centroid, "linear": linear}
    rows = _rows(known, methods, sizes, draws, seed, label="Few-shot")
    return {"draws": draws, "penalty": DEFAULT_PENALTY, **rows}


def learning_curves(
    train: LabelledPatches,
    test: Judged,
    *,
    penalty: float | None,
    neighbours: int | None,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Judge the probes on 1, 2, 4, ... training clips of each class, up to all.

    They are those of the whole training split, with the penalty and the number of neighbours that
    were chosen there. A class with fewer clips than the others gives all that it has.

    Args:
        train: All training clips.
        test: The test clips.
        penalty: Of the linear probe; None to leave it out.
        neighbours: That vote, at most; None to leave them out.
        draws: How often clips are drawn.
        seed: Of the draws.

    Returns:
        `{"draws", "linear": [row], "knn": [row]}` with one row a size; see `_row`.
    """

    def linear(chosen: LabelledPatches) -> Accuracies:
        assert penalty is not None
        probe = fit_linear(chosen, penalty)
        return test.by_probability(probe.probabilities(test.patches.embeddings))[0]

    def knn(chosen: LabelledPatches) -> Accuracies:
        assert neighbours is not None
        k = min(neighbours, len(chosen.embeddings))
        votes = vote_patches(test.patches.embeddings, chosen, [k], test.num_classes)
        return test.by_majority(votes[k])[0]

    largest = int(np.bincount(train.labels).max())
    sizes = [*(2**step for step in range(math.ceil(math.log2(largest)))), largest]
    methods = {
        name: method
        for name, method, wanted in (("linear", linear, penalty), ("knn", knn, neighbours))
        if wanted is not None
    }
    return {
        "draws": draws,
        **_rows(train, methods, sizes, draws, seed, label="Learning curves"),
    }


def _rows(
    train: LabelledPatches,
    methods: Mapping[str, Method],
    sizes: Sequence[int],
    draws: int,
    seed: int,
    *,
    label: str,
) -> dict[str, list[dict[str, Any]]]:
    """Judge every method on the same draws; a larger draw holds the smaller ones."""
    orders = [_order(train.labels, seed, draw) for draw in range(draws)]
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in methods}
    for size in track(sizes, label=label, total=len(sizes)):
        # All draws are one where every class gives all its clips.
        chosen = [np.flatnonzero(order < size) for order in orders]
        if len(chosen[0]) == len(train.labels):
            chosen = chosen[:1]
        subsets = [train.subset(clips) for clips in chosen]
        for name, method in methods.items():
            rows[name].append(_row(size, subsets, [method(subset) for subset in subsets]))
    return rows


def _order(labels: NDArray[np.int64], seed: int, draw: int) -> NDArray[np.int64]:
    """Give every clip its place among the clips of its class, in random order."""
    random = np.random.default_rng([seed, draw])
    shuffled = random.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    sizes = np.bincount(labels)
    place = np.empty(len(labels), dtype=np.int64)
    place[by_class] = np.concatenate([np.arange(size) for size in sizes])
    return place


def _row(
    size: int, subsets: Sequence[LabelledPatches], judged: Sequence[Accuracies]
) -> dict[str, Any]:
    """Give the clips of each class, of all classes, the draws, and the spread over them.

    `low` and `high` are the 2.5th and 97.5th percentiles of the draws: what one may expect of a
    single choice of clips. The mean itself is known √draws times better.
    """
    return {
        "clips_per_class": size,
        "clips": len(subsets[0].labels),
        "draws": len(judged),
        "accuracy": {name: _spread([found[name].value for found in judged]) for name in judged[0]},
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return {"mean": float(np.mean(values)), "sd": deviation, "low": float(low), "high": float(high)}
