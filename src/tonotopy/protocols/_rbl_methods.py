"""The methods that the rank-based loss paper compares, and the loss that we prefer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from tonotopy.losses import Loss, QuadrupletLoss, RankBasedLoss
from tonotopy.protocols._rbl_batches import (
    Epochs,
    deal_classes,
    draw_quadruplets,
    fixed_batches,
    quadruplets_in_file_order,
    regroup,
    shuffled_batches,
)
from tonotopy.protocols._rbl_data import LabelledVectors, SplitVectors

Distance = Literal["cosine", "euclidean"]
DISTANCES: tuple[Distance, ...] = get_args(Distance)

INITIAL = "init-emb"
"""The given vectors at length one; nothing is trained."""


@dataclass(frozen=True)
class Method:
    """One way to train the layer.

    Args:
        loss: Distance to loss.
        published: Whether the loss is that of the paper's tables.
        hierarchy: `"random"` deals the fine classes out to the coarse ones at random, for training
            and for the choice of the epoch; what is measured is the true hierarchy.
        batches: `"quadruplets"`, three in a batch of twelve, or `"shuffled"` clips.
    """

    loss: Callable[[Distance], Loss]
    published: bool = False
    hierarchy: Literal["true", "random"] = "true"
    batches: Literal["quadruplets", "shuffled"] = "quadruplets"


def _quadruplet_loss(distance: Distance) -> Loss:
    # The authors' Euclidean branch squares the distance.
    if distance == "euclidean":
        return QuadrupletLoss(distance="squared_euclidean", quadruplets="rows")
    return QuadrupletLoss(quadruplets="rows")


def _rank_based_loss(distance: Distance) -> Loss:
    return RankBasedLoss(distance=distance)


def _released_loss(distance: Distance) -> Loss:
    return RankBasedLoss.published(distance=distance)


METHODS: dict[str, Method] = {
    "quadl": Method(_quadruplet_loss, published=True),
    "rbl": Method(_rank_based_loss),
    "rbl-released": Method(_released_loss, published=True),
    "rbl-unconstrained": Method(_rank_based_loss, batches="shuffled"),
    "rbl-random-hierarchy": Method(_rank_based_loss, hierarchy="random"),
}
"""Name to method, without `INITIAL`."""


def prepare(data: SplitVectors, method: Method, seed: int) -> tuple[Epochs, LabelledVectors]:
    """Give the batches of every epoch and the clips that choose the epoch.

    Quadruplets are the clips in file order where these are such, as in the authors' data;
    otherwise, and for a random hierarchy, they are drawn once and stay the same in all epochs.

    Args:
        data: All splits.
        method: What to train.
        seed: Of the hierarchy, of the quadruplets and of the shuffling.
    """
    train, val = data.splits["train"], data.splits["val"]
    if method.hierarchy == "random":
        coarse_of = deal_classes(train.codes, seed)
        train, val = regroup(train, coarse_of), regroup(val, coarse_of)
    if method.batches == "shuffled":
        return shuffled_batches(train, seed), val
    return quadruplet_batches(train, seed), val


def quadruplet_batches(clips: LabelledVectors, seed: int) -> Epochs:
    """Give batches of three quadruplets: the clips in file order if they are such, else drawn."""
    table = quadruplets_in_file_order(clips.codes)
    return fixed_batches(clips, draw_quadruplets(clips.codes, seed) if table is None else table)
