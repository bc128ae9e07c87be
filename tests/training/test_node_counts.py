"""Class weights follow the batches of an epoch."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from tonotopy.clips import ShuffledBatchSampler, TreeBatchSampler, TreeTripletSampler
from tonotopy.labels import LabelTree
from tonotopy.losses import (
    GeneralizedTripletLoss,
    LevelCrossEntropyLoss,
    NodeBCELoss,
    WeightedSumLoss,
    node_class_weights,
    node_positive_weights,
)
from tonotopy.training.node_counts import NodeCounts

TREE = LabelTree([("a", "x", "1"), ("a", "x", "2"), ("a", "y"), ("b", "z"), ("c",)])
PATHS = [
    *[("a", "x", "1")] * 5, *[("a", "x", "2")] * 2, *[("a", "y")] * 6, *[("b", "z")] * 3,
    *[("c",)] * 4, *[("a", "x")] * 3, *[("a",)] * 2, *[("b",)] * 2, *[()] * 3,
]  # fmt: skip
CODES = TREE.encode(PATHS)


def counted(batches: Sequence[Sequence[int]]) -> list[int]:
    """Clips of the batches at or below each node, one by one."""
    counts = [0] * TREE.num_nodes
    for batch in batches:
        for row in batch:
            for depth in range(1, len(PATHS[row]) + 1):
                counts[TREE.node(PATHS[row][:depth])] += 1
    return counts


@pytest.mark.parametrize("epoch", [0, 3])
@pytest.mark.parametrize("sampler", [TreeBatchSampler, TreeTripletSampler, ShuffledBatchSampler])
def test_weights_follow_the_clips_of_the_epochs_batches(sampler: type, epoch: int) -> None:
    batches = (
        ShuffledBatchSampler(len(PATHS), batch_size=4, seed=1)
        if sampler is ShuffledBatchSampler
        else sampler(CODES, TREE, seed=1)
        if sampler is TreeBatchSampler
        else sampler(CODES, TREE, triplets_per_batch=3, seed=1)
    ).epoch_batches(epoch)
    levels = LevelCrossEntropyLoss(TREE, 4)
    nodes = NodeBCELoss(TREE, 4)
    parts = {"levels": levels, "nodes": nodes, "triplets": GeneralizedTripletLoss()}
    NodeCounts(TREE, CODES).apply(WeightedSumLoss(parts, {}), batches)
    expected = counted(batches)
    assert isinstance(levels.class_weights, Tensor)
    assert levels.class_weights.tolist() == pytest.approx(node_class_weights(TREE, expected))
    assert isinstance(nodes.positive_weights, Tensor)
    assert nodes.positive_weights.tolist() == pytest.approx(node_positive_weights(TREE, expected))


@pytest.mark.parametrize("epoch", [0, 2])
def test_they_are_the_slots_of_the_triplets_where_none_is_left_out(epoch: int) -> None:
    sampler = TreeTripletSampler(CODES, TREE, triplets_per_batch=1, seed=4)
    sampler.set_epoch(epoch)
    assert sampler.slot_counts() == counted(sampler.epoch_batches(epoch))


def test_a_weighted_level_is_as_if_its_nodes_were_equally_frequent() -> None:
    # Two clips of x against one of y weigh as one each.
    tree = LabelTree([("x",), ("y",)])
    codes = tree.encode([("x",), ("x",), ("y",)])
    loss = LevelCrossEntropyLoss(tree, 2)
    NodeCounts(tree, codes).apply(loss, [[0, 1, 2]])
    embeddings = torch.tensor([[1.0, 0.3], [1.0, 0.3], [-0.2, 0.7]])
    single = LevelCrossEntropyLoss(tree, 2)
    single.load_state_dict(loss.state_dict())
    balanced = single(embeddings[1:], codes[1:])
    torch.testing.assert_close(loss(embeddings, codes), balanced)
