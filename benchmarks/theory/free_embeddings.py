"""What a margin loss does to embeddings that may go anywhere: no network stands in between."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tonotopy.geometry import unit_vectors
from tonotopy.losses.compactness import class_compactness
from tonotopy.losses.margin_softmax import margin_softmax_loss

DIM = 64
SCALE = 8.0
STEPS = 400
RATE = 0.1
"""Step of an embedding, times the gradient of its own loss."""

CENTRE_RATE = 0.0025
"""Step of a trained centre, times the gradient of the sum of all clips' losses."""


@dataclass(frozen=True)
class Case:
    """What is trained: so many classes, sub-centres of each and clips of each."""

    classes: int
    subclusters: int
    clips: int
    trainable: bool = False


@dataclass(frozen=True)
class Step:
    """Where a run stands after some steps.

    Attributes:
        loss: Mean loss, in nats.
        compactness: Mean squared chord to the nearest centre of the own class, 0 to 4.
        spread: Mean squared chord between two clips of a class; 2 for independent directions.
        pull: Mean of 1 - p_y, the weight with which a clip is drawn to its class.
    """

    loss: float
    compactness: float
    spread: float
    pull: float


CASES = {
    "C = 10, S = 1, frozen": Case(10, 1, 20),
    "C = 10, S = 1, trained": Case(10, 1, 20, trainable=True),
    "C = 100, S = 1, frozen": Case(100, 1, 5),
    "C = 10, S = 16, frozen": Case(10, 16, 20),
    "C = 10, S = 16, trained": Case(10, 16, 20, trainable=True),
}


def descend(case: Case, steps: int = STEPS, seed: int = 0) -> list[Step]:
    """Move random embeddings down the loss; give where they stand before and after every step."""
    generator = torch.Generator().manual_seed(seed)
    w = _random_units(case.classes * case.subclusters, generator).requires_grad_(case.trainable)
    z = _random_units(case.classes * case.clips, generator).requires_grad_()
    y = torch.arange(case.classes).repeat_interleave(case.clips)
    trace = []
    for _ in range(steps + 1):
        loss = margin_softmax_loss(z, w, y, scale=SCALE, subclusters=case.subclusters)
        trace.append(_measure(case, loss, z.detach(), w.detach(), y))
        total = len(y) * loss
        grads = torch.autograd.grad(total, [z, w] if case.trainable else [z])
        with torch.no_grad():
            z = unit_vectors(z - RATE * grads[0])
            w = unit_vectors(w - CENTRE_RATE * grads[1]) if case.trainable else w
        z.requires_grad_()
        w.requires_grad_(case.trainable)
    return trace


def slide(z: Tensor, centres: Tensor, y: Tensor, scale: float, steps: int = 2000) -> Tensor:
    """Move embeddings (N, D) down the margin-free loss over the sphere, frozen centres (C, D)."""
    e = unit_vectors(z)
    for _ in range(steps):
        p = (scale * e @ centres.T).softmax(dim=1)
        e = unit_vectors(e + RATE * (centres[y] - p @ centres))
    return e


def _random_units(rows: int, generator: torch.Generator) -> Tensor:
    return unit_vectors(torch.randn(rows, DIM, generator=generator, dtype=torch.float64))


def _measure(case: Case, loss: Tensor, z: Tensor, w: Tensor, y: Tensor) -> Step:
    q = F.one_hot(y, case.classes).to(z.dtype)
    by_clip = (SCALE * z @ w.T).view(len(z), case.classes, case.subclusters).logsumexp(dim=2)
    p = by_clip.softmax(dim=1).gather(1, y.unsqueeze(1))
    grouped = z.view(case.classes, case.clips, -1)
    around = (grouped - grouped.mean(dim=1, keepdim=True)).square().sum(dim=2).mean()
    return Step(
        loss=loss.item(),
        compactness=class_compactness(z, w, q, case.subclusters).item(),
        spread=2.0 * around.item() * case.clips / (case.clips - 1),
        pull=1.0 - p.mean().item(),
    )


def simplex(classes: int) -> Tensor:
    """Give (C, C) centres, every two of them at the same and largest possible angle."""
    return unit_vectors(torch.eye(classes, dtype=torch.float64) - 1.0 / classes)


def random_centres(classes: int, seed: int = 0) -> Tensor:
    """Give (C, 64) independent directions."""
    return _random_units(classes, torch.Generator().manual_seed(seed))


def directions_of_least_loss(e: Tensor, centres: Tensor, scale: float) -> Tensor:
    """Give (C, D): where row y, as a clip of class y, is drawn, by the margin-free loss.

    Minus the gradient / (scale · (1 - p_y)): c_y - sum over k != y of q_k c_k, q_k the share of
    class k among the wrong ones. Unlike the gradient it does not vanish for large scales.
    """
    own = torch.eye(len(centres), dtype=torch.bool)
    q = (scale * e @ centres.T).masked_fill(own, -torch.inf).softmax(dim=1)
    return centres - q @ centres


def resting_places(centres: Tensor, scale: float, steps: int = 600) -> Tensor:
    """Give (C, D) unit vectors, of each class the one that minimises the margin-free loss."""
    e = centres
    for _ in range(steps):
        drawn = unit_vectors(directions_of_least_loss(e, centres, scale))
        # Shorter steps for larger scales, where the direction turns faster.
        e = unit_vectors(e + drawn / (1.0 + scale / 4.0))
    return e


def tilt_degrees(centres: Tensor, scale: float) -> float:
    """Give the mean angle between the resting place of a class and its centre, in degrees."""
    e = resting_places(centres, scale)
    # From the chord: the arc cosine has no digits left near 1.
    chords = torch.linalg.vector_norm(e - centres, dim=1)
    return math.degrees((2.0 * (chords / 2.0).asin()).mean().item())
