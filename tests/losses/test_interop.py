"""Losses of pytorch-metric-learning as ours, and ours as its."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from loss_row import CODES, IDS, TREE
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.losses import (
    FromMetricLearning,
    LeafCrossEntropyLoss,
    OrthogonalProjectionLoss,
    ToMetricLearning,
)


class Recorder(nn.Module):
    """Has the call of a loss of pytorch-metric-learning, and remembers it."""

    def forward(self, embeddings: Tensor, labels: Tensor, indices_tuple: Any = None) -> Tensor:
        self.seen = embeddings, labels, indices_tuple
        return embeddings.sum()


class FirstPair(nn.Module):
    """Has the call of a miner."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        assert len(embeddings) == len(labels)
        return torch.tensor([0]), torch.tensor([1])


class NoScalar(nn.Module):
    def forward(self, embeddings: Tensor, labels: Tensor, indices_tuple: Any = None) -> Tensor:
        return embeddings


Z = torch.randn(11, 4, generator=torch.Generator().manual_seed(0))


def test_unlabelled_clips_are_dropped() -> None:
    theirs = Recorder()
    FromMetricLearning(theirs)(Z, IDS)
    z, labels, mined = theirs.seen
    assert torch.equal(z, Z[IDS >= 0])
    assert torch.equal(labels, IDS[IDS >= 0])
    assert mined is None


def test_codes_become_their_leaves() -> None:
    theirs = Recorder()
    FromMetricLearning(theirs)(Z, CODES)
    _, labels, _ = theirs.seen
    complete = [path for path in TREE.decode(CODES) if path and not TREE.is_partial(path)]
    assert [TREE.path(node) for node in labels.tolist()] == complete


def test_a_miner_tells_the_loss_what_counts() -> None:
    theirs = Recorder()
    FromMetricLearning(theirs, FirstPair())(Z, IDS)
    assert [index.tolist() for index in theirs.seen[2]] == [[0], [1]]


def test_theirs_is_trained_with_ours() -> None:
    linear = nn.Linear(4, 4)
    loss = FromMetricLearning(nn.Sequential(linear))
    assert set(loss.state_dict()) == {"loss.0.weight", "loss.0.bias"}
    assert loss.kind == "batch"


def test_only_scalars_are_losses() -> None:
    with pytest.raises(UsageError, match="NoScalar must give a scalar"):
        FromMetricLearning(NoScalar())(Z, IDS)


def test_ours_has_the_call_of_theirs() -> None:
    ours = OrthogonalProjectionLoss()
    theirs = ToMetricLearning(ours)
    assert torch.equal(theirs(Z, IDS), ours(Z, IDS))
    assert torch.equal(theirs(Z, IDS, None, None, None), ours(Z, IDS))
    classifier = ToMetricLearning(LeafCrossEntropyLoss(TREE, 4))
    assert len(list(classifier.parameters())) == 2
    with pytest.raises(UsageError, match="leave the miner out"):
        theirs(Z, IDS, (torch.tensor([0]), torch.tensor([1])))
    for given in ({"ref_emb": Z}, {"ref_labels": IDS}):
        with pytest.raises(UsageError, match="concatenate them"):
            theirs(Z, IDS, **given)


def test_there_and_back_is_the_loss() -> None:
    ours = OrthogonalProjectionLoss()
    torch.testing.assert_close(FromMetricLearning(ToMetricLearning(ours))(Z, IDS), ours(Z, IDS))


def test_with_pytorch_metric_learning_itself() -> None:
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    miners = pytest.importorskip("pytorch_metric_learning.miners")
    known = IDS >= 0
    for miner in (None, miners.BatchHardMiner()):
        theirs = losses.TripletMarginLoss()
        ours = FromMetricLearning(theirs, miner)
        mined = None if miner is None else miner(Z[known], IDS[known])
        torch.testing.assert_close(ours(Z, IDS), theirs(Z[known], IDS[known], mined))
        leaf = Z.clone().requires_grad_()
        ours(leaf, IDS).backward()
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
    multiple = losses.MultipleLosses([ToMetricLearning(OrthogonalProjectionLoss())])
    torch.testing.assert_close(multiple(Z, IDS), OrthogonalProjectionLoss()(Z, IDS))
