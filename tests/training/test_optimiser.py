"""Which parameters decay, and by which rule the learning rate falls."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from tonotopy._errors import UsageError
from tonotopy.training import OptimiserOptions
from tonotopy.training.optimiser import make_optimiser


@pytest.fixture
def module() -> nn.Module:
    """A matrix and a bias, a normalisation layer, and a weight that is not trained."""
    frozen = nn.Linear(2, 2, bias=False).requires_grad_(False)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), frozen)


def decays(optimiser: Adam | AdamW | SGD, module: nn.Module) -> dict[str, float]:
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


def test_sgd_has_momentum_and_decay_on_all_parameters(module: nn.Module) -> None:
    options = OptimiserOptions(algorithm="sgd", weight_decay=0.1, learning_rate=0.03)
    optimiser = make_optimiser(module, options, steps_per_epoch=3)["optimizer"]
    assert type(optimiser) is SGD
    assert decays(optimiser, module) == dict.fromkeys(
        ("0.weight", "0.bias", "1.weight", "1.bias"), 0.1
    )
    group = optimiser.param_groups[0]
    assert group["momentum"] == 0.9
    assert not group["nesterov"]


def rates(module: nn.Module, options: OptimiserOptions, steps_per_epoch: int) -> list[float]:
    """The learning rate of every step."""
    made = make_optimiser(module, options, steps_per_epoch)
    seen = []
    for _ in range(options.epochs * steps_per_epoch):
        seen.append(made["optimizer"].param_groups[0]["lr"])
        made["optimizer"].step()
        made["lr_scheduler"]["scheduler"].step()
    return seen


def test_steps_fall_where_the_paper_falls(module: nn.Module) -> None:
    options = OptimiserOptions(epochs=500, algorithm="sgd", schedule="steps", learning_rate=0.03)
    seen = rates(module, options, steps_per_epoch=2)
    expected = [0.03] * 650 + [0.003] * 200 + [0.0003] * 150
    assert seen == pytest.approx(expected)


def test_steps_fall_between_epochs_at_milestones_of_ones_own(module: nn.Module) -> None:
    options = OptimiserOptions(
        epochs=7, algorithm="sgd", schedule="steps", learning_rate=1.0, milestones=[0.4, 0.8]
    )
    # 2.8 and 5.6 epochs are rounded to whole ones.
    assert rates(module, options, 3) == pytest.approx([1.0] * 9 + [0.1] * 9 + [0.01] * 3)


def test_a_plateau_has_a_factor(module: nn.Module) -> None:
    options = OptimiserOptions(schedule="plateau", plateau_factor=0.5, plateau_epochs=0)
    made = make_optimiser(module, options, steps_per_epoch=1)
    for loss in (1.0, 2.0):
        made["lr_scheduler"]["scheduler"].step(loss)
    assert made["optimizer"].param_groups[0]["lr"] == options.learning_rate / 2


@pytest.mark.parametrize("wrong", [{"milestones": [0.5, 1.2]}, {"plateau_factor": 1.0}])
def test_shares_lie_within_bounds(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        OptimiserOptions(**wrong)
