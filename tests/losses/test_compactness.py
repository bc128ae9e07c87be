"""Compactness and one-class losses: reference values and what their options do."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from angular_golden import SOFT, VALUES, W, Y, Z, golden, units

from tonotopy._errors import UsageError
from tonotopy.losses import (
    CompactnessLoss,
    CosFaceLoss,
    CrossEntropyLoss,
    DeepSVDDLoss,
    DescriptivenessCompactnessLoss,
    OneClassCompactnessLoss,
    WeightedSumLoss,
)
from tonotopy.losses.compactness import soft_boundary


def test_reference() -> None:
    compact = golden(lambda: CompactnessLoss(3, 3), W)
    expected = VALUES["compactness/intra_mean_sq_chord"]
    assert compact(Z, Y).item() == pytest.approx(expected, rel=1e-9)
    assert expected == pytest.approx(VALUES["compactness/intra_from_cos=2-2*mean(cos)"], rel=1e-9)
    for loss, name in (
        (OneClassCompactnessLoss("mean"), "one_centre(mean embedding)"),
        (OneClassCompactnessLoss(), "leave_one_out_batch"),
    ):
        expected = VALUES[f"compactness/{name}"]
        assert loss(Z, Y).item() == pytest.approx(expected, rel=1e-9)
        assert loss(Z.float(), Y).item() == pytest.approx(expected, rel=1e-5)


def test_margin_softmax_is_made_of_chords() -> None:
    """CosFace is log(1 + e^(s m) sum_k e^(s/2 (d_y² - d_k²))) of the squared chords d²."""
    chords = (units(Z)[:, None] - units(W)[None]).square().sum(dim=2).tolist()
    values = []
    for row, label in zip(chords, Y.tolist(), strict=True):
        others = [math.exp(2.0 * (row[label] - row[k])) for k in range(3) if k != label]
        values.append(math.log1p(math.exp(4 * 0.35) * math.fsum(others)))
    loss = golden(lambda: CosFaceLoss(3, 3, scale=4.0), W)
    assert loss(Z, Y).item() == pytest.approx(math.fsum(values) / 5, rel=1e-12)


def test_soft_labels_weigh_the_centres() -> None:
    loss = golden(lambda: CompactnessLoss(3, 3), W)
    by_class = torch.stack(
        [
            torch.stack([loss(Z[i : i + 1], torch.tensor([c])) for c in range(3)])
            for i in range(len(Z))
        ]
    )
    torch.testing.assert_close(loss(Z, SOFT), (SOFT * by_class).sum(dim=1).mean())


def test_nearest_sub_centre_is_what_counts() -> None:
    loss = CompactnessLoss(2, 2, subclusters=2, trainable_centres=False)
    assert list(loss.parameters()) == []
    loss.set_centres(torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0], [0.0, -1.0]]))
    z = torch.tensor([[5.0, 0.0], [0.0, 7.0]])
    assert loss(z, torch.tensor([0, 0])).item() == 0.0
    assert loss(z, torch.tensor([0, 1])).item() == 1.0  # a right angle away


def test_moved_clips_gather() -> None:
    torch.manual_seed(0)
    for loss in (OneClassCompactnessLoss(), CompactnessLoss(3, 4)):
        z = torch.randn(9, 4, requires_grad=True)
        labels = torch.arange(9) % 3
        before = loss(z, labels)
        for _ in range(200):
            (grad,) = torch.autograd.grad(loss(z, labels), z)
            z = (z - 5 * grad).detach().requires_grad_()
        assert loss(z, labels) < 0.05 * before


def test_parts_are_logged_and_weighted() -> None:
    torch.manual_seed(0)
    loss = DescriptivenessCompactnessLoss(3, 3, compactness_weight=0.4).double()
    value = loss(Z, Y)
    parts = loss.terms()
    torch.testing.assert_close(value, parts["descriptiveness"] + 0.4 * parts["compactness"])
    torch.manual_seed(0)
    torch.testing.assert_close(parts["descriptiveness"], CrossEntropyLoss(3, 3).double()(Z, Y))
    torch.testing.assert_close(parts["compactness"], OneClassCompactnessLoss()(Z, Y))


def test_class_compactness_adds_to_a_classifier() -> None:
    loss = WeightedSumLoss(
        {"ce": CrossEntropyLoss(3, 3), "compactness": CompactnessLoss(3, 3)}, {"compactness": 0.1}
    ).double()
    assert loss.kind == "sample"
    assert loss(Z, Y).isfinite()


def test_centre_is_the_mean_kept_away_from_zero() -> None:
    loss = DeepSVDDLoss(3)
    drawn = loss.centre.clone()
    assert (drawn.abs() >= 0.1).all()
    loss.set_centre(torch.tensor([[1.0, 0.06, -0.02], [3.0, -0.04, -0.02]]))
    torch.testing.assert_close(loss.centre, torch.tensor([2.0, 0.1, -0.1]))
    assert list(loss.parameters()) == []
    other = DeepSVDDLoss(3)
    other.load_state_dict(loss.state_dict())
    assert torch.equal(other.centre, loss.centre)


def test_soft_boundary_is_the_mean_of_the_worst() -> None:
    squares = torch.tensor([4.0, 1.0, 9.0, 16.0, 100.0], requires_grad=True)
    labelled = torch.tensor([True, True, True, True, False])
    assert soft_boundary(squares, labelled, 0.5).item() == 12.5
    # One and a half clips may lie outside: R² = 9, and 9 + 7 / 1.5.
    value = soft_boundary(squares, labelled, 1.5 / 4)
    assert value.item() == pytest.approx(9 + 7 / 1.5)
    (grad,) = torch.autograd.grad(value, squares)
    torch.testing.assert_close(grad, torch.tensor([0.0, 0.0, 0.5 / 1.5, 1 / 1.5, 0.0]))
    assert soft_boundary(squares, labelled, 0.01).item() == 16.0


def test_boundary_that_all_may_cross_is_the_hard_form() -> None:
    hard, soft = DeepSVDDLoss(3).double(), DeepSVDDLoss(3, nu=1.0).double()
    soft.load_state_dict(hard.state_dict())
    torch.testing.assert_close(soft(Z, Y), hard(Z, Y))
    assert (hard.kind, soft.kind) == ("sample", "batch")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CompactnessLoss(0, 3), "must be 1 or more, got 0, 3 and 1"),
        (lambda: CompactnessLoss(3, 3).set_centres(W[:2]), r"shape \(3, 3\)"),
        (lambda: OneClassCompactnessLoss("class"), "around must be one of"),  # type: ignore[arg-type]
        (lambda: OneClassCompactnessLoss()(Z, Y[:, None]), "leaf_index"),
        (lambda: DescriptivenessCompactnessLoss(3, 3, -1.0), "compactness_weight must be 0"),
        (lambda: DeepSVDDLoss(3, nu=0.0), r"in \(0, 1\]"),
        (lambda: DeepSVDDLoss(3).set_centre(Z[:0]), "at least one row of 3 finite numbers"),
        (lambda: DeepSVDDLoss(3).set_centre(Z / 0), "at least one row of 3 finite numbers"),
        (lambda: DeepSVDDLoss(3).set_centre(Z[:, :2]), "at least one row of 3 finite numbers"),
    ],
)
def test_wrong_use_is_named(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()
