"""Who takes part in which visit: every one as often as it must, none twice in a visit."""

from __future__ import annotations

import numpy as np

TRADES = 8
"""Rounds of trading; after eight, one place in 256 has not been traded at all."""


def even_turns(
    required: np.ndarray, visits: int, per_visit: int, random: np.random.Generator
) -> np.ndarray:
    """Say how often each takes part: as often as required, the rest as evenly as can be.

    Args:
        required: (C,) turns that each must get, at most `visits`, `visits * per_visit` in all.
        visits: Number of visits.
        per_visit: Turns in a visit, at most C.
        random: Picks who gets one more where it does not come out even.

    Returns:
        (C,) turns, each at most `visits`, that add up to `visits * per_visit`.
    """
    total = visits * per_visit
    low, high = 0, visits
    while low < high:
        middle = (low + high + 1) // 2
        if np.maximum(required, middle).sum() <= total:
            low = middle
        else:
            high = middle - 1
    turns: np.ndarray = np.maximum(required, low)
    rest = total - int(turns.sum())
    turns[random.permutation(np.flatnonzero(turns == low))[:rest]] += 1
    return turns


def deal_turns(turns: np.ndarray, per_visit: int, random: np.random.Generator) -> np.ndarray:
    """Deal turns out to visits, at random.

    Args:
        turns: (C,) turns of each, at most V, that add up to V * per_visit.
        per_visit: Turns in a visit.
        random: Source of the draws.

    Returns:
        (V, per_visit) who takes part in each visit, all different in a row.
    """
    visits = int(turns.sum()) // per_visit
    shuffled = random.permutation(len(turns))
    # One after the other, wrapped around: nobody meets itself, having no more turns than visits.
    table = np.repeat(shuffled, turns[shuffled]).reshape(per_visit, visits).T
    if per_visit < len(turns) and per_visit > 1:
        for _ in range(TRADES):
            table = _trade(table, random)
    return table[random.permutation(visits)]


def _trade(table: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Let random pairs of visits share out anew what only one of them has."""
    visits, width = table.shape
    table = table[random.permutation(visits)]
    half = visits // 2
    both = np.sort(np.concatenate([table[:half], table[half : 2 * half]], axis=1), axis=1)
    keys = random.random(both.shape)
    shared = both[:, 1:] == both[:, :-1]
    keys[:, :-1][shared] = -1.0
    keys[:, 1:][shared] = 2.0
    both = np.take_along_axis(both, keys.argsort(axis=1), axis=1)
    return np.concatenate([both[:, :width], both[:, width:], table[2 * half :]])
