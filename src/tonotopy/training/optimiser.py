"""The optimiser of a run and the learning rate over its steps."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from tonotopy.training.config import OptimiserOptions
from tonotopy.training.schedule import warmup_cosine

PLATEAU_FACTOR = 0.6
"""Of the hybrid losses paper."""


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
            optimiser, factor=PLATEAU_FACTOR, patience=options.plateau_epochs
        )
        watched = {"scheduler": plateau, "interval": "epoch", "monitor": "val/loss"}
        return {"optimizer": optimiser, "lr_scheduler": watched}
    if options.schedule == "constant":
        return {"optimizer": optimiser}
    steps = options.epochs * steps_per_epoch
    warmup = round(options.warmup_epochs * steps_per_epoch)
    schedule = LambdaLR(optimiser, lambda step: warmup_cosine(step, warmup, steps))
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _optimiser(module: nn.Module, options: OptimiserOptions) -> Optimizer:
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if options.algorithm == "adam":
        return Adam(trained, lr=options.learning_rate, weight_decay=options.weight_decay)
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=options.learning_rate)
