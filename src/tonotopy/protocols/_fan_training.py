"""Train the encoder of the fan experiment: three layers without bias, plain Adam."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tonotopy.losses import DeepSVDDLoss, Loss
from tonotopy.protocols._fan_data import FanClips
from tonotopy.protocols._fan_methods import EMBEDDING_DIM, RAW, UNTRAINED, Task, make_loss

HIDDEN = 256


@dataclass(frozen=True)
class Recipe:
    """How the encoder is trained; the same for all losses, and as the released systems have it.

    Args:
        epochs: All of them are run; nothing chooses among them.
        batch_size: Clips of a batch; what is left of an epoch is dropped.
        learning_rate: Constant.
        weight_decay: Of Adam.
    """

    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5


@dataclass(frozen=True)
class Trained:
    """An encoder after its training.

    Args:
        embed: (N, F) vectors to (N, D) embeddings, not normalised.
        own_score: (N, D) embeddings to the (N,) anomaly score that the loss itself stands for, or
            None where it stands for none.
        last_loss: Mean loss of the last epoch; None where nothing was trained.
        accuracy: Of the auxiliary task on the references; None where there is no classifier.
    """

    embed: Callable[[Tensor], Tensor]
    own_score: Callable[[Tensor], Tensor] | None = None
    last_loss: float | None = None
    accuracy: float | None = None


def train_encoder(
    clips: FanClips, method: str, task: Task, recipe: Recipe, *, seed: int
) -> Trained:
    """Train the encoder by one method on the references of all sections at once.

    Args:
        clips: The references.
        method: A name of `METHODS`.
        task: The auxiliary task.
        recipe: Epochs, batches and optimiser.
        seed: Of the weights and of the order of the clips.
    """
    if method == RAW:
        return Trained(embed=lambda vectors: vectors)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = _make_encoder(clips.vectors.shape[1])
        if method == UNTRAINED:
            _settle(encoder, clips.vectors)
            return Trained(embed=_embedder(encoder))
        return _train(encoder, clips, method, task, recipe)


def auxiliary_classes(clips: FanClips, task: Task) -> Tensor:
    """Give the (N,) class of each clip in an auxiliary task."""
    if task == "none":
        return torch.zeros_like(clips.sections)
    if task == "id":
        return clips.sections
    return 2 * clips.sections + clips.target.long()


def _make_encoder(features: int) -> nn.Sequential:
    # Neither biases nor shifts: with them a constant would solve a one-class loss. The last layer
    # is not normalised, as in Deep SVDD: its mean would be 0, which no centre may be.
    def layer(size: int, out: int) -> list[nn.Module]:
        return [nn.Linear(size, out, bias=False), nn.BatchNorm1d(out, affine=False), nn.ReLU()]

    last = nn.Linear(HIDDEN, EMBEDDING_DIM, bias=False)
    return nn.Sequential(*layer(features, HIDDEN), *layer(HIDDEN, HIDDEN), last)


def _train(
    encoder: nn.Sequential, clips: FanClips, method: str, task: Task, recipe: Recipe
) -> Trained:
    classes = auxiliary_classes(clips, task)
    loss = make_loss(method, int(classes.max()) + 1)
    if isinstance(loss, DeepSVDDLoss):
        _settle(encoder, clips.vectors)
        loss.set_centre(_embedder(encoder)(clips.vectors))
    parameters = [*encoder.parameters(), *loss.parameters()]
    optimiser = torch.optim.Adam(
        parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    mean_loss = 0.0
    for _ in range(recipe.epochs):
        mean_loss = _train_epoch(encoder, loss, optimiser, clips.vectors, classes, recipe)
    embed, accuracy, own_score = _embedder(encoder), None, None
    loss.eval()
    if loss.head is not None:
        with torch.no_grad():
            guessed = loss.head(embed(clips.vectors)).argmax(dim=1)
        accuracy = (guessed == classes).double().mean().item()
    if isinstance(loss, DeepSVDDLoss):
        centre = loss.centre

        def own_score(embeddings: Tensor) -> Tensor:
            return (embeddings - centre).double().square().sum(dim=1)

    return Trained(embed, own_score, mean_loss, accuracy)


def _train_epoch(
    encoder: nn.Sequential,
    loss: Loss,
    optimiser: torch.optim.Optimizer,
    vectors: Tensor,
    classes: Tensor,
    recipe: Recipe,
) -> float:
    encoder.train()
    loss.train()
    size = min(recipe.batch_size, len(vectors))
    batches = torch.split(torch.randperm(len(vectors))[: len(vectors) // size * size], size)
    total = 0.0
    for rows in batches:
        value = loss(encoder(vectors[rows]), classes[rows])
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        total += float(value.detach())
    return total / len(batches)


def _embedder(encoder: nn.Sequential) -> Callable[[Tensor], Tensor]:
    @torch.no_grad()
    def embed(vectors: Tensor) -> Tensor:
        encoder.eval()
        embeddings: Tensor = encoder(vectors)
        return embeddings

    return embed


@torch.no_grad()
def _settle(encoder: nn.Sequential, vectors: Tensor) -> None:
    """Give the normalisation layers the statistics of all vectors, instead of 0 and 1."""
    encoder.train()
    layers = [layer for layer in encoder if isinstance(layer, nn.BatchNorm1d)]
    for layer in layers:
        layer.momentum = None  # a plain mean of what is seen, here of one batch
    encoder(vectors)
    for layer in layers:
        layer.momentum = 0.1
