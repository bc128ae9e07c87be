"""Which clips the page lists: queries with their nearest neighbours, and the worst mistakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tonotopy.reporting._run import Clip

MAX_CANDIDATES = 5000


@dataclass(frozen=True)
class Neighbour:
    """A clip near a query: its index and the cosine of the angle between the two."""

    clip: int
    cosine: float


def choose_queries(
    clips: Sequence[Clip], candidates: NDArray[np.int64], *, count: int, seed: int
) -> list[int]:
    """Choose clips of many classes, right and wrong predictions in turn.

    Args:
        clips: All clips.
        candidates: Indices to choose from; of very many, a random `MAX_CANDIDATES` are looked at.
        count: How many to choose.
        seed: Seed of the choice.

    Returns:
        Indices, at most `count`.
    """
    rng = np.random.default_rng(seed)
    waiting = [int(index) for index in rng.permutation(candidates)[:MAX_CANDIDATES]]
    chosen: list[int] = []
    uses: Counter[str] = Counter()
    while waiting and len(chosen) < count:
        want_wrong = len(chosen) % 2 == 1
        # A stable minimum: the class used least, then the wanted outcome, then the random order.
        best = min(
            waiting,
            key=lambda index: (uses[clips[index].label_name], _wrong(clips[index]) != want_wrong),
        )
        waiting.remove(best)
        uses[clips[best].label_name] += 1
        chosen.append(best)
    return chosen


def nearest(units: NDArray[np.float32], query: int, *, count: int) -> list[Neighbour]:
    """Find the `count` other clips with the largest cosine to `query`, nearest first."""
    cosines = units @ units[query]
    cosines[query] = -np.inf
    order = np.argsort(-cosines, kind="stable")[: min(count, len(units) - 1)]
    return [Neighbour(int(clip), float(cosines[clip])) for clip in order]


def worst_mistakes(
    clips: Sequence[Clip], candidates: NDArray[np.int64], *, count: int
) -> tuple[list[int], int]:
    """Find the wrong predictions the model was surest of.

    Returns:
        Indices, surest first, at most `count`; and the number of all wrong predictions.
    """
    wrong = [int(index) for index in candidates if _wrong(clips[index])]
    wrong.sort(key=lambda index: -(clips[index].confidence or 0.0))
    return wrong[:count], len(wrong)


def shared_levels(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """Count the leading levels two label paths have in common."""
    pairs = zip(a, b, strict=False)
    return next((depth for depth, (x, y) in enumerate(pairs) if x != y), min(len(a), len(b)))


def _wrong(clip: Clip) -> bool:
    return clip.right is False
