"""Blocks of rows: the values and gradients of all pairs at once, without keeping them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tonotopy.geometry import unit_vectors
from tonotopy.labels import LabelTree, PairRelations
from tonotopy.losses import (
    AlignmentUniformityLoss,
    AngularContrastiveLoss,
    AngularMarginContrastiveLoss,
    HiMulConLoss,
    Loss,
    NTXentLoss,
    SupConLoss,
    _row_blocks,
)
from tonotopy.losses._row_blocks import (
    RowStatistics,
    contrastive_means,
    map_row_blocks,
    pair_masks,
    row_statistics,
)

N = 41
IDS = torch.arange(N) % 7 - 1  # some unknown
TREE = LabelTree.from_paths([("a", "p"), ("a", "q"), ("b", "r"), ("b", "s"), ("c",)])
PATHS: list[tuple[str, ...]] = [("a", "p"), ("a", "q"), ("b", "r"), ("b",), ("c",), (), ("b", "s")]
CODES = TREE.encode([PATHS[i % len(PATHS)] for i in range(N)])


def embeddings(dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(N, 6, generator=generator, dtype=torch.float64).to(dtype)


def dense(
    u: Tensor, relations: PairRelations, scale: Tensor, *, by_level: bool = False
) -> RowStatistics:
    """All pairs at once, by autograd."""
    s = u @ u.mT
    columns: list[tuple[Tensor, ...]] = []
    for positive, negative in pair_masks(relations, slice(None), by_level=by_level):
        known = positive | negative
        some = known.any(dim=1)
        logits = (scale * s).masked_fill(~known, -math.inf).masked_fill(~some[:, None], 0.0)
        lse = logits.logsumexp(dim=1) * some
        columns.append((lse, (s * positive).sum(dim=1), positive.sum(dim=1).to(s.dtype)))
    return RowStatistics(*(torch.stack(parts, dim=1) for parts in zip(*columns, strict=True)))


def everything(
    statistics: Callable[..., RowStatistics], labels: Tensor | PairRelations, by_level: bool
) -> list[Tensor]:
    """Values, and gradients of sums with uneven weights."""
    relations = labels if isinstance(labels, PairRelations) else PairRelations.from_labels(labels)
    z = embeddings().requires_grad_()
    scale = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    found = statistics(unit_vectors(z), relations, scale, by_level=by_level)
    weights = torch.linspace(-1.0, 2.0, N, dtype=torch.float64)[:, None]
    total = (weights * found.lse).sum() + (weights.flip(0) * found.positives).sum()
    grads = torch.autograd.grad(total, (z, scale))
    return [*found, *grads, contrastive_means(found, scale)]


@pytest.mark.parametrize("block", [1, N, 5 * N + 3, 2**20])
@pytest.mark.parametrize(
    ("labels", "by_level"), [(IDS, False), (CODES, False), (CODES, True), (IDS, True)]
)
def test_blocks_equal_all_pairs_at_once(labels: Tensor, by_level: bool, block: int) -> None:
    def blocked(
        u: Tensor, relations: PairRelations, scale: Tensor, *, by_level: bool
    ) -> RowStatistics:
        return row_statistics(u, relations, scale, by_level=by_level, block_entries=block)

    found = everything(blocked, labels, by_level)
    expected = everything(dense, labels, by_level)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_relations_from_anywhere_and_remembered_clips() -> None:
    generator = torch.Generator().manual_seed(4)
    levels = torch.randint(-1, 3, (N, N), generator=generator)  # not even symmetric
    for relations in (
        PairRelations.from_levels(levels, 2),
        PairRelations.from_labels(IDS, remembered=11),
    ):
        for by_level in (False, True):
            found = everything(row_statistics, relations, by_level)
            torch.testing.assert_close(
                found, everything(dense, relations, by_level), rtol=1e-12, atol=1e-12
            )


LOSSES: dict[str, tuple[Loss, Tensor]] = {
    "ntxent": (NTXentLoss(), IDS),
    "ntxent-learnable": (NTXentLoss(learnable_temperature=True).double(), IDS),
    "supcon": (SupConLoss(), CODES),
    "angular-margin": (AngularMarginContrastiveLoss(1.2), IDS),
    "acl": (AngularContrastiveLoss(), IDS),
    "alignment": (AlignmentUniformityLoss(), IDS),
    "alignment-1": (AlignmentUniformityLoss(1.0), IDS),
    "himulcon": (HiMulConLoss(), CODES),
    "himulcon-level": (HiMulConLoss(constraint="level"), CODES),
    "himulcon-pair": (HiMulConLoss(constraint="pair"), CODES),
}


def value_and_gradient(loss: Loss, labels: Tensor) -> list[Tensor]:
    z = embeddings().requires_grad_()
    value = loss(z, labels)
    return [value, *torch.autograd.grad(value, [z, *loss.parameters()])]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("block", [1, 3 * N, 10 * N])
def test_the_size_of_the_block_does_not_matter(
    name: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = value_and_gradient(*LOSSES[name])
    monkeypatch.setattr(_row_blocks, "BLOCK_ENTRIES", block)
    torch.testing.assert_close(value_and_gradient(*LOSSES[name]), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", LOSSES)
def test_no_matrix_of_pairs_is_kept(name: str) -> None:
    loss, labels = LOSSES[name]
    sizes = []

    def keep(tensor: Tensor) -> Tensor:
        sizes.append(tensor.untyped_storage().nbytes() // tensor.element_size())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss(embeddings().requires_grad_(), labels)
    assert sizes
    assert max(sizes) <= 8 * N  # 6 dimensions; for the pairs it would be N²


def test_no_matrix_of_pairs_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_row_blocks, "BLOCK_ENTRIES", 4 * N)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, tuple | list) else [result]:
                if isinstance(tensor, Tensor):
                    largest = max(largest, tensor.numel())
            return result

    for loss, labels in LOSSES.values():
        with Watch():  # type: ignore[no-untyped-call]
            loss(embeddings().requires_grad_(), labels).backward()
    assert largest <= 8 * N


@pytest.mark.parametrize("count", [0, 1])
def test_few_clips(count: int) -> None:
    u = torch.ones(count, 3, requires_grad=True)
    relations = PairRelations.from_labels(torch.zeros(count, dtype=torch.long))
    found = row_statistics(u, relations, torch.tensor(5.0))
    assert [part.shape for part in found] == [(count, 1)] * 3
    assert not any(part.any() for part in found)
    sums = map_row_blocks(lambda s, rows: s.sum(dim=1), u)
    assert sums.shape == (count,)
