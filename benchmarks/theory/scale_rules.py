"""The scale of sub-cluster AdaCos when it follows the batches, without its bounds."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tonotopy.geometry import unit_vectors
from tonotopy.losses._adaptive_scale import fixed_scale
from tonotopy.losses.adacos import adacos_scale
from tonotopy.losses.margin_softmax import margin_softmax_loss
from tonotopy.losses.subcluster_adacos import released_subcluster_scale

Rule = Callable[[Tensor, Tensor, Tensor], Tensor]
RULES: dict[str, Rule] = {"released": released_subcluster_scale, "safe": adacos_scale}
BEYOND = 1e4
"""A scale at which a run is over: cosines that differ by 0.001 already decide."""


def well_classified() -> tuple[Tensor, Tensor]:
    """Give cosines (60, 20, 4) of clips right on their sub-centres, and one-hot labels (60, 20)."""
    random = np.random.default_rng(0)
    w = unit_vectors(torch.from_numpy(random.standard_normal((80, 64))))
    y = torch.arange(20).repeat_interleave(3)
    z = w[4 * y] + 0.05 * torch.from_numpy(random.standard_normal((60, 64)))
    return (unit_vectors(z) @ w.T).view(-1, 20, 4), F.one_hot(y, 20).double()


def repeat_rule(rule: Rule, updates: int = 6) -> list[float]:
    """Apply a rule to one batch again and again."""
    cosines, labels = well_classified()
    trace = [torch.tensor(fixed_scale(80), dtype=torch.float64)]
    for _ in range(updates):
        trace.append(rule(cosines, labels, trace[-1]))
    return [scale.item() for scale in trace]


def train_with(rule: Rule, mixup: bool, steps: int = 300, subclusters: int = 4) -> list[float]:
    """Train a small network, and give the scale at every step, up to `BEYOND`.

    Ten classes of 8 clips each, 32 numbers a clip; mixup draws a new partner and a new weight,
    uniform in 0..1, for every clip and step. The sub-centres are random and frozen.
    """
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    classes, dim = 10, 32
    y = torch.arange(classes).repeat_interleave(8)
    x = torch.randn(classes, dim, generator=generator)[y]
    x = x + 0.3 * torch.randn(x.shape, generator=generator)
    q = F.one_hot(y, classes).float()
    network = nn.Sequential(nn.Linear(dim, 128), nn.ReLU(), nn.Linear(128, dim))
    centres = unit_vectors(torch.randn(classes * subclusters, dim))
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    scale = torch.tensor(fixed_scale(classes * subclusters))
    trace = [scale.item()]
    while len(trace) <= steps and trace[-1] < BEYOND:
        inputs, labels = mixed(x, q, generator) if mixup else (x, q)
        z = network(inputs)
        with torch.no_grad():
            cosines = (unit_vectors(z) @ centres.T).view(len(z), classes, subclusters)
            scale = rule(cosines, labels, scale)
        trace.append(scale.item())
        loss = margin_softmax_loss(z, centres, labels, scale=scale, subclusters=subclusters)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    return trace


def mixed(x: Tensor, q: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mix every row with another one of the batch, and the labels alike."""
    partner = torch.randperm(len(x), generator=generator)
    share = torch.rand(len(x), 1, generator=generator)
    return share * x + (1 - share) * x[partner], share * q + (1 - share) * q[partner]


def growth_threshold(clips: int, largest_cosine: float) -> float:
    """Give the scale above which the released rule grows for certain, infinite if there is none.

    From scale' >= sqrt(2) (scale · largest - log clips).
    """
    excess = math.sqrt(2.0) * largest_cosine - 1.0
    return math.sqrt(2.0) * math.log(clips) / excess if excess > 0 else math.inf
