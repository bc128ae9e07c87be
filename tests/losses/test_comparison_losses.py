"""The losses that ADD is compared against: reference values and what their options do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from add_golden import GOLDEN, SOFT, Y, Z
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.losses import (
    AngularPrototypeLoss,
    CrossEntropyLoss,
    FocalLoss,
    Loss,
    OrthogonalProjectionLoss,
    PrototypeLoss,
    RBFSoftmaxLoss,
    cross_entropy,
    focal_loss,
)


def with_identity(loss: Loss) -> Loss:
    """Set class vectors, whichever the loss has, to the identity and biases to zero."""
    loss = loss.double()
    with torch.no_grad():
        for tensor in [*loss.parameters(), *loss.buffers()]:
            tensor.copy_(torch.eye(4) if tensor.ndim == 2 else torch.zeros(4))
    return loss


@pytest.mark.parametrize(
    ("name", "loss", "weight"),
    [
        ("ce_logits_eq_z", CrossEntropyLoss(4, 4), 1.0),
        ("focal_gamma0", FocalLoss(4, 4, gamma=0.0), 1.0),
        ("focal_gamma2", FocalLoss(4, 4), 1.0),
        ("rbf_ce_w_eye_s14_g2.2", RBFSoftmaxLoss(4, 4, normalise=False), 1.0),
        ("proto_mse_eye_scale10", PrototypeLoss(4, 4), 1.0),
        ("proto_cos_eye", AngularPrototypeLoss(4, 4), 1.0),
        ("opl", OrthogonalProjectionLoss(), 0.1),
    ],
)
def test_reference(name: str, loss: Loss, weight: float) -> None:
    value = weight * with_identity(loss)(Z, Y).item()
    assert value == pytest.approx(GOLDEN["baselines"][name], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("target", [Y, SOFT], ids=["ids", "soft"])
def test_cross_entropy_is_that_of_torch(smoothing: float, target: Tensor) -> None:
    loss = CrossEntropyLoss(4, 4, label_smoothing=smoothing).double()
    expected = F.cross_entropy(loss.head(Z), target, label_smoothing=smoothing)
    torch.testing.assert_close(loss(Z, target), expected)


def test_focal_gradient_is_finite_at_certainty() -> None:
    logits = torch.tensor([[1e4, 0.0, 0.0, 0.0]], requires_grad=True)
    for gamma in (0.0, 0.5, 1.0, 2.0):
        value = focal_loss(logits, torch.eye(4)[:1], gamma=gamma)
        (grad,) = torch.autograd.grad(value, logits)
        assert value.item() == 0.0
        assert grad.isfinite().all()


def test_focal_looks_away_from_what_is_classified_well() -> None:
    logits = torch.tensor([[4.0, 0.0], [0.1, 0.0]], dtype=torch.float64)
    q = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    ratios = [
        focal_loss(logits[i : i + 1], q[:1]) / cross_entropy(logits[i : i + 1], q[:1])
        for i in range(2)
    ]
    assert ratios[0] < 1e-3 < 0.1 < ratios[1]


def test_rbf_learns_from_long_embeddings_unless_published() -> None:
    z = 30.0 * torch.randn(6, 32, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    torch.manual_seed(0)
    for normalise, learns in ((True, True), (False, False)):
        leaf = z.clone().requires_grad_()
        RBFSoftmaxLoss(3, 32, normalise=normalise)(leaf, labels).backward()
        assert leaf.grad is not None
        assert bool(leaf.grad.any()) is learns


@pytest.mark.parametrize(("classes", "dim"), [(5, 5), (5, 12), (12, 5)])
def test_prototypes_are_unit_and_orthogonal_where_they_can_be(classes: int, dim: int) -> None:
    first, again = (PrototypeLoss(classes, dim, seed=1).prototypes for _ in range(2))
    other = AngularPrototypeLoss(classes, dim, seed=2).prototypes
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    gram = first @ first.T
    torch.testing.assert_close(gram.diagonal(), torch.ones(classes))
    if dim >= classes:
        torch.testing.assert_close(gram, torch.eye(classes), rtol=0, atol=1e-6)


def test_prototypes_take_mixed_targets() -> None:
    loss = with_identity(PrototypeLoss(4, 4))
    torch.testing.assert_close(loss(10 * SOFT, SOFT), torch.zeros((), dtype=torch.float64))
    angular = with_identity(AngularPrototypeLoss(4, 4))
    by_class = [angular(Z, torch.full((8,), c)) for c in range(4)]
    mixture = torch.tensor([[0.4, 0.3, 0.2, 0.1]], dtype=torch.float64)
    expected = (torch.stack(by_class) * mixture[0]).sum()
    torch.testing.assert_close(angular(Z, mixture.expand(8, 4)), expected)


def test_orthogonal_projection_logs_its_parts() -> None:
    loss = OrthogonalProjectionLoss(gamma=3.0)
    value = loss(Z, Y)
    torch.testing.assert_close(value, loss.terms()["intra"] + 3.0 * loss.terms()["inter"])
    with pytest.warns(UserWarning, match="largest class"):
        loss(Z, SOFT)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FocalLoss(3, 4, gamma=-1.0), "gamma must be 0 or more"),
        (lambda: OrthogonalProjectionLoss(gamma=float("nan")), "gamma must be 0 or more"),
        (lambda: CrossEntropyLoss(3, 4, label_smoothing=1.0), "label_smoothing must be in"),
        (lambda: CrossEntropyLoss(0, 4), "at least 1 dimension and 1 class"),
        (lambda: RBFSoftmaxLoss(3, 4, gamma=0.0), "scale and gamma must be above 0"),
        (lambda: PrototypeLoss(3, 4, scale=0.0), "scale must be above 0"),
        (lambda: AngularPrototypeLoss(0, 4), "at least 1 class"),
        (lambda: CrossEntropyLoss(3, 4)(Z.float(), SOFT), r"soft targets must be \(B, 3\)"),
    ],
)
def test_wrong_use_is_named(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()
