"""Batches of the rank-based loss experiment: quadruplets in a fixed order, or clips at random."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tonotopy._errors import DataError
from tonotopy.labels import PairRelations
from tonotopy.protocols._rbl_data import LabelledVectors

QUADRUPLETS_PER_BATCH = 3
CLIPS_PER_BATCH = 4 * QUADRUPLETS_PER_BATCH

Batch = tuple[Tensor, PairRelations]
Epochs = Callable[[int], Sequence[Batch]]
"""Number of an epoch to its batches: (B, D) vectors and what is known of their pairs."""

LEVELS = 2


def fixed_batches(clips: LabelledVectors, quadruplets: Tensor) -> Epochs:
    """Give the same batches of three quadruplets every epoch, as the authors' data has them.

    Args:
        clips: The training clips, with the hierarchy to learn.
        quadruplets: (Q, 4) rows of `clips`: anchor, same fine class, same coarse class, neither.
    """
    batches = [
        _take(clips, rows.flatten()) for rows in torch.split(quadruplets, QUADRUPLETS_PER_BATCH)
    ]
    return lambda epoch: batches


def shuffled_batches(clips: LabelledVectors, seed: int) -> Epochs:
    """Give batches of as many clips, drawn without regard to their labels, anew every epoch."""

    def epoch(number: int) -> list[Batch]:
        order = np.random.default_rng([seed, number]).permutation(len(clips))
        return [
            _take(clips, rows) for rows in torch.split(torch.from_numpy(order), CLIPS_PER_BATCH)
        ]

    return epoch


def quadruplets_in_file_order(codes: Tensor) -> Tensor | None:
    """Give (Q, 4) rows if every four consecutive clips of the file are a quadruplet, else None."""
    if len(codes) % 4:
        return None
    rows = torch.arange(len(codes)).reshape(-1, 4)
    coarse, fine = codes[rows].unbind(dim=-1)
    anchor, same, sibling, other = range(4)
    right = (
        (fine[:, same] == fine[:, anchor])
        & (coarse[:, sibling] == coarse[:, anchor])
        & (fine[:, sibling] != fine[:, anchor])
        & (coarse[:, other] != coarse[:, anchor])
    )
    return rows if bool(right.all()) else None


def draw_quadruplets(codes: Tensor, seed: int) -> Tensor:
    """Draw quadruplets, each clip in one at most, until no other can be made.

    The classes that have most clips left are taken first, so that few clips are left over.

    Args:
        codes: (N, 2) coarse and fine classes.
        seed: Start of all draws.

    Returns:
        (Q, 4) rows: anchor, same fine class, same coarse class, neither; in random order.

    Raises:
        DataError: Not one can be made.
    """
    random = np.random.default_rng(seed)
    left: dict[tuple[int, int], list[int]] = {}
    for row in random.permutation(len(codes)).tolist():
        coarse, fine = codes[row].tolist()
        left.setdefault((coarse, fine), []).append(row)
    table = []
    while (classes := _next_classes(left, random)) is not None:
        table.append([left[chosen].pop() for chosen in classes])
    if not table:
        raise DataError(
            "no quadruplet can be drawn from the training clips: it takes a fine class of two "
            "clips, another one of the same coarse class, and another coarse class"
        )
    return torch.tensor(table)[torch.from_numpy(random.permutation(len(table)))]


def _next_classes(
    left: dict[tuple[int, int], list[int]], random: np.random.Generator
) -> tuple[tuple[int, int], ...] | None:
    """Give the classes of an anchor, its positive, a sibling and another, largest first."""
    chance = {chosen: random.random() for chosen in left}
    classes = sorted(left, key=lambda chosen: (-len(left[chosen]), chance[chosen]))
    for anchor in classes:
        if len(left[anchor]) < 2:
            return None
        near = [c for c in classes if c[0] == anchor[0] and c != anchor and left[c]]
        far = [c for c in classes if c[0] != anchor[0] and left[c]]
        if near and far:
            return anchor, anchor, near[0], far[0]
    return None


def deal_classes(codes: Tensor, seed: int) -> dict[int, int]:
    """Deal the fine classes out to the coarse ones at random, as many to each as it has.

    Args:
        codes: (N, 2) coarse and fine classes.
        seed: Start of all draws.

    Returns:
        Fine class to coarse class, grouped otherwise than in `codes`.

    Raises:
        DataError: There is no other grouping.
    """
    coarse, fine = np.unique(codes.numpy(), axis=0).T
    _, sizes = np.unique(coarse, return_counts=True)
    if len(sizes) < 2 or sizes.max() < 2:
        raise DataError(
            "the fine classes cannot be grouped otherwise: it takes two coarse classes, one of "
            "them with two fine classes; leave out the method 'rbl-random-hierarchy'"
        )
    random = np.random.default_rng(seed)
    while True:
        dealt = random.permutation(coarse)
        if not np.array_equal(_grouping(dealt), _grouping(coarse)):
            return dict(zip(fine.tolist(), dealt.tolist(), strict=True))


def regroup(clips: LabelledVectors, coarse_of: Mapping[int, int]) -> LabelledVectors:
    """Give the clips with other coarse classes, of fine class to coarse class."""
    fine = clips.codes[:, 1]
    coarse = torch.tensor([coarse_of[leaf] for leaf in fine.tolist()])
    return LabelledVectors(clips.vectors, torch.stack([coarse, fine], dim=1))


def _grouping(coarse: NDArray[np.int64]) -> NDArray[np.bool_]:
    together: NDArray[np.bool_] = coarse[:, None] == coarse
    return together


def _take(clips: LabelledVectors, rows: Tensor) -> Batch:
    levels = clips.levels[rows][:, rows]
    return clips.vectors[rows], PairRelations.from_levels(levels, LEVELS)
