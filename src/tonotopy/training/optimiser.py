"""The optimiser of a run and the learning rate over its steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from tonotopy.training.config import OptimiserOptions
from tonotopy.training.schedule import steps_down, warmup_cosine

MOMENTUM = 0.9
"""Of stochastic gradient descent."""


def make_optimiser(
    module: nn.Module, options: OptimiserOptions, steps_per_epoch: int
) -> dict[str, Any]:
    """Give optimiser and schedule in the form that Lightning takes.

    Args:
        module: Whose parameters are trained.
        options: Which, and how fast.
        steps_per_epoch: Steps of one process in an epoch.
    """
    optimiser = _optimiser(module, options)
    if options.schedule == "plateau":
        plateau = ReduceLROnPlateau(
            optimiser, factor=options.plateau_factor, patience=options.plateau_epochs
        )
        watched = {"scheduler": plateau, "interval": "epoch", "monitor": "val/loss"}
        return {"optimizer": optimiser, "lr_scheduler": watched}
    if options.schedule == "constant":
        return {"optimizer": optimiser}
    schedule = LambdaLR(optimiser, _factor(options, steps_per_epoch))
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _factor(options: OptimiserOptions, steps_per_epoch: int) -> Callable[[int], float]:
    """Give the factor on the peak learning rate by the number of steps taken."""
    if options.schedule == "steps":
        ends = [round(share * options.epochs) * steps_per_epoch for share in options.milestones]
        return partial(steps_down, ends=ends)
    warmup = round(options.warmup_epochs * steps_per_epoch)
    return partial(warmup_cosine, warmup=warmup, total=options.epochs * steps_per_epoch)


def _optimiser(module: nn.Module, options: OptimiserOptions) -> Optimizer:
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if options.algorithm == "adam":
        return Adam(trained, lr=options.learning_rate, weight_decay=options.weight_decay)
    if options.algorithm == "sgd":
        return SGD(
            trained,
            lr=options.learning_rate,
            momentum=MOMENTUM,
            weight_decay=options.weight_decay,
        )
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=options.learning_rate)
