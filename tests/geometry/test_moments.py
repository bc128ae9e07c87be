from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy.geometry.moments import ClassMoments, PairCells, cosine_cells

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden" / "add_structure.json").read_text(encoding="utf-8")
)


def clips(
    n: int, dim: int, classes: int, seed: int = 0, spread: float = 1.0
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(-1, classes, (n,), generator=generator)
    centres = torch.randn(classes, dim, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, dim, generator=generator, dtype=torch.float64)
    return centres[labels.clamp_min(0)] + spread * noise, labels


def loop_cells(embeddings: Tensor, labels: Tensor, classes: int) -> PairCells:
    """Collect the distances of every ordered pair in one list a cell."""
    lengths = embeddings.double().norm(dim=1, keepdim=True).clamp_min(1e-6)
    units = embeddings.double() / lengths
    lists: list[list[list[float]]] = [[[] for _ in range(classes)] for _ in range(classes)]
    for i, a in enumerate(labels.tolist()):
        for j, b in enumerate(labels.tolist()):
            if i != j and a >= 0 and b >= 0:
                lists[a][b].append(1.0 - float(units[i] @ units[j]))
    table = [[torch.tensor(cell, dtype=torch.float64) for cell in row] for row in lists]
    return PairCells(
        torch.tensor([[len(cell) for cell in row] for row in table]),
        torch.stack([torch.stack([cell.mean() for cell in row]) for row in table]),
        torch.stack(
            [torch.stack([(cell - cell.mean()).square().mean() for cell in row]) for row in table]
        ),
    )


def assert_equal_cells(got: PairCells, wanted: PairCells, tolerance: float = 1e-12) -> None:
    assert torch.equal(got.counts, wanted.counts)
    for name in ("mean", "variance"):
        torch.testing.assert_close(
            getattr(got, name), getattr(wanted, name), rtol=0, atol=tolerance, equal_nan=True
        )


def in_one_pass(embeddings: Tensor, labels: Tensor, classes: int) -> PairCells:
    moments = ClassMoments(classes, embeddings.shape[1])
    moments.update(embeddings, labels)
    return moments.cells()


def in_small_memory(embeddings: Tensor, labels: Tensor, classes: int) -> PairCells:
    return cosine_cells(embeddings, labels, classes, max_bytes=1)


@pytest.mark.parametrize("compute", [in_one_pass, in_small_memory, cosine_cells])
def test_reference_values(compute: Callable[[Tensor, Tensor, int], PairCells]) -> None:
    embeddings = torch.tensor(GOLDEN["embeddings"], dtype=torch.float64)
    cells = compute(embeddings, torch.tensor(GOLDEN["labels"]), 4)

    wanted = GOLDEN["cosine"]
    assert cells.counts.tolist() == GOLDEN["counts"]
    for got, name in ((cells.mean, "mean"), (cells.sd, "sd")):
        for row, wanted_row in zip(got.tolist(), wanted[name], strict=True):
            # An empty cell is null in the file and NaN here.
            values = [float("nan") if value is None else value for value in wanted_row]
            assert row == pytest.approx(values, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("compute", [in_one_pass, in_small_memory])
@pytest.mark.parametrize(
    ("n", "dim", "classes", "spread"),
    [(40, 5, 4, 1.0), (40, 5, 4, 1e-3), (12, 3, 9, 1.0), (30, 1, 2, 1.0), (25, 4, 1, 1.0)],
)
def test_equals_a_loop_over_pairs(
    compute: Callable[[Tensor, Tensor, int], PairCells],
    n: int,
    dim: int,
    classes: int,
    spread: float,
) -> None:
    embeddings, labels = clips(n, dim, classes, spread=spread)
    assert_equal_cells(
        compute(embeddings, labels, classes), loop_cells(embeddings, labels, classes)
    )


def test_zero_and_very_short_vectors_count_as_they_are() -> None:
    embeddings, labels = clips(20, 4, 3)
    embeddings[2] = 0.0
    embeddings[[5, 6]] = 1e-7 * embeddings[[5, 6]]
    labels[[2, 5, 6, 7]] = 1
    wanted = loop_cells(embeddings, labels, 3)
    assert_equal_cells(cosine_cells(embeddings, labels, 3), wanted)
    # The short vectors do change the result, so the test can fail.
    embeddings[2] = 1.0
    assert not torch.allclose(cosine_cells(embeddings, labels, 3).mean, wanted.mean)


def test_parts_merged_in_any_order_equal_one_pass() -> None:
    embeddings, labels = clips(60, 6, 5)
    first, second, empty = (ClassMoments(5, 6) for _ in range(3))
    first.update(embeddings[:7], labels[:7])
    first.update(embeddings[7:8], labels[7:8])
    second.update(embeddings[8:], labels[8:])
    second.merge(empty)
    second.merge(first)
    empty.merge(second)
    assert_equal_cells(empty.cells(), in_one_pass(embeddings, labels, 5), 1e-14)


def test_merge_leaves_the_other_unchanged() -> None:
    embeddings, labels = clips(30, 4, 3)
    first, second = ClassMoments(3, 4), ClassMoments(3, 4)
    first.update(embeddings[:15], labels[:15])
    second.update(embeddings[15:], labels[15:])
    before = second.scatters.clone()
    first.merge(second)
    assert torch.equal(second.scatters, before)
    assert int(second.counts.sum()) == int((labels[15:] >= 0).sum())


def test_invariant_to_order_rotation_and_length_of_vectors() -> None:
    embeddings, labels = clips(50, 6, 4)
    generator = torch.Generator().manual_seed(1)
    order = torch.randperm(50, generator=generator)
    square = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    rotation = torch.linalg.qr(square).Q
    lengths = 0.1 + 9 * torch.rand(50, 1, generator=generator, dtype=torch.float64)
    moved = (lengths * embeddings)[order] @ rotation
    assert_equal_cells(
        cosine_cells(moved, labels[order], 4), cosine_cells(embeddings, labels, 4), 1e-13
    )


@pytest.mark.parametrize("spread", [1e-3, 1e-4])
def test_nothing_cancels_near_collapse(spread: float) -> None:
    """Against sums over pairs of ||u_i - u_j||²/2, which are exact for small distances."""
    embeddings, labels = clips(30, 8, 1, spread=spread)
    labels = torch.zeros_like(labels)
    units = embeddings / embeddings.norm(dim=1, keepdim=True)
    distance = (units[:, None] - units[None]).square().sum(dim=2) / 2
    pairs = distance[~torch.eye(30, dtype=torch.bool)]
    cells = cosine_cells(embeddings, labels, 1)
    assert cells.mean.item() == pytest.approx(pairs.mean().item(), rel=1e-8)
    assert cells.sd.item() == pytest.approx(pairs.std(correction=0).item(), rel=1e-6)


def test_collapsed_classes_have_no_distance_and_no_spread() -> None:
    embeddings = torch.eye(3).repeat(4, 1)
    cells = cosine_cells(embeddings, torch.arange(3).repeat(4), 3)
    assert torch.equal(cells.mean, 1.0 - torch.eye(3, dtype=torch.float64))
    assert torch.equal(cells.variance, torch.zeros(3, 3, dtype=torch.float64))


def test_a_class_of_two_has_exactly_no_spread() -> None:
    embeddings, _ = clips(2, 64, 1, seed=3)
    assert cosine_cells(embeddings, torch.zeros(2, dtype=torch.long), 1).sd.item() == 0.0


def test_cells_without_pairs_are_nan() -> None:
    cells = cosine_cells(torch.eye(2), torch.tensor([0, -1]), 2)
    assert cells.counts.eq(0).all()
    assert cells.mean.isnan().all()
    assert cells.variance.isnan().all()


def test_more_vectors_than_a_block_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, labels = clips(50, 4, 3)
    whole = in_one_pass(embeddings, labels, 3)
    monkeypatch.setattr("tonotopy.geometry.moments.ROWS", 4)
    assert_equal_cells(in_one_pass(embeddings, labels, 3), whole, 1e-14)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_low_precision_input_is_summed_in_float64(dtype: torch.dtype) -> None:
    embeddings, labels = clips(30, 4, 3)
    rounded = embeddings.to(dtype)
    assert_equal_cells(cosine_cells(rounded, labels, 3), loop_cells(rounded, labels, 3))


@pytest.mark.parametrize("classes_held", [2, 3, 4, 6])
def test_chunks_of_several_classes(classes_held: int) -> None:
    embeddings, labels = clips(60, 4, 7)
    got = cosine_cells(embeddings, labels, 7, max_bytes=classes_held * 8 * 4**2)
    assert_equal_cells(got, in_one_pass(embeddings, labels, 7), 1e-14)


def test_embeddings_that_are_not_finite_are_counted() -> None:
    embeddings, labels = clips(20, 4, 3)
    labels[:4] = torch.tensor([0, 1, 2, -1])
    embeddings[0, 1], embeddings[1, 0] = torch.nan, torch.inf
    embeddings[3] = torch.nan  # without label: not looked at
    with pytest.raises(DataError, match="2 of 20 embeddings are not finite"):
        ClassMoments(3, 4).update(embeddings, labels)


@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        (torch.zeros(2, 3), torch.tensor([0, 1]), r"expected embeddings \(N, 4\)"),
        (torch.zeros(2, 4), torch.tensor([0]), "got"),
        (torch.zeros(2, 4), torch.tensor([0, 3]), "labels must be below 3, got 3"),
    ],
)
def test_wrong_use_is_named(embeddings: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ClassMoments(3, 4).update(embeddings, labels)


def test_moments_of_other_models_are_not_merged() -> None:
    with pytest.raises(UsageError, match="cannot merge"):
        ClassMoments(3, 4).merge(ClassMoments(3, 5))
    with pytest.raises(UsageError, match="at least 1 class"):
        ClassMoments(0, 4)
