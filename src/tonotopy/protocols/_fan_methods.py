"""What the fan experiment trains: losses with and without an auxiliary task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from tonotopy.losses import (
    AdaCosLoss,
    AdaProjLoss,
    ArcFaceLoss,
    CompactnessLoss,
    CosFaceLoss,
    CrossEntropyLoss,
    DeepSVDDLoss,
    DescriptivenessCompactnessLoss,
    Loss,
    OneClassCompactnessLoss,
    SubclusterAdaCosLoss,
)

Task = Literal["none", "id", "id+domain"]
"""Classes of the auxiliary task: one for all, one a fan, or one a fan and domain."""
TASKS: tuple[Task, ...] = get_args(Task)

EMBEDDING_DIM = 128

RAW = "raw"
UNTRAINED = "untrained"

CONTROLS = {
    RAW: "the standardised features themselves",
    UNTRAINED: "the encoder as it is initialised",
}

ONE_CLASS: dict[str, Callable[[], Loss]] = {
    "deep-svdd": lambda: DeepSVDDLoss(EMBEDDING_DIM),
    "one-class-compactness": lambda: OneClassCompactnessLoss(around="mean"),
}
"""Losses without classes."""


def _subclusters(mode: Literal["fixed", "safe"], trainable: bool) -> Callable[[int], Loss]:
    return lambda classes: SubclusterAdaCosLoss(
        classes, EMBEDDING_DIM, scale_mode=mode, trainable_centres=trainable
    )


AUXILIARY: dict[str, Callable[[int], Loss]] = {
    # Centres that are trained could meet in one point.
    "class-compactness": lambda c: CompactnessLoss(c, EMBEDDING_DIM, trainable_centres=False),
    "ce+compactness": lambda c: DescriptivenessCompactnessLoss(c, EMBEDDING_DIM),
    "ce": lambda c: CrossEntropyLoss(c, EMBEDDING_DIM),
    "cosface": lambda c: CosFaceLoss(c, EMBEDDING_DIM),
    "arcface": lambda c: ArcFaceLoss(c, EMBEDDING_DIM),
    "adacos": lambda c: AdaCosLoss(c, EMBEDDING_DIM),
    "sc-adacos-fixed-frozen": _subclusters("fixed", False),
    "sc-adacos-fixed-trainable": _subclusters("fixed", True),
    "sc-adacos-safe-frozen": _subclusters("safe", False),
    "sc-adacos-safe-trainable": _subclusters("safe", True),
    "adaproj": lambda c: AdaProjLoss(c, EMBEDDING_DIM, trainable_centres=False),
}
"""Losses over the classes of an auxiliary task, given their number."""

METHODS = (*CONTROLS, *ONE_CLASS, *AUXILIARY)
ANGULAR_MARGIN = tuple(AUXILIARY)[3:]
"""The losses on angles to class centres, in softmax."""


def tasks_of(method: str) -> tuple[Task, ...]:
    """Give the auxiliary tasks that a method is trained with."""
    return ("id", "id+domain") if method in AUXILIARY else ("none",)


def make_loss(method: str, classes: int) -> Loss:
    """Make the loss of a method that is trained."""
    return ONE_CLASS[method]() if method in ONE_CLASS else AUXILIARY[method](classes)
