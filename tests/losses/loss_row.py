"""What a row of the table of losses is, and the batches that every loss is tried on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from tonotopy.labels import LabelTree
from tonotopy.losses import Loss

C = 3
"""Flat classes of the batch."""

TREE = LabelTree.from_paths(
    [
        ("a", "x", "p"),
        ("a", "x", "q"),
        ("a", "y", "r"),  # a chain
        ("b",),  # a leaf at depth 1
        ("c", "w"),
        ("c", "z", "s"),
    ]
)

PATHS = [
    ("a", "x", "p"),
    ("a", "x", "q"),
    ("c", "w"),
    ("a", "x", "p"),
    (),
    ("b",),
    ("a", "y", "r"),
    ("a", "x"),  # partial
    ("c", "z", "s"),
    ("b",),
    (),
]

IDS = torch.tensor([0, 1, 2, 0, -1, 1, 2, 0, 1, 0, -1])
CODES = TREE.encode(PATHS)
CODES_OF_IDS = TREE.encode([("a", "x", "p"), ("a", "x", "q"), ("c", "w"), ()])

Rows = list[list[float]]
Oracle = Callable[[Loss, Rows, Any], float]
"""Loss, embeddings, and class ids or code rows, to the value by the formula, pair by pair."""


@dataclass(frozen=True)
class Row:
    """A loss and what is true of it."""

    name: str
    make: Callable[[int], Loss]
    oracle: Oracle
    kind: Literal["sample", "batch"] = "sample"
    form: Literal["ids", "codes"] = "ids"  # of the labels it is made for
    scale_free: bool = False  # the length of an embedding does not matter
    rotation_free: bool = False
    tolerance: float = 1e-11  # relative, against the oracle
    compiles: bool = True  # into one graph
    constants_inside: bool = False  # parts are detached, so the gradient is not the derivative
    order_matters: bool = False  # of the clips in a batch
    uses_levels: bool = False  # nested classes say more than flat ones

    def build(self, dim: int, dtype: torch.dtype = torch.float64) -> Loss:
        torch.manual_seed(3)
        return self.make(dim).to(dtype)

    def batch(self, dim: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
        """Eleven clips; the fifth and the last have no label."""
        generator = torch.Generator().manual_seed(dim)
        z = torch.randn(11, dim, generator=generator, dtype=torch.float64) + 0.3
        return z.to(dtype), self.labels(IDS) if self.form == "ids" else CODES

    def labels(self, ids: Tensor) -> Tensor:
        """Labels, in the form that this loss is made for, of ids 0, 1, 2, and -1 for none."""
        return ids if self.form == "ids" else CODES_OF_IDS[ids]


def labelled(labels: Tensor) -> Tensor:
    """Which clips something is known of."""
    return (labels if labels.ndim == 1 else labels[:, 0]) >= 0


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return dot(a, b) / (math.hypot(*a) * math.hypot(*b))
