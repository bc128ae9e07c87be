"""The weighted sum of losses."""

from __future__ import annotations

import pytest
import torch

from tonotopy._components import Component, build, component_names
from tonotopy._errors import UsageError
from tonotopy.losses import (
    AngularDistanceDistributionLoss,
    CrossEntropyLoss,
    Loss,
    PrototypeLoss,
    Ramp,
    RBFSoftmaxLoss,
    WeightedSumLoss,
)

Z = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 0, 1, 1, 2, 2])


def test_terms_are_unweighted_and_nested() -> None:
    ce, add = CrossEntropyLoss(3, 4), AngularDistanceDistributionLoss()
    inner = WeightedSumLoss({"add": add}, {})
    loss = WeightedSumLoss({"ce": ce, "inner": inner}, {"ce": 2.0, "inner": 0.5})
    value = loss(Z, Y)
    torch.testing.assert_close(value, 2.0 * ce(Z, Y) + 0.5 * add(Z, Y))
    assert set(loss.terms()) == {
        "ce",
        "inner",
        "inner/add",
        *(f"inner/add/{name}" for name in add.terms()),
    }
    torch.testing.assert_close(loss.terms()["inner/add"], add(Z, Y))
    assert loss.terms()["inner/add/inter_pairs"] == 24


def test_a_ramp_counts_training_steps_and_survives_a_checkpoint() -> None:
    def make() -> WeightedSumLoss:
        return WeightedSumLoss({"ce": CrossEntropyLoss(3, 4)}, {"ce": Ramp(0.0, 2.0, steps=4)})

    loss, resumed = make(), make()
    part = loss.losses["ce"]
    seen = [(loss(Z, Y) / part(Z, Y)).item() for _ in range(3)]
    assert seen == pytest.approx([0.0, 0.5, 1.0])
    loss.eval()(Z, Y)  # not a training step
    resumed.load_state_dict(loss.state_dict())
    seen = [(resumed(Z, Y) / part(Z, Y)).item() for _ in range(3)]
    assert seen == pytest.approx([1.5, 2.0, 2.0])
    with pytest.raises(UsageError, match="at least 1 step"):
        Ramp(0.0, 1.0, 0)


@pytest.mark.parametrize(
    ("parts", "kind", "head"),
    [
        (["ce", "prototypes"], "sample", "ce"),
        (["prototypes", "rbf", "ce"], "sample", "rbf"),
        (["add", "ce"], "batch", "ce"),
        (["add", "prototypes"], "batch", None),
    ],
)
def test_kind_and_head(parts: list[str], kind: str, head: str | None) -> None:
    losses: dict[str, Loss] = {
        "ce": CrossEntropyLoss(3, 4),
        "rbf": RBFSoftmaxLoss(3, 4),
        "prototypes": PrototypeLoss(3, 4),
        "add": AngularDistanceDistributionLoss(),
    }
    loss = WeightedSumLoss({name: losses[name] for name in parts}, {})
    assert loss.kind == kind
    assert loss.head is (losses[head].head if head else None)


def test_head_is_saved_once() -> None:
    loss = WeightedSumLoss({"ce": CrossEntropyLoss(3, 4)}, {})
    assert sorted(loss.state_dict()) == [
        "losses.ce.classifier.linear.bias",
        "losses.ce.classifier.linear.weight",
        "step",
    ]


@pytest.mark.parametrize(
    ("names", "weights", "message"),
    [
        ([], {}, "at least one loss"),
        (["a/b"], {}, "cannot be named 'a/b'"),
        (["keys"], {}, "cannot be named 'keys'"),
        (["add"], {"ad": 1.0}, "given for 'ad', which is not among the losses: add"),
        (["add"], {"add": -1.0}, "weights must be 0 or more"),
    ],
)
def test_wrong_use_is_named(names: list[str], weights: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        WeightedSumLoss({name: AngularDistanceDistributionLoss() for name in names}, weights)


@pytest.mark.parametrize(
    "part",
    [
        Component("CrossEntropyLoss", {"label_smoothing": 0.1}),
        Component("FocalLoss", {"gamma": 1.0}),
        Component("RBFSoftmaxLoss", {"scale": 4.0, "gamma": 1.8}),
        Component("OrthogonalProjectionLoss"),
        Component("PrototypeLoss", {"scale": 1.0}),
        Component("AngularPrototypeLoss"),
        Component(
            "AngularDistanceDistributionLoss",
            {"distance": "angle_quad", "spread": "std", "weights": [1, 0, 1, 0]},
        ),
    ],
    ids=lambda part: part.class_path,
)
def test_parts_are_made_from_a_configuration(part: Component) -> None:
    built = build(part, Loss, "tonotopy.losses", num_classes=3, embedding_dim=4)
    assert WeightedSumLoss({"part": built}, {})(Z, Y).isfinite()


def test_configuration_offers_only_whole_losses() -> None:
    names = component_names(Loss, "tonotopy.losses")
    assert "AngularDistanceDistributionLoss" in names
    assert not {"Loss", "PairLoss", "ClassifierLoss"} & set(names)
