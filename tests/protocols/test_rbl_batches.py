"""Quadruplets, shuffled batches and random hierarchies of the rank-based loss experiment."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tonotopy._errors import DataError
from tonotopy.protocols._rbl_batches import (
    deal_classes,
    draw_quadruplets,
    fixed_batches,
    quadruplets_in_file_order,
    regroup,
    shuffled_batches,
)
from tonotopy.protocols._rbl_data import LabelledVectors, read_vectors

# Two coarse classes, 0 and 10, of three fine classes each.
FINE = [1, 2, 3, 11, 12, 13]
CODES = torch.tensor([[fine // 10 * 10, fine] for fine in FINE for _ in range(8)])


def make_clips(codes: Tensor) -> LabelledVectors:
    """Clips whose only number is their row."""
    return LabelledVectors(torch.arange(len(codes), dtype=torch.float64)[:, None], codes)


def is_quadruplet(rows: list[list[int]]) -> bool:
    (a, a_fine), (p, p_fine), (s, s_fine), (n, _) = rows
    return a_fine == p_fine and a == p == s and s_fine != a_fine and n != a


@pytest.mark.parametrize("seed", range(4))
def test_drawn_quadruplets_are_right_and_use_almost_every_clip_once(seed: int) -> None:
    table = draw_quadruplets(CODES, seed)
    assert all(is_quadruplet(CODES[rows].tolist()) for rows in table)
    assert max(Counter(table.flatten().tolist()).values()) == 1
    assert len(table) >= 11  # of twelve
    assert torch.equal(table, draw_quadruplets(CODES, seed))
    assert not torch.equal(table, draw_quadruplets(CODES, seed + 1))


def test_uneven_classes_leave_clips_over() -> None:
    codes = torch.tensor([[0, 1]] * 9 + [[0, 2]] * 2 + [[10, 11]] * 5)
    table = draw_quadruplets(codes, 0)
    assert all(is_quadruplet(codes[rows].tolist()) for rows in table)
    assert max(Counter(table.flatten().tolist()).values()) == 1
    assert len(table) >= 2


@pytest.mark.parametrize(
    "codes",
    [[[0, 1]] * 4 + [[0, 2]] * 4, [[0, 1], [0, 2], [10, 11]], [[0, 1]] * 4 + [[10, 11]] * 4],
)
def test_without_a_quadruplet_it_says_what_it_takes(codes: list[list[int]]) -> None:
    with pytest.raises(DataError, match="another coarse class"):
        draw_quadruplets(torch.tensor(codes), 0)


def test_quadruplets_in_file_order_are_seen() -> None:
    codes = CODES[draw_quadruplets(CODES, 0).flatten()]
    found = quadruplets_in_file_order(codes)
    assert found is not None
    assert found.flatten().tolist() == list(range(len(codes)))
    for a, b in ((0, 2), (1, 3), (0, 3)):
        swapped = codes.clone()
        swapped[[a, b]] = codes[[b, a]]
        assert quadruplets_in_file_order(swapped) is None
    assert quadruplets_in_file_order(codes[:-1]) is None


def test_the_authors_files_are_quadruplets(shared_data: Path) -> None:
    data = read_vectors(shared_data / "tut2016_vggish")
    for split in ("train", "val"):
        assert quadruplets_in_file_order(data.splits[split].codes) is not None


def test_fixed_batches_are_three_quadruplets_and_stay() -> None:
    table = draw_quadruplets(CODES, 0)
    batches = fixed_batches(make_clips(CODES), table)
    sizes = [len(vectors) for vectors, _ in batches(1)]
    assert sizes == [12, 12, 12, table.numel() - 36]
    rows = torch.cat([vectors for vectors, _ in batches(1)]).flatten().long()
    assert torch.equal(rows, table.flatten())
    assert torch.equal(rows, torch.cat([v for v, _ in batches(2)]).flatten().long())
    vectors, relations = batches(1)[1]
    codes = CODES[vectors.flatten().long()]
    lo, hi = relations.bounds()
    expected = (codes[:, None] == codes).sum(dim=-1)
    assert torch.equal(lo, expected)
    assert torch.equal(hi, expected)


def test_shuffled_batches_hold_every_clip_once_in_another_order_each_epoch() -> None:
    clips = make_clips(CODES[:46])
    orders = []
    for epoch in (1, 2):
        batches = shuffled_batches(clips, seed=3)(epoch)
        assert [len(vectors) for vectors, _ in batches] == [12, 12, 12, 10]
        orders.append(torch.cat([vectors for vectors, _ in batches]).flatten().tolist())
        assert sorted(orders[-1]) == list(range(46))
    assert orders[0] != orders[1]
    again = torch.cat([v for v, _ in shuffled_batches(clips, seed=3)(2)]).flatten().tolist()
    assert again == orders[1]


def test_a_random_hierarchy_keeps_sizes_and_is_never_the_true_one() -> None:
    codes = torch.tensor([[0, 1], [0, 2], [10, 11]])  # only one of three deals is the true one
    for seed in range(20):
        dealt = deal_classes(codes, seed)
        assert Counter(dealt.values()) == {0: 2, 10: 1}
        assert dealt[1] != dealt[2]
    assert len({tuple(deal_classes(CODES, seed).values()) for seed in range(5)}) > 1
    clips = regroup(make_clips(CODES), deal_classes(CODES, 0))
    assert torch.equal(clips.codes[:, 1], CODES[:, 1])
    assert clips.codes[:, 0].tolist() == [deal_classes(CODES, 0)[f] for f in CODES[:, 1].tolist()]


@pytest.mark.parametrize("codes", [[[0, 1], [10, 11]], [[0, 1], [0, 2]]])
def test_where_no_other_grouping_exists_it_says_so(codes: list[list[int]]) -> None:
    with pytest.raises(DataError, match="rbl-random-hierarchy"):
        deal_classes(torch.tensor(codes), 0)
