"""Which parameters decay, and by which rule the learning rate falls."""

from __future__ import annotations

import pytest
from torch import nn
from torch.optim import Adam, AdamW
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from tonotopy.training import OptimiserOptions
from tonotopy.training.optimiser import make_optimiser


@pytest.fixture
def module() -> nn.Module:
    """A matrix and a bias, a normalisation layer, and a weight that is not trained."""
    frozen = nn.Linear(2, 2, bias=False).requires_grad_(False)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), frozen)


def decays(optimiser: Adam | AdamW, module: nn.Module) -> dict[str, float]:
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return {
        names[id(parameter)]: group["weight_decay"]
        for group in optimiser.param_groups
        for parameter in group["params"]
    }


def test_adam_puts_decay_on_all_parameters(module: nn.Module) -> None:
    options = OptimiserOptions(algorithm="adam", weight_decay=0.1, schedule="plateau")
    optimiser = make_optimiser(module, options, steps_per_epoch=3)["optimizer"]
    assert type(optimiser) is Adam
    assert decays(optimiser, module) == dict.fromkeys(
        ("0.weight", "0.bias", "1.weight", "1.bias"), 0.1
    )


def test_adamw_leaves_out_biases_and_normalisation(module: nn.Module) -> None:
    options = OptimiserOptions(weight_decay=0.1)
    optimiser = make_optimiser(module, options, steps_per_epoch=3)["optimizer"]
    assert type(optimiser) is AdamW
    assert decays(optimiser, module) == {
        "0.weight": 0.1, "0.bias": 0.0, "1.weight": 0.0, "1.bias": 0.0
    }  # fmt: skip


def test_a_plateau_watches_the_validation_loss_of_each_epoch(module: nn.Module) -> None:
    options = OptimiserOptions(schedule="plateau", plateau_epochs=2, learning_rate=1.0)
    made = make_optimiser(module, options, steps_per_epoch=3)
    watched = made["lr_scheduler"]
    assert (watched["interval"], watched["monitor"]) == ("epoch", "val/loss")
    scheduler = watched["scheduler"]
    assert isinstance(scheduler, ReduceLROnPlateau)
    rates = []
    for loss in (3.0, 2.0, 2.5, 2.5, 2.5, 2.5, 1.0):
        scheduler.step(loss)
        rates.append(made["optimizer"].param_groups[0]["lr"])
    # The third epoch in a row without a lower loss lowers the rate.
    assert rates == [1.0, 1.0, 1.0, 1.0, 0.6, 0.6, 0.6]


def test_a_cosine_goes_step_by_step(module: nn.Module) -> None:
    made = make_optimiser(module, OptimiserOptions(), steps_per_epoch=3)
    assert made["lr_scheduler"]["interval"] == "step"
    assert isinstance(made["lr_scheduler"]["scheduler"], LambdaLR)
