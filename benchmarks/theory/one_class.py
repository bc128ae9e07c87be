"""Small networks under one-class losses: what lets them collapse, and what stops it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tonotopy.losses import (
    AdaCosLoss,
    AlignmentUniformityLoss,
    CompactnessLoss,
    DeepSVDDLoss,
    DescriptivenessCompactnessLoss,
    Loss,
    OneClassCompactnessLoss,
)
from tonotopy.losses._base import Terms
from tonotopy.metrics import effective_rank, mean_pairwise_cosine

INPUTS, HIDDEN, DIM, CLASSES = 16, 32, 8, 4
DECAY = 0.01
"""Times half the squared weights, as Deep SVDD has it: what makes zero weights attractive."""

HOMOGENEOUS_FLOOR = 0.1
"""Least squared distance / |c|² of a network with f(2x) = 2 f(x), when x and 2x are both clips."""


def paired_clips(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Give 128 spectra (128, 16), none negative, of 4 machines: 64 and the same twice as loud."""
    generator = torch.Generator().manual_seed(seed)
    spectra = torch.randn(CLASSES, INPUTS, generator=generator).abs()
    noise = 0.3 * torch.randn(16 * CLASSES, INPUTS, generator=generator)
    x = (spectra.repeat_interleave(16, dim=0) + noise).clamp_min(0.0)
    return torch.cat([x, 2.0 * x]), torch.arange(CLASSES).repeat_interleave(16).repeat(2)


class Network(nn.Module):
    """Two linear layers with an activation between them.

    Args:
        bias: Whether the layers have biases.
        activation: What stands between them.
        norm: BatchNorm before the activation: None, or whether it has a scale and a shift.
        last_norm: The same, directly before the last layer.
    """

    def __init__(
        self,
        bias: bool = False,
        activation: Callable[[], nn.Module] = nn.ReLU,
        norm: bool | None = None,
        last_norm: bool | None = None,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(INPUTS, HIDDEN, bias=bias)]
        if norm is not None:
            layers.append(nn.BatchNorm1d(HIDDEN, affine=norm))
        layers.append(activation())
        if last_norm is not None:
            layers.append(nn.BatchNorm1d(HIDDEN, affine=last_norm))
        self.layers = nn.Sequential(*layers, nn.Linear(HIDDEN, DIM, bias=bias))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 16) to (B, 8)."""
        z: Tensor = self.layers(x)
        return z


class TrainedCentre(Loss):
    """Deep SVDD as it must not be: the centre is trained, too."""

    def __init__(self) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.zeros(DIM))

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the mean squared distance to the centre."""
        return (embeddings - self.centre).square().sum(dim=1).mean(), {}


class OneCentre(Loss):
    """Squared chord of every clip to one random direction that stays as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.compact = CompactnessLoss(1, DIM, trainable_centres=False)

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the mean over all clips, whatever their classes."""
        return self.compact(embeddings, torch.zeros_like(labels)), {}


class SpreadCompactness(Loss):
    """Compactness of all clips, and as much uniformity over the sphere."""

    kind = "batch"

    def __init__(self) -> None:
        super().__init__()
        self.compact = OneClassCompactnessLoss(around="mean")
        self.uniform = AlignmentUniformityLoss()

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the sum; every clip is its own class for the uniformity."""
        own = torch.arange(len(embeddings))
        return self.compact(embeddings, labels) + self.uniform(embeddings, own), {}


@dataclass(frozen=True)
class Outcome:
    """What training has made of the embeddings.

    Attributes:
        loss: Of all clips; for Deep SVDD divided by |c|² of the centre at the start.
        length: Mean length of the embeddings.
        spread: Variance about the mean / mean square, 0 where all embeddings are the same.
        unseen: The same of the clips of other machines, which were not trained on.
        rank: Effective rank of the unit vectors, 1 to 8.
        cosine: Mean cosine of pairs.
    """

    loss: float
    length: float
    spread: float
    unseen: float
    rank: float
    cosine: float


def deep_svdd(network: Network, loss: DeepSVDDLoss | TrainedCentre) -> Outcome:
    """Train from the centre of the untrained network's embeddings on, with weight decay."""
    x, _ = paired_clips()
    with torch.no_grad():
        start = network(x)
    if isinstance(loss, DeepSVDDLoss):
        loss.set_centre(start)
        unit = loss.centre.square().sum().item()
    else:
        with torch.no_grad():
            loss.centre.copy_(start.mean(dim=0))
        unit = loss.centre.square().sum().item()
    return train(network, loss, unit=unit, decay=DECAY, steps=600)


def train(
    network: Network,
    loss: Loss,
    *,
    unit: float = 1.0,
    decay: float = 0.0,
    steps: int = 400,
    seen: Callable[[Tensor], None] = lambda z: None,
) -> Outcome:
    """Train on all clips at once, and measure.

    Args:
        network: Trained in place.
        loss: Trained, too, where it has parameters.
        unit: What the loss is given in.
        decay: Weight decay of the weights, not of biases and shifts.
        steps: Steps of Adam.
        seen: Called with the embeddings before each step.
    """
    x, y = paired_clips()
    optimiser = torch.optim.Adam([*network.parameters(), *loss.parameters()], lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    weights = [p for name, p in network.named_parameters() if name.endswith("weight")]
    for _ in range(steps):
        z = network(x)
        seen(z.detach())
        penalty = sum((w.square().sum() for w in weights), torch.zeros(()))
        value = loss(z, y) + decay / 2 * penalty
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        schedule.step()
    return measure(network, loss, unit)


@torch.no_grad()
def measure(network: Network, loss: Loss, unit: float = 1.0) -> Outcome:
    """Look at the clips as in training, and at other machines as in use."""
    x, y = paired_clips()
    z = network.train()(x)
    others = network.eval()(paired_clips(seed=7)[0])
    return Outcome(
        loss=loss(z, y).item() / unit,
        length=torch.linalg.vector_norm(z, dim=1).mean().item(),
        spread=_relative_variance(z),
        unseen=_relative_variance(others),
        rank=effective_rank(z),
        cosine=mean_pairwise_cosine(z),
    )


def _relative_variance(z: Tensor) -> float:
    around = (z - z.mean(dim=0)).square().sum(dim=1).mean()
    return (around / z.square().sum(dim=1).mean()).item()


def svdd_runs() -> dict[str, Outcome]:
    """Train Deep SVDD with each cause of collapse, and with its guard."""
    return {
        "centre trained": _seeded(lambda: deep_svdd(Network(), TrainedCentre())),
        "biases": _seeded(lambda: deep_svdd(Network(bias=True), DeepSVDDLoss(DIM))),
        "sigmoid": _seeded(lambda: deep_svdd(Network(activation=nn.Sigmoid), DeepSVDDLoss(DIM))),
        "tanh": _seeded(lambda: deep_svdd(Network(activation=nn.Tanh), DeepSVDDLoss(DIM))),
        "guarded": _seeded(lambda: deep_svdd(Network(), DeepSVDDLoss(DIM))),
        "BatchNorm with shift": _seeded(lambda: deep_svdd(Network(norm=True), DeepSVDDLoss(DIM))),
        "BatchNorm without": _seeded(lambda: deep_svdd(Network(norm=False), DeepSVDDLoss(DIM))),
    }


def direction_runs(seed: int = 0) -> dict[str, Outcome]:
    """Train compactness of directions, around a random centre or the mean, and its guards."""

    def of(loss: Callable[[], Loss], last_norm: bool | None = None) -> Outcome:
        return _seeded(lambda: train(Network(last_norm=last_norm), loss()), seed)

    return {
        "to a random centre": of(OneCentre),
        "to the mean": of(lambda: OneClassCompactnessLoss(around="mean")),
        "BatchNorm with shift before the last layer": of(OneCentre, last_norm=True),
        "BatchNorm without, before the last layer": of(OneCentre, last_norm=False),
        "uniformity beside it": of(SpreadCompactness),
        "a classifier beside it": of(lambda: DescriptivenessCompactnessLoss(CLASSES, DIM)),
        "a margin loss instead": of(lambda: AdaCosLoss(CLASSES, DIM)),
    }


def _seeded(run: Callable[[], Outcome], seed: int = 0) -> Outcome:
    torch.manual_seed(seed)
    return run()
