"""Train the linear layer of the rank-based loss paper."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tonotopy._progress import track
from tonotopy.geometry import unit_vectors
from tonotopy.losses import Loss
from tonotopy.protocols._rbl_batches import Epochs
from tonotopy.protocols._rbl_data import LabelledVectors
from tonotopy.protocols._rbl_measures import silhouettes

DIMENSIONS = 3


@dataclass(frozen=True)
class Recipe:
    """How the layer is trained, by plain stochastic gradient descent.

    Args:
        epochs: At most.
        learning_rate: Constant.
        patience: Stop when the best epoch lies more than so many back; None never stops.
    """

    epochs: int
    learning_rate: float
    patience: int | None = None


RECIPES = {
    "long": Recipe(epochs=1500, learning_rate=1e-4),
    "published": Recipe(epochs=100, learning_rate=1e-5, patience=20),
}


@dataclass(frozen=True)
class Trained:
    """The layer of the best epoch.

    Args:
        weight: (3, D).
        bias: (3,).
        epoch: The chosen epoch, counted from 1.
        epochs_run: All epochs that were trained.
        last_loss: Mean loss of the last epoch.
    """

    weight: Tensor
    bias: Tensor
    epoch: int
    epochs_run: int
    last_loss: float

    def embed(self, vectors: Tensor) -> Tensor:
        """Give (N, 3) unit vectors."""
        return unit_vectors(nn.functional.linear(vectors, self.weight, self.bias))


def train_layer(
    batches: Epochs, val: LabelledVectors, loss: Loss, recipe: Recipe, *, seed: int, name: str
) -> Trained:
    """Train a linear layer to three dimensions and keep the epoch that validates best.

    Args:
        batches: The batches of each epoch.
        val: Clips whose mean of fine and coarse silhouette chooses the epoch.
        loss: Of the unit vectors of a batch.
        recipe: Epochs, learning rate, patience.
        seed: Of the initial weights.
        name: For the progress bar.
    """
    layer = _make_layer(val.vectors.shape[1], seed)
    optimiser = torch.optim.SGD(layer.parameters(), lr=recipe.learning_rate)
    best, best_score, epoch, mean_loss = None, -math.inf, 0, math.nan
    for epoch in track(range(1, recipe.epochs + 1), label=name, total=recipe.epochs):
        mean_loss = _train_epoch(layer, optimiser, loss, batches, epoch)
        with torch.no_grad():
            score = silhouettes(unit_vectors(layer(val.vectors)), val.codes).average
        if best is None or score > best_score:
            weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
            best, best_score = Trained(weight, bias, epoch, epoch, mean_loss), score
        elif recipe.patience is not None and epoch - best.epoch > recipe.patience:
            break
    assert best is not None, "a recipe has epochs"
    return replace(best, epochs_run=epoch, last_loss=mean_loss)


def _make_layer(size: int, seed: int) -> nn.Linear:
    """Give the layer that PyTorch would make after `torch.manual_seed(seed)`."""
    # On "meta" no number is drawn from the global generator.
    layer = nn.Linear(size, DIMENSIONS, device="meta").to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
    nn.init.uniform_(layer.bias, -(size**-0.5), size**-0.5, generator=generator)
    return layer.double()


def _train_epoch(
    layer: nn.Linear, optimiser: torch.optim.Optimizer, loss: Loss, batches: Epochs, epoch: int
) -> float:
    total, count = 0.0, 0
    for vectors, relations in batches(epoch):
        value = loss(layer(vectors), relations)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        total, count = total + float(value.detach()), count + 1
    return total / count
