from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy.geometry import Distance
from tonotopy.geometry.moments import PairCells, cosine_cells
from tonotopy.metrics import EmbeddingStructure, cosine_structure, pairwise_structure
from tonotopy.metrics._pair_blocks import pair_cells
from tonotopy.metrics._validation import to_units
from tonotopy.metrics.structure import (
    coefficient_of_variation,
    stratified_sample,
    structure_of_cells,
)

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden" / "add_structure.json").read_text(encoding="utf-8")
)
EMBEDDINGS = torch.tensor(GOLDEN["embeddings"], dtype=torch.float64)
LABELS = torch.tensor(GOLDEN["labels"])


def clips(n: int, classes: int, seed: int = 0, dim: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=generator)
    centres = torch.randn(classes, dim, generator=generator, dtype=torch.float64)
    return centres[labels] + torch.randn(n, dim, generator=generator, dtype=torch.float64), labels


def flat(result: dict[str, Any]) -> dict[str, float]:
    return {
        f"{part}/{name}": value
        for part in ("pooled", "macro", "variance_split")
        for name, value in result[part].items()
    }


def assert_same(got: dict[str, Any], wanted: dict[str, Any], tolerance: float = 1e-12) -> None:
    assert flat(got) == pytest.approx(flat(wanted), abs=tolerance, nan_ok=True)


@pytest.mark.parametrize("distance", ["cosine", "angle_quad"])
def test_reference_values(distance: Distance) -> None:
    got = pairwise_structure(EMBEDDINGS, LABELS, 4, distance=distance)
    pooled, macro = GOLDEN[distance]["pooled"], GOLDEN[distance]["macro"]
    means = GOLDEN[distance]["mean"]
    near = min(means[a][b] for a in range(4) for b in range(a + 1, 4))
    assert got["pooled"] == pytest.approx(
        {
            "compactness": pooled["mu_pos"],
            "separation": pooled["mu_neg"],
            "intra_cv": pooled["sd_pos"] / pooled["mu_pos"],
            "inter_cv": pooled["sd_neg"] / pooled["mu_neg"],
        },
        abs=1e-9,
    )
    assert got["macro"] == pytest.approx(
        {
            "compactness": macro["intra_mean"],
            "separation": macro["inter_mean"],
            "intra_cv": macro["intra_equidistance_cv_classes_of_3_up"],
            "inter_cv": macro["inter_equidistance_cv"],
            "min_separation": near,
        },
        abs=1e-9,
    )
    split = got["variance_split"]
    assert split["intra_within_classes"] + split["intra_among_classes"] == pytest.approx(
        pooled["sd_pos"] ** 2, abs=1e-9
    )
    assert split["inter_within_pairs"] + split["inter_among_pairs"] == pytest.approx(
        pooled["sd_neg"] ** 2, abs=1e-9
    )
    assert got["pairs"] == "exact"


@pytest.mark.parametrize("distance", ["cosine", "angle_quad"])
def test_reference_cells_from_pairs(distance: Distance) -> None:
    cells = pair_cells(to_units(EMBEDDINGS), LABELS, 4, distance)
    assert cells.counts.tolist() == GOLDEN["counts"]
    cv = coefficient_of_variation(cells.mean, cells.sd)
    for got, name in ((cells.mean, "mean"), (cells.sd, "sd"), (cv, "cv")):
        for row, wanted in zip(got.tolist(), GOLDEN[distance][name], strict=True):
            values = [math.nan if value is None else value for value in wanted]
            assert row == pytest.approx(values, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize(("n", "classes"), [(60, 4), (30, 20), (25, 1), (2, 2)])
@pytest.mark.parametrize(("tile", "pairs"), [(512, 2**22), (4, 12), (1, 1)])
def test_pairs_equal_the_closed_form(
    n: int, classes: int, tile: int, pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two independent ways to the same cells, with blocks of all shapes."""
    monkeypatch.setattr("tonotopy.metrics._pair_blocks.TILE", tile)
    monkeypatch.setattr("tonotopy.metrics._pair_blocks.TILE_PAIRS", pairs)
    embeddings, labels = clips(n, classes)
    got = pair_cells(to_units(embeddings), labels, classes, "cosine")
    wanted = cosine_cells(embeddings, labels, classes)
    assert torch.equal(got.counts, wanted.counts)
    torch.testing.assert_close(got.mean, wanted.mean, rtol=0, atol=1e-13, equal_nan=True)
    torch.testing.assert_close(got.variance, wanted.variance, rtol=0, atol=1e-13, equal_nan=True)


def test_angles_equal_a_loop_over_pairs() -> None:
    embeddings, labels = clips(24, 3)
    got = pairwise_structure(embeddings, labels, 3)
    units = embeddings / embeddings.norm(dim=1, keepdim=True)
    sides: dict[bool, list[float]] = {True: [], False: []}
    for i in range(24):
        for j in range(24):
            if i != j:
                angle = math.acos(float(units[i] @ units[j])) * 2 / math.pi
                sides[bool(labels[i] == labels[j])].append(angle)
    same, other = (torch.tensor(sides[key], dtype=torch.float64) for key in (True, False))
    assert got["pooled"] == pytest.approx(
        {
            "compactness": same.mean().item(),
            "separation": other.mean().item(),
            "intra_cv": (same.std(correction=0) / same.mean()).item(),
            "inter_cv": (other.std(correction=0) / other.mean()).item(),
        },
        abs=1e-12,
    )


def test_parts_and_merges_equal_one_pass() -> None:
    embeddings, labels = clips(90, 6)
    labels[::7] = -1
    parts = [EmbeddingStructure(6, 5) for _ in range(3)]
    for start in range(0, 90, 10):
        parts[start % 3].update(embeddings[start : start + 10], labels[start : start + 10])
    parts[0].merge(parts[1])
    parts[2].merge(parts[0])
    assert_same(parts[2].compute(), cosine_structure(embeddings, labels, 6), 1e-13)


@pytest.mark.parametrize("distance", ["cosine", "angle_quad"])
def test_invariant_to_order_rotation_length_and_class_names(distance: Distance) -> None:
    embeddings, labels = clips(50, 4)
    generator = torch.Generator().manual_seed(1)
    order = torch.randperm(50, generator=generator)
    square = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    rotation = torch.linalg.qr(square).Q
    lengths = 0.1 + torch.rand(50, 1, generator=generator, dtype=torch.float64)
    renamed = torch.tensor([2, 5, 0, 3])[labels]  # two empty classes appear
    got = pairwise_structure(
        (lengths * embeddings)[order] @ rotation, renamed[order], 6, distance=distance
    )
    assert_same(got, pairwise_structure(embeddings, labels, 4, distance=distance), 1e-12)


def test_the_optimum_is_orthogonal_points() -> None:
    embeddings, labels = torch.eye(4).repeat(5, 1), torch.arange(4).repeat(5)
    for got in (cosine_structure(embeddings, labels, 4), pairwise_structure(embeddings, labels, 4)):
        for part in ("pooled", "macro"):
            assert got[part]["compactness"] == pytest.approx(0.0, abs=1e-12)
            assert got[part]["separation"] == pytest.approx(1.0)
            assert got[part]["inter_cv"] == pytest.approx(0.0, abs=1e-12)
            assert math.isnan(got[part]["intra_cv"])  # undefined at collapse


def test_a_hierarchy_among_classes_is_seen_as_such() -> None:
    """Classes 0 and 1 lie at 30 degrees, class 2 at a right angle to both; all are points."""
    angle = math.radians(30)
    centres = torch.tensor([[1.0, 0, 0], [math.cos(angle), math.sin(angle), 0], [0, 0, 1.0]])
    got = pairwise_structure(centres.repeat(3, 1), torch.arange(3).repeat(3), 3)
    assert got["macro"]["min_separation"] == pytest.approx(1 / 3, abs=1e-6)
    assert got["macro"]["inter_cv"] == pytest.approx(
        math.sqrt(2 / 9) * (2 / 3) / ((1 / 3 + 2) / 3), abs=1e-6
    )
    assert got["variance_split"]["inter_within_pairs"] == pytest.approx(0.0, abs=1e-9)
    assert got["variance_split"]["inter_among_pairs"] == pytest.approx(
        2 / 9 * (2 / 3) ** 2, abs=1e-6
    )


@pytest.mark.parametrize("compute", [cosine_structure, pairwise_structure])
@pytest.mark.parametrize(
    ("labels", "undefined"),
    [
        # One class: nothing between classes.
        (
            [0, 0, 0, 0],
            {"pooled/separation", "pooled/inter_cv", "macro/separation", "macro/inter_cv"}
            | {"macro/min_separation"}
            | {"variance_split/inter_within_pairs", "variance_split/inter_among_pairs"},
        ),
        # One clip a class: nothing within classes.
        (
            [0, 1, 2, -1],
            {"pooled/compactness", "pooled/intra_cv", "macro/compactness", "macro/intra_cv"}
            | {"variance_split/intra_within_classes", "variance_split/intra_among_classes"},
        ),
        # One pair within, one pair of classes: no spread of either.
        ([0, 0, 2, -1], {"pooled/intra_cv", "macro/intra_cv", "macro/inter_cv"}),
    ],
)
def test_what_has_no_pairs_is_nan_and_nothing_else(
    compute: Any, labels: list[int], undefined: set[str]
) -> None:
    embeddings, _ = clips(4, 1)
    values = flat(compute(embeddings, torch.tensor(labels), 3))
    assert {name for name, value in values.items() if math.isnan(value)} == undefined


@pytest.mark.parametrize("compute", [cosine_structure, pairwise_structure])
@pytest.mark.parametrize(("n", "labels"), [(0, []), (1, [0]), (3, [-1, -1, -1])])
def test_no_pairs_at_all(compute: Any, n: int, labels: list[int]) -> None:
    got = compute(torch.ones(n, 3), torch.tensor(labels, dtype=torch.long), 2)
    assert all(math.isnan(value) for value in flat(got).values())


def test_zero_vectors_lie_at_a_right_angle_to_everything() -> None:
    embeddings, labels = torch.zeros(6, 3), torch.tensor([0, 0, 0, 1, 1, 1])
    for got in (cosine_structure(embeddings, labels, 2), pairwise_structure(embeddings, labels, 2)):
        assert got["pooled"] == pytest.approx(
            {"compactness": 1.0, "separation": 1.0, "intra_cv": 0.0, "inter_cv": 0.0}, abs=1e-7
        )


def test_a_sample_says_so_is_seeded_and_estimates_the_whole() -> None:
    embeddings, labels = clips(3000, 5)
    labels[labels == 4] = 3
    labels[:4] = 4  # a rare class
    whole = pairwise_structure(embeddings, labels, 5)
    sample = pairwise_structure(embeddings, labels, 5, max_clips=1000)
    assert whole["pairs"] == "exact"
    assert set(sample["pairs"]) == {"sampled_clips"}
    assert 1000 <= sample["pairs"]["sampled_clips"] <= 1010
    assert sample == pairwise_structure(embeddings, labels, 5, max_clips=1000)
    assert (
        sample["pooled"]
        != pairwise_structure(embeddings, labels, 5, max_clips=1000, seed=1)["pooled"]
    )
    assert sample["pooled"] == pytest.approx(whole["pooled"], rel=0.05)
    assert sample["pooled"] != whole["pooled"]


def test_pooled_values_of_a_sample_weigh_classes_as_the_whole_does() -> None:
    """Rare classes, raised to three clips each, are far tighter than the common one."""
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(400, 20, generator=generator, dtype=torch.float64)
    rare = torch.eye(20, dtype=torch.float64)[:15].repeat_interleave(3, dim=0)
    embeddings = torch.cat([common, rare])
    labels = torch.cat(
        [torch.zeros(400, dtype=torch.long), 1 + torch.arange(15).repeat_interleave(3)]
    )
    whole = pairwise_structure(embeddings, labels, 16)
    sample = pairwise_structure(embeddings, labels, 16, max_clips=40)
    assert sample["pooled"]["compactness"] == pytest.approx(
        whole["pooled"]["compactness"], rel=0.02
    )


def test_the_sample_holds_the_same_share_of_every_class() -> None:
    labels = torch.tensor([0] * 100 + [2] * 50 + [3] * 2)
    sample = stratified_sample(labels, 38)
    assert torch.bincount(labels[sample]).tolist() == [25, 0, 13, 2]
    assert torch.equal(sample, torch.unique(sample))
    with pytest.raises(UsageError, match="at least 1"):
        stratified_sample(labels, 0)


def test_cv_is_undefined_where_the_mean_vanishes() -> None:
    mean = torch.tensor([1e-9, 1e-8, 2.0, math.nan], dtype=torch.float64)
    got = coefficient_of_variation(mean, torch.tensor([1e-9, 1e-8, 1.0, 1.0], dtype=torch.float64))
    assert got.tolist() == pytest.approx([math.nan, 1.0, 0.5, math.nan], nan_ok=True)


def test_collapsed_classes_do_not_hide_the_spread_of_others() -> None:
    cells = PairCells(
        torch.tensor([[6, 9], [9, 6]]),
        torch.tensor([[0.0, 1.0], [1.0, 0.5]], dtype=torch.float64),
        torch.tensor([[0.0, 0.1], [0.1, 0.01]], dtype=torch.float64),
    )
    assert structure_of_cells(cells)["macro"]["intra_cv"] == pytest.approx(0.2)


@pytest.mark.parametrize("compute", [cosine_structure, pairwise_structure])
def test_wrong_use_is_named(compute: Any) -> None:
    with pytest.raises(UsageError, match="got 3"):
        compute(torch.ones(2, 3), torch.tensor([0, 3]), 3)
    with pytest.raises(DataError, match="1 of 2 embeddings"):
        compute(torch.tensor([[1.0], [math.nan]]), torch.tensor([0, 0]), 3)
