"""Reference inputs and values of angular softmax and compactness losses, in float64."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from tonotopy.losses import Loss

_FILE: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden" / "angular_softmax.json").read_text(encoding="utf-8")
)
INPUTS = _FILE["inputs"]
VALUES = _FILE["values"]

L = TypeVar("L", bound=Loss)


def tensor(name: str) -> Tensor:
    return torch.tensor(INPUTS[name], dtype=torch.float64)


Z = tensor("embeddings")
Y = torch.tensor(INPUTS["labels"])
SOFT = tensor("soft_labels")
W = tensor("centres")
WS = tensor("sub_centres")


def golden(make: Callable[[], L], centres: Tensor) -> L:
    """Make a loss in float64, its first scale unrounded, with given centres."""
    torch.set_default_dtype(torch.float64)
    try:
        loss = make()
    finally:
        torch.set_default_dtype(torch.float32)
    holder = loss if loss.head is None else loss.head
    with torch.no_grad():
        dict(holder.state_dict(keep_vars=True))["centres"].copy_(centres)
    return loss


def units(x: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / length


def one_hot(labels: Tensor, classes: int) -> Tensor:
    return F.one_hot(labels, classes).double()
