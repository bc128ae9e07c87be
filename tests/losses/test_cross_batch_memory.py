"""A loss over the batch and what is remembered of earlier ones."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.labels import PairRelations
from tonotopy.losses import (
    AngularDistanceDistributionLoss,
    AngularMarginContrastiveLoss,
    CrossBatchMemory,
    HiMulConLoss,
    NTXentLoss,
    PairLoss,
    SupConLoss,
)

SIZE, DIM, BATCH = 10, 3, 4
IDS = torch.tensor([0, 1, 0, -1])
CODES = torch.tensor([[0, 1], [0, 2], [0, -1], [3, -2]])


def batches(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return list(torch.randn(count, BATCH, DIM, generator=generator, dtype=torch.float64))


def memory(loss: PairLoss | None = None, **options: Any) -> CrossBatchMemory:
    return CrossBatchMemory(loss or SupConLoss(), SIZE, DIM, **options).double()


def gradient(loss: Any, z: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    leaf = z.clone().requires_grad_()
    value = loss(leaf, *arguments)
    return value.detach(), torch.autograd.grad(value, leaf)[0]


@pytest.mark.parametrize(
    ("loss", "labels", "width"),
    [
        (SupConLoss(), IDS, None),
        (NTXentLoss(learnable_temperature=True).double(), IDS, None),
        (AngularMarginContrastiveLoss(), IDS, None),
        (AngularDistanceDistributionLoss(), IDS, None),
        (HiMulConLoss(), CODES, 2),
        (SupConLoss(), CODES, 2),
    ],
)
def test_the_last_clips_keep_the_batch_company(
    loss: PairLoss, labels: Tensor, width: int | None
) -> None:
    remembering = memory(copy.deepcopy(loss), label_width=width)
    past: list[Tensor] = []
    for z in batches(6):
        company = torch.cat([*past, z.new_zeros(0, DIM)])[-SIZE:]
        remembered = torch.cat([labels] * len(past) + [labels[:0]])[-SIZE:]
        everyone = torch.cat([labels, remembered])
        relations = PairRelations.from_labels(everyone, remembered=len(company))

        def expected(
            x: Tensor, company: Tensor = company, relations: PairRelations = relations
        ) -> Tensor:
            value: Tensor = loss(torch.cat([x, company]), relations)
            return value

        torch.testing.assert_close(gradient(remembering, z, labels), gradient(expected, z))
        past.append(z)
    assert remembering.filled == SIZE
    assert remembering.position == 6 * BATCH % SIZE


def test_an_empty_memory_changes_nothing() -> None:
    (z,) = batches(1)
    torch.testing.assert_close(gradient(memory(), z, IDS), gradient(SupConLoss(), z, IDS))


def test_pairs_of_the_past_teach_nothing() -> None:
    first, second = batches(2)
    remembering = memory()
    remembering(first, IDS)
    nobody = torch.full_like(IDS, -1)
    assert remembering(second, nobody) == 0.0


def test_a_loss_that_takes_no_relations_counts_pairs_of_the_past() -> None:
    loss = AngularDistanceDistributionLoss(pooling="macro")
    first, second = batches(2)
    remembering = memory(loss)
    remembering(first, IDS)
    value, grad = gradient(remembering, second, IDS)
    together = torch.cat([second, first]), torch.cat([IDS, IDS])
    expected, expected_grad = gradient(loss, *together)
    torch.testing.assert_close((value, grad), (expected, expected_grad[:BATCH]))


def test_the_state_is_complete() -> None:
    parts = batches(5)
    running, resumed = memory(), memory()
    for z in parts[:3]:
        running(z, IDS)
    resumed.load_state_dict(running.state_dict())
    for z in parts[3:]:
        assert torch.equal(resumed(z, IDS), running(z, IDS))
    assert set(memory().state_dict()) == {"embeddings", "labels", "ids", "position", "filled"}


def test_evaluation_adds_nothing() -> None:
    first, second = batches(2)
    remembering = memory()
    remembering(first, IDS)
    remembering.eval()
    value = remembering(second, IDS)
    assert remembering(second, IDS) == value
    assert remembering.filled == BATCH


def test_a_batch_larger_than_the_memory() -> None:
    z = torch.cat(batches(3))
    remembering = memory()
    remembering(z[:BATCH], IDS)
    remembering(z, torch.arange(12))
    assert remembering.filled == SIZE
    assert sorted(remembering.labels.tolist()) == list(range(2, 12))
    for row, label in zip(remembering.embeddings, remembering.labels.tolist(), strict=True):
        assert torch.equal(row, z[label])


def test_the_past_of_a_clip_at_hand_is_passed_over() -> None:
    first, second = batches(2)
    remembering = memory()
    remembering(first, IDS, torch.tensor([7, 8, 9, -1]))
    resumed = memory()
    resumed.load_state_dict(remembering.state_dict())
    value = remembering(second, IDS, ids=torch.tensor([9, -1, 7, 3]))
    kept = torch.tensor([-1, 1, -1, -1])  # labels of the first batch that still count
    expected = SupConLoss()(
        torch.cat([second, first]), PairRelations.from_labels(torch.cat([IDS, kept]), remembered=4)
    )
    torch.testing.assert_close(value, expected)
    assert resumed(second, IDS) != value  # without ids, all count
    codes = memory(label_width=2)
    codes(first, CODES, torch.arange(4))
    torch.testing.assert_close(codes(second, CODES, torch.arange(4)), SupConLoss()(second, CODES))


def test_half_precision_is_remembered_as_it_was() -> None:
    remembering = CrossBatchMemory(SupConLoss(), SIZE, DIM)
    z = batches(1)[0].bfloat16()
    remembering(z, IDS)
    assert torch.equal(remembering.embeddings[:BATCH], z.float())


def test_terms_are_those_of_the_loss() -> None:
    remembering = memory()
    for z in batches(2):
        remembering(z, IDS)
    assert set(remembering.terms()) == {"filled", "anchors", "positive_cosine"}
    assert remembering.terms()["filled"] == BATCH  # as it was at the call


def test_it_compiles_while_it_remembers() -> None:
    torch.compiler.reset()
    eager, inside = memory(), memory()
    compiled = torch.compile(inside, fullgraph=True, backend="aot_eager")
    for z in batches(3):
        torch.testing.assert_close(gradient(compiled, z, IDS), gradient(eager, z, IDS))
    torch.testing.assert_close(inside.state_dict(), eager.state_dict())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CrossBatchMemory(SupConLoss(), 0, 3), "at least 1, got 0, 3 and None"),
        (lambda: memory()(torch.ones(4, 2), IDS), "embeddings of length 3, got 2"),
        (lambda: memory(label_width=2)(torch.ones(4, 3), IDS), "codes of 2 levels"),
        (lambda: memory()(torch.ones(4, 3), IDS, IDS[:2]), "one int for each of the 4 clips"),
        (lambda: memory()(torch.ones(4, 3), PairRelations.from_labels(IDS)), "labels of clips"),
    ],
)
def test_wrong_use_is_named(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()
