"""A flat map of the embeddings: which clips to show, and where t-SNE puts them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_POINTS = 3000
PERPLEXITY = 30.0


def stratified_subset(groups: Sequence[str], size: int, *, seed: int) -> NDArray[np.int64]:
    """Choose `size` items so that every group keeps its share, small groups at least one.

    Args:
        groups: Group of each of the N items.
        size: How many to choose; all are taken where N <= size.
        seed: Seed of the choice.

    Returns:
        Indices in random order such that each prefix is stratified too.
    """
    rng = np.random.default_rng(seed)
    codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    priority = np.empty(len(codes))
    for code in np.unique(codes):
        members = rng.permutation(np.flatnonzero(codes == code))
        priority[members] = np.arange(len(members)) / len(members)
    shuffled = rng.permutation(len(codes))
    return shuffled[np.argsort(priority[shuffled], kind="stable")][:size]


def flat_map(units: NDArray[np.float32], *, seed: int) -> NDArray[np.float64] | None:
    """Lay unit vectors out on a plane with t-SNE (van der Maaten and Hinton 2008).

    Args:
        units: Unit vectors, (N, D).
        seed: Seed of the optimisation.

    Returns:
        Positions, (N, 2), with perplexity 30 or, for few clips, a third of N; `None` where a map
        would say nothing: fewer than 4 vectors, one dimension, or all vectors in one place.
    """
    if min(units.shape) < 2 or len(units) < 4 or float(np.ptp(units, axis=0).max()) < 1e-5:
        return None

    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(units) - 1) / 3)
    plan = TSNE(n_components=2, perplexity=perplexity, init="pca", random_state=seed)
    return np.asarray(plan.fit_transform(units), dtype=np.float64)
