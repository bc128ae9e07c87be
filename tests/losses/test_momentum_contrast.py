"""Projections, and momentum contrast against the same loss over a batch that holds all keys."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tonotopy._errors import UsageError
from tonotopy.labels import PairRelations
from tonotopy.losses import (
    AngularContrastiveLoss,
    AngularMarginContrastiveLoss,
    MomentumContrast,
    NTXentLoss,
    ProjectedLoss,
    ProjectionHead,
    VICRegLoss,
)
from tonotopy.losses.momentum_contrast import slow_copy

D = 4


def rows(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, D, generator=torch.Generator().manual_seed(seed))


def queued(loss: MomentumContrast, *batches: tuple[torch.Tensor, list[int]]) -> None:
    for keys, ids in batches:
        clips = torch.tensor(ids)
        loss.set_keys(keys, clips, clips)
        loss(rows(len(ids), 50), clips)


@pytest.mark.parametrize("inner", [NTXentLoss(), AngularMarginContrastiveLoss()])
def test_keys_and_queue_are_company_without_gradient(
    inner: NTXentLoss | AngularMarginContrastiveLoss,
) -> None:
    loss = MomentumContrast(inner, 6, D)
    earlier = rows(4, 1)
    queued(loss, (earlier, [7, 8, 9, 2]))
    queries, keys = rows(3, 2).requires_grad_(), rows(3, 3)
    clips = torch.tensor([1, 2, 3])
    loss.set_keys(keys, clips, clips)
    value = loss(queries, clips)
    value.backward()

    # Of the queue, the key of clip 2 is passed over, and two places are empty.
    everyone = torch.cat([queries.detach(), keys, earlier[:3]]).requires_grad_()
    ids = torch.tensor([1, 2, 3, 1, 2, 3, 7, 8, 9])
    expected = inner(everyone, PairRelations.from_labels(ids, remembered=6))
    expected.backward()
    assert torch.allclose(value, expected)
    assert queries.grad is not None
    assert everyone.grad is not None
    assert torch.allclose(queries.grad, everyone.grad[:3], atol=1e-6)
    assert loss.queue_ids.tolist() == [3, 8, 9, 2, 1, 2]
    assert torch.equal(loss.queue[4:], keys[:2])


@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.996])
def test_a_slow_copy_keeps_indices_whole(momentum: float) -> None:
    module = nn.Linear(2, 2)
    module.register_buffer("index", torch.arange(5000))
    module.register_buffer("scale", torch.ones(()))
    copy = slow_copy(module, momentum)
    copy.update_parameters(module)
    module.get_buffer("scale").add_(1.0)
    for _ in range(20):
        copy.update_parameters(module)
    assert torch.equal(copy.module.get_buffer("index"), module.get_buffer("index"))
    expected = 2.0 - momentum**20
    assert copy.module.get_buffer("scale").item() == pytest.approx(expected, rel=1e-5)


def test_slow_projection_follows() -> None:
    torch.manual_seed(0)
    inner = AngularContrastiveLoss(nn.Linear(D, 3))
    loss = MomentumContrast(inner, 4, D, momentum=0.75)
    assert isinstance(inner.projection, nn.Linear)
    assert loss.slow_projection is not None
    start = inner.projection.weight.detach().clone()
    clips = torch.tensor([0, 1])
    queued(loss, (rows(2, 0), [0, 1]))
    with torch.no_grad():
        inner.projection.weight.add_(1.0)
    loss.set_keys(rows(2, 1), clips, clips)
    value = loss(rows(2, 2), clips)
    assert torch.allclose(
        loss.slow_projection.module.get_parameter("weight"), start + 0.25, atol=1e-6
    )
    value.backward()
    assert all(p.grad is None for p in loss.slow_projection.parameters())


def test_evaluation_is_the_loss_itself() -> None:
    inner = NTXentLoss()
    loss = MomentumContrast(inner, 4, D)
    queued(loss, (rows(2, 0), [0, 1]))
    ids = torch.tensor([0, 1, 0, 1])
    assert loss.eval()(rows(4, 1), ids) == inner(rows(4, 1), ids)


def test_state_goes_on() -> None:
    one = MomentumContrast(ProjectedLoss(NTXentLoss(), ProjectionHead(D, [5, 3])), 8, D)
    other = MomentumContrast(ProjectedLoss(NTXentLoss(), ProjectionHead(D, [5, 3])), 8, D)
    queued(one, (rows(3, 0), [0, 1, 2]), (rows(3, 1), [3, 4, 5]))
    other.load_state_dict(one.state_dict())
    clips = torch.tensor([6, 7])
    values = []
    for loss in (one, other):
        loss.set_keys(rows(2, 2), clips, clips)
        values.append(loss(rows(2, 3), clips))
    assert values[0] == values[1]
    assert torch.equal(one.queue, other.queue)


def test_more_keys_than_places() -> None:
    loss = MomentumContrast(NTXentLoss(), 3, D)
    keys = rows(5, 0)
    queued(loss, (keys, [0, 1, 2, 3, 4]))
    assert sorted(loss.queue_ids.tolist()) == [2, 3, 4]


def test_projection_of_one_row_uses_running_statistics() -> None:
    head = ProjectionHead(D, [6, 3])
    for seed in range(3):
        head(rows(8, seed))
    one = rows(1, 9)
    assert torch.allclose(head.train()(one), head.eval()(one), atol=1e-6)
    assert head.train()(rows(0, 0)).shape == (0, 3)


def test_learnable_temperature_of_acl_is_trained_and_bounded() -> None:
    loss = AngularContrastiveLoss(alpha=1.0, temperature=0.2, learnable_temperature=True)
    ids = torch.tensor([0, 1, 0, 1])
    before = loss.contrastive.log_scale.item()
    value = loss(rows(4, 0), ids)
    value.backward()
    assert loss.contrastive.log_scale.grad is not None
    assert loss.contrastive.log_scale.grad.item() != 0.0
    assert loss.terms()["temperature"].item() == pytest.approx(0.2)
    with torch.no_grad():
        loss.contrastive.log_scale.fill_(before + 100)
    loss(rows(4, 0), ids)
    assert loss.terms()["temperature"].item() == pytest.approx(0.01)


def test_vicreg_of_views_is_that_of_the_library() -> None:
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    z = 2.0 * rows(10, 0)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(1))
    ids = torch.cat([torch.arange(5), order])
    expected = losses.VICRegLoss()(z[:5][order], ref_emb=z[5:])
    assert torch.allclose(VICRegLoss()(z, ids), expected)
    one, other = z[:5][order], z[5:]
    hinges, covariances = torch.zeros(2)
    for view in (one, other):
        covariance = view.T.cov()
        hinges += (1 - (covariance.diag() + 1e-4).sqrt()).clamp_min(0).mean()
        covariances += (covariance.square().sum() - covariance.diag().square().sum()) / D
    formula = 25 * (one - other).square().mean() + 12.5 * hinges + covariances
    assert torch.allclose(VICRegLoss()(z, ids), formula)
    lone = VICRegLoss()(z[:2].requires_grad_(), torch.tensor([0, 0]))
    assert lone.item() == 0.0
    assert lone.requires_grad


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MomentumContrast(NTXentLoss(), 0, D), "positive sizes"),
        (lambda: MomentumContrast(VICRegLoss(), 4, D), "no negatives"),
        (lambda: MomentumContrast(AngularContrastiveLoss(nn.Linear(D, 2)), 4, D, 1.0), "momentum"),
        (lambda: ProjectionHead(D, []), "sizes of at least 1"),
        (lambda: ProjectionHead(D, [4, 0]), "sizes of at least 1"),
        (lambda: VICRegLoss(covariance=-1.0), "0 or more"),
    ],
)
def test_refuses(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(UsageError, match=message):
        make()
