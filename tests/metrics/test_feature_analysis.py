"""Uniformity, tolerance, alignment and hubness against golden values, loops and hard input."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy.metrics import (
    alignment,
    alignment_uniformity,
    analyse_features,
    hubness,
    k_occurrence,
    tolerance,
    uniformity,
)

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "feature_analysis.json").read_text(encoding="utf-8")
)


def random(n: int, dim: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, dim, generator=generator, dtype=torch.float64)


def drawn_labels(n: int, classes: int, unknown: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(classes, (n,), generator=generator)
    return labels.masked_fill(torch.rand(n, generator=generator) < unknown, -1)


def unit_rows(x: Tensor) -> list[list[float]]:
    rows: list[list[float]] = x.double().tolist()
    lengths = [math.sqrt(sum(value * value for value in row)) or 1.0 for row in rows]
    return [[value / length for value in row] for row, length in zip(rows, lengths, strict=True)]


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def square_distance(a: list[float], b: list[float]) -> float:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def loop_uniformity(x: Tensor, t: float) -> float:
    u = unit_rows(x)
    pairs = [(i, j) for i in range(len(u)) for j in range(len(u)) if i != j]
    return math.log(sum(math.exp(-t * square_distance(u[i], u[j])) for i, j in pairs) / len(pairs))


def loop_tolerance(x: Tensor, labels: Tensor, form: str) -> float:
    u, y = unit_rows(x), labels.tolist()
    known = [
        (i, j) for i in range(len(u)) for j in range(len(u)) if i != j and min(y[i], y[j]) > -1
    ]
    same = [dot(u[i], u[j]) for i, j in known if y[i] == y[j]]
    return sum(same) / len(same if form == "conditional" else known)


def loop_hubness(x: Tensor, k: int) -> float:
    u = unit_rows(x)
    counts = [0] * len(u)
    for i in range(len(u)):
        others = sorted((j for j in range(len(u)) if j != i), key=lambda j: -dot(u[i], u[j]))
        for j in others[:k]:
            counts[j] += 1
    mean = sum(counts) / len(counts)
    moments = [sum((c - mean) ** power for c in counts) / len(counts) for power in (2, 3)]
    return float(moments[1] / moments[0] ** 1.5)


def test_golden_values() -> None:
    z, labels = torch.tensor(GOLDEN["z"], dtype=torch.float64), torch.tensor(GOLDEN["labels"])
    first, second = z[:3], z[3:]
    expected = GOLDEN["values"]
    assert uniformity(first) == pytest.approx(expected["uniformity_z1"], abs=1e-14)
    assert alignment(first, second) == pytest.approx(expected["alignment_z"], abs=1e-14)
    assert tolerance(z, labels) == pytest.approx(expected["tolerance_z"], abs=1e-14)
    literal = tolerance(z, labels, "literal")
    assert literal == pytest.approx(expected["tolerance_literal_z"], abs=1e-14)


@pytest.mark.parametrize("t", [0.5, 2.0, 3.0])
@pytest.mark.parametrize(("n", "dim"), [(2, 3), (17, 4), (60, 2)])
def test_uniformity_equals_a_loop(n: int, dim: int, t: float) -> None:
    x = random(n, dim)
    assert uniformity(x, t) == pytest.approx(loop_uniformity(x, t), rel=1e-12)


@pytest.mark.parametrize("pairs", [1, 7, 50, 100])
def test_blocks_of_any_size_give_the_same(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = random(23, 5)
    whole, counts = uniformity(x), k_occurrence(x, 4)
    monkeypatch.setattr(alignment_uniformity, "TILE_PAIRS", pairs)
    monkeypatch.setattr("tonotopy.metrics._ranking.BLOCK", pairs)
    assert uniformity(x) == pytest.approx(whole, rel=1e-14)
    assert torch.equal(k_occurrence(x, 4), counts)


@pytest.mark.parametrize("form", ["conditional", "literal"])
@pytest.mark.parametrize("unknown", [0.0, 0.4])
def test_tolerance_equals_a_loop(form: str, unknown: float) -> None:
    x, labels = random(40, 6), drawn_labels(40, 5, unknown)
    found = tolerance(x, labels, form)  # type: ignore[arg-type]  # one of the forms
    assert found == pytest.approx(loop_tolerance(x, labels, form), abs=1e-13)


@pytest.mark.parametrize("alpha", [1.0, 2.0, 3.5])
def test_alignment_equals_a_loop(alpha: float) -> None:
    a, b = random(20, 4), random(20, 4, seed=1)
    rows = zip(unit_rows(a), unit_rows(b), strict=True)
    powers = [square_distance(u, v) ** (alpha / 2) for u, v in rows]
    assert alignment(a, b, alpha) == pytest.approx(sum(powers) / len(powers), rel=1e-12)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_hubness_equals_a_loop(k: int) -> None:
    x = random(50, 12)
    assert hubness(x, k) == pytest.approx(loop_hubness(x, k), rel=1e-9)
    assert k_occurrence(x, k).mean().item() == pytest.approx(k)


def test_a_clip_in_the_middle_is_a_hub() -> None:
    # All directions lie around one, which is therefore near to every one of them.
    spread = random(200, 30)
    hub = torch.cat([spread + 3.0, torch.full((1, 30), 3.0, dtype=torch.float64)])
    assert int(k_occurrence(hub).argmax()) == 200
    assert hubness(hub) > hubness(spread) > 0.0


def test_neighbours_that_tie_share_their_places() -> None:
    # The clip at 0 has two neighbours at one angle, each of which has it alone as nearest.
    x = torch.tensor([[1.0, 0.0], [1.0, 0.5], [1.0, -0.5]])
    assert k_occurrence(x, 1).tolist() == [2.0, 0.5, 0.5]


MEASURES: dict[str, Callable[[Tensor, Tensor], float]] = {
    "uniformity": lambda x, labels: uniformity(x),
    "tolerance": lambda x, labels: tolerance(x, labels),
    "tolerance_literal": lambda x, labels: tolerance(x, labels, "literal"),
    "alignment": lambda x, labels: alignment(x[: len(x) // 2], x[len(x) // 2 :]),
    "hubness": lambda x, labels: hubness(x, 5),
}


@pytest.mark.parametrize("name", MEASURES)
def test_invariant_to_rotation_and_length(name: str) -> None:
    x, labels = random(60, 6), drawn_labels(60, 4)
    rotation = torch.linalg.qr(random(6, 6)).Q
    lengths = torch.arange(1.0, 61.0, dtype=torch.float64)[:, None]
    measure = MEASURES[name]
    assert measure((lengths * x) @ rotation, labels) == pytest.approx(measure(x, labels), rel=1e-9)


@pytest.mark.parametrize("name", [name for name in MEASURES if name != "alignment"])
def test_invariant_to_order(name: str) -> None:
    x, labels = random(60, 6), drawn_labels(60, 4)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    measure = MEASURES[name]
    assert measure(x[order], labels[order]) == pytest.approx(measure(x, labels), rel=1e-12)


def test_equal_embeddings_are_neither_uniform_nor_hubs() -> None:
    x, labels = torch.full((30, 7), 0.3), drawn_labels(30, 3)
    found = analyse_features(x, labels=labels, other_views=2.0 * x)
    assert found["uniformity"] == pytest.approx(0.0, abs=1e-12)
    assert found["uniformity"] <= 0.0
    assert found["tolerance"] == pytest.approx(1.0)
    assert found["alignment"] == pytest.approx(0.0, abs=1e-12)
    assert found["hubness"] == 0.0
    assert found["effective_rank"] == pytest.approx(1.0, abs=1e-6)


def test_dead_embeddings_are_not_taken_for_uniform() -> None:
    zeros = torch.zeros(9, 4)
    found = analyse_features(zeros, labels=torch.zeros(9, dtype=torch.long), other_views=zeros)
    assert found["uniformity"] == 0.0
    assert found["tolerance"] == 0.0
    assert found["alignment"] == 0.0
    assert found["hubness"] == 0.0
    # One zero vector lies at distance 1 from the others, which are at right angles.
    some = torch.cat([torch.eye(3), torch.zeros(1, 3)])
    assert uniformity(some) == pytest.approx(math.log((3 * math.exp(-4) + 3 * math.exp(-2)) / 6))


def test_antipodes_reach_the_lower_bound() -> None:
    assert uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])) == pytest.approx(-8.0)
    # exp(-4000) is 0 in float64; the logarithm is not.
    assert uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), t=1000.0) == pytest.approx(-4000.0)


def test_even_directions_of_many_dimensions_come_near_the_limit() -> None:
    assert uniformity(random(1500, 256)) == pytest.approx(-4.0, abs=0.05)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_embeddings(n: int) -> None:
    x, labels = torch.ones(n, 3), torch.zeros(n, dtype=torch.long)
    assert math.isnan(uniformity(x))
    assert math.isnan(hubness(x))
    assert math.isnan(tolerance(x, labels))
    assert math.isnan(tolerance(x, labels, "literal"))
    assert math.isnan(alignment(x, x)) == (n == 0)
    assert k_occurrence(x).tolist() == [0.0] * n


def test_what_cannot_be_measured_is_absent_or_not_a_number() -> None:
    x = random(6, 3)
    assert set(analyse_features(x)) == {"uniformity", "effective_rank", "hubness"}
    unknown = torch.full((6,), -1)
    assert "tolerance" not in analyse_features(x, labels=unknown)
    alone = analyse_features(x, labels=torch.arange(6))
    assert math.isnan(alone["tolerance"])
    assert alone["tolerance_literal"] == 0.0
    assert math.isnan(tolerance(x, unknown))


def test_hubness_of_as_many_neighbours_as_there_are() -> None:
    assert hubness(random(8, 3), k=7) == hubness(random(8, 3), k=1000) == 0.0


def test_half_precision_is_measured_in_float64() -> None:
    x = random(40, 8).bfloat16()
    assert uniformity(x) == pytest.approx(loop_uniformity(x, 2.0), rel=1e-12)


def test_the_dict_holds_the_single_measures() -> None:
    x, other, labels = random(30, 5), random(30, 5, seed=2), drawn_labels(30, 3, 0.2)
    found = analyse_features(x, labels=labels, other_views=other, hubness_k=4)
    assert found["uniformity"] == uniformity(x)
    assert found["tolerance"] == tolerance(x, labels)
    assert found["tolerance_literal"] == tolerance(x, labels, "literal")
    assert found["alignment"] == alignment(x, other)
    assert found["hubness"] == hubness(x, 4)
    assert np.isfinite(list(found.values())).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: uniformity(x, 0.0), "t must be above 0"),
        (lambda x: uniformity(x[0]), r"expected embeddings \(N, D\)"),
        (lambda x: alignment(x, x[:2]), "two views of the same shape"),
        (lambda x: alignment(x, x, -1.0), "alpha must be above 0"),
        (lambda x: hubness(x, 0), "k must be 1 or more"),
        (lambda x: tolerance(x, torch.zeros(2, dtype=torch.long)), r"labels \(N,\)"),
        (lambda x: tolerance(x, torch.zeros(3, dtype=torch.long), form="mean"), "form must"),  # type: ignore[arg-type]  # wrong on purpose
    ],
)
def test_wrong_use(call: Callable[[Tensor], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call(torch.ones(3, 2))


def test_embeddings_that_are_not_finite_are_counted() -> None:
    bad = torch.tensor([[1.0], [math.nan], [math.inf]])
    calls: list[Callable[[], object]] = [
        lambda: uniformity(bad),
        lambda: hubness(bad),
        lambda: alignment(bad, bad),
        lambda: tolerance(bad, torch.zeros(3, dtype=torch.long)),
    ]
    for call in calls:
        with pytest.raises(DataError, match="2 of 3 embeddings"):
            call()
    # A clip without label is not looked at.
    assert math.isnan(tolerance(bad, torch.tensor([0, -1, -1])))
