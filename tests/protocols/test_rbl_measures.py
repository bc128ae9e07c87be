"""Silhouettes and neighbours of the rank-based loss paper, against loops and reference values."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tonotopy.geometry import unit_vectors
from tonotopy.labels import PairRelations
from tonotopy.protocols._rbl_data import read_vectors
from tonotopy.protocols._rbl_measures import Neighbours, misplaced_share, silhouettes

GOLDEN = Path(__file__).parents[1] / "golden" / "rank_based_silhouette.json"

CODES = torch.tensor([[0, 1], [0, 1], [0, 2], [3, 4], [3, 4], [3, 5]])


def points(seed: int, number: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return unit_vectors(torch.randn(number, 4, generator=generator, dtype=torch.float64))


def random_codes(seed: int, number: int) -> Tensor:
    """Two coarse classes of two fine ones each."""
    fine = torch.from_numpy(np.random.default_rng(seed).integers(0, 4, number))
    return torch.stack([10 + fine // 2, fine], dim=1)


def silhouette_by_loops(units: Tensor, classes: list[int]) -> float:
    values = []
    for i, own in enumerate(classes):
        d = [1.0 - float(units[i] @ other) for other in units]
        by_class = {
            c: [d[j] for j, other in enumerate(classes) if other == c and j != i]
            for c in set(classes)
        }
        if not by_class[own]:
            values.append(0.0)
            continue
        a = sum(by_class[own]) / len(by_class[own])
        b = min(sum(v) / len(v) for c, v in by_class.items() if c != own)
        values.append((b - a) / max(a, b))
    return sum(values) / len(values)


def test_reference_values() -> None:
    raw = [(1, -1, -2), (2, 2, 3), (0, -2, 0), (-1, 0, -3), (-2, 1, -3), (2, -1, 3)]
    found = silhouettes(unit_vectors(torch.tensor(raw, dtype=torch.float64)), CODES)
    expected = json.loads(GOLDEN.read_text())["V1.silhouette"]
    assert [found.fine, found.coarse, found.average] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_silhouettes_are_those_of_the_formula(seed: int) -> None:
    units, codes = points(seed, 17), random_codes(seed, 17)
    codes[0] = torch.tensor([10, 9])  # alone in its fine class
    found = silhouettes(units, codes)
    assert found.fine == pytest.approx(silhouette_by_loops(units, codes[:, 1].tolist()))
    assert found.coarse == pytest.approx(silhouette_by_loops(units, codes[:, 0].tolist()))


def test_clips_that_coincide_have_no_negative_distance() -> None:
    third = unit_vectors(torch.tensor([[0.1, 0.7, 0.3], [0.9, -0.2, 0.4]], dtype=torch.float64))
    units = third.repeat_interleave(3, dim=0)
    found = silhouettes(units, torch.tensor([[0, 1]] * 3 + [[2, 3]] * 3))
    assert found == pytest.approx((1.0, 1.0))


def vote(train: Tensor, codes: Tensor, query: Tensor, k: int) -> int:
    d = [(1.0 - float(query @ u), int(fine)) for u, fine in zip(train, codes[:, 1], strict=True)]
    weights: dict[int, float] = {}
    for distance, fine in sorted(d)[:k]:
        weights[fine] = weights.get(fine, 0.0) + 1.0 / distance
    return max(sorted(weights), key=lambda fine: weights[fine])


def test_neighbours_vote_and_the_first_best_k_is_taken() -> None:
    train, val, test = points(1, 30), points(2, 20), points(3, 20)
    codes, val_codes, test_codes = (random_codes(s, n) for s, n in ((1, 30), (2, 20), (3, 20)))
    parents = {int(f): int(c) for c, f in codes}

    def by_loops(units: Tensor, truth: Tensor, k: int) -> tuple[float, float]:
        predicted = [vote(train, codes, query, k) for query in units]
        fine = np.mean([p == t for p, t in zip(predicted, truth[:, 1].tolist(), strict=True)])
        right = [parents[p] == t for p, t in zip(predicted, truth[:, 0].tolist(), strict=True)]
        return float(fine), float(np.mean(right))

    scores = [by_loops(val, val_codes, k) for k in range(1, 31)]
    fine, coarse = (list(column) for column in zip(*scores, strict=True))
    chosen = Neighbours.choose(train, codes, val, val_codes)
    assert chosen.k_fine == 1 + fine.index(max(fine))
    assert chosen.k_coarse == 1 + coarse.index(max(coarse))
    assert chosen.accuracies(test, test_codes) == (
        by_loops(test, test_codes, chosen.k_fine)[0],
        by_loops(test, test_codes, chosen.k_coarse)[1],
    )


def test_misplaced_pairs_are_averaged_over_batches() -> None:
    codes = torch.tensor([[0, 1], [0, 1], [0, 2]])
    relations = PairRelations.from_labels(codes)
    right = torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 1.0]])
    wrong = right[[0, 2, 1]]  # 0-2 is now the nearest of the three pairs, 0-1 the farthest
    batches = [(right, relations), (wrong, relations)]
    assert misplaced_share(unit_vectors, lambda epoch: batches[:1]) == 0.0
    assert misplaced_share(unit_vectors, lambda epoch: batches) == pytest.approx(1 / 3)


def test_the_given_vectors_of_the_authors_scenes(shared_data: Path) -> None:
    data = read_vectors(shared_data / "tut2016_vggish")
    found = {name: silhouettes(clips.units, clips.codes) for name, clips in data.splits.items()}
    assert found["test"] == pytest.approx((0.062240, 0.222568), abs=1e-6)
    assert found["val"] == pytest.approx((0.124, 0.241), abs=5e-4)
    assert found["train"] == pytest.approx((0.141, 0.229), abs=5e-4)
    train, val, test = (data.splits[name] for name in ("train", "val", "test"))
    neighbours = Neighbours.choose(train.units, train.codes, val.units, val.codes)
    assert (neighbours.k_fine, neighbours.k_coarse) == (1, 1)
    assert neighbours.accuracies(test.units, test.codes) == (29 / 30, 1.0)
