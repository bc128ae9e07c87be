"""Networks that answer the same to everything: what they cost, and whether training leaves them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from benchmarks.theory.one_class import Network, paired_clips
from torch import Tensor, nn

from tonotopy.geometry import unit_vectors
from tonotopy.losses import Loss
from tonotopy.losses.margin_softmax import margin_softmax_loss
from tonotopy.metrics import mean_pairwise_cosine

Start = Literal["last layer", "all layers"]
"""Which weights are zero at the start; the last bias is one, so every embedding is the same."""


def bound(classes: int, scale_times_margin: float = 0.0) -> float:
    """Give log(1 + (C - 1) e^(s m)), the least mean loss of a constant on balanced classes."""
    return math.log1p((classes - 1) * math.exp(scale_times_margin))


def separated(classes: int, scale: float, margin: float = 0.0) -> float:
    """Give the loss when every embedding is its centre and the centres are a simplex."""
    gap = margin - classes / (classes - 1)
    return math.log1p((classes - 1) * math.exp(scale * gap))


def prior_entropy(shares: Tensor) -> float:
    """Give -sum of share · log share, in nats."""
    return -float(torch.special.xlogy(shares, shares).sum())


def best_constant(
    shares: Tensor, scale: float, margin: float = 0.0, steps: int = 500, seed: int = 0
) -> float:
    """Search one embedding for all clips, and centres, for the least mean loss.

    Args:
        shares: (C,) share of the clips that each class has.
        scale: Logit of cosine 1.
        margin: Taken off the cosine to the own class.
        steps: Steps of the search.
        seed: Of where it starts.
    """
    generator = torch.Generator().manual_seed(seed)
    e = torch.randn(1, 8, generator=generator, dtype=torch.float64).requires_grad_()
    w = torch.randn(len(shares), 8, generator=generator, dtype=torch.float64).requires_grad_()
    optimiser = torch.optim.Adam([e, w], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    least = math.inf
    for _ in range(steps):
        loss = margin_softmax_loss(
            e, w, shares.unsqueeze(0), scale=scale, margin=lambda s: s - margin
        )
        least = min(least, loss.item())
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    return least


@dataclass(frozen=True)
class Escape:
    """A training run that starts from a constant network: loss and cosine at every step."""

    losses: list[float]
    cosines: list[float]


def escape(loss: Loss, start: Start, classes: int = 4, steps: int = 100, seed: int = 0) -> Escape:
    """Train a network with biases whose output is constant at the start."""
    torch.manual_seed(seed)
    network = constant_network(start)
    x, y = paired_clips()
    y = y % classes
    optimiser = torch.optim.Adam([*network.parameters(), *loss.parameters()], lr=1e-2)
    losses, cosines = [], []
    for _ in range(steps + 1):
        z = network(x)
        value = loss(z, y)
        losses.append(value.item())
        cosines.append(mean_pairwise_cosine(z))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    return Escape(losses, cosines)


@torch.no_grad()
def constant_network(start: Start) -> Network:
    """Give a network with biases that maps everything to the vector of ones."""
    network = Network(bias=True)
    if start == "all layers":
        for parameter in network.parameters():
            parameter.zero_()
    last = network.layers[-1]
    assert isinstance(last, nn.Linear)
    last.weight.zero_()
    last.bias.fill_(1.0)
    return network


def loss_of_constants(
    embeddings: Tensor, centres: Tensor, scale: float, margin: float
) -> list[float]:
    """Give, for each of (N, D) embeddings, its mean loss as a clip of every class."""
    shares = torch.full((1, len(centres)), 1.0 / len(centres), dtype=embeddings.dtype)
    return [
        margin_softmax_loss(
            row, unit_vectors(centres), shares, scale=scale, margin=lambda s: s - margin
        ).item()
        for row in torch.split(embeddings, 1)
    ]
