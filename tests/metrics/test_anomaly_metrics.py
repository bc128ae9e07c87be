from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, roc_auc_score
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy.metrics import best_f1, f1_ev, partial_auc, roc_auc, roc_curve

EMPTY = torch.tensor([])


def draw(normal: int, anomalous: int, seed: int, ties: bool) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(normal + anomalous, generator=generator, dtype=torch.float64)
    scores[normal:] += 0.7
    if ties:
        scores = (2 * scores).round()
    return scores[:normal], scores[normal:]


CASES = [
    (40, 25, 0, False),
    (40, 25, 1, True),
    (3, 50, 2, True),
    (200, 4, 3, False),
    (1, 1, 4, True),
]


def loop_auc(normal: Tensor, anomalous: Tensor) -> float:
    wins = [
        1.0 if a > n else 0.5 if a == n else 0.0
        for a in anomalous.tolist()
        for n in normal.tolist()
    ]
    return sum(wins) / len(wins)


@pytest.mark.parametrize("case", CASES)
def test_auc_counts_pairs(case: tuple[int, int, int, bool]) -> None:
    normal, anomalous = draw(*case)
    assert roc_auc(normal, anomalous) == pytest.approx(loop_auc(normal, anomalous), abs=1e-12)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("max_fpr", [0.01, 0.1, 0.25, 0.6, 1.0])
def test_areas_agree_with_scikit_learn(case: tuple[int, int, int, bool], max_fpr: float) -> None:
    normal, anomalous = draw(*case)
    truth = [0] * len(normal) + [1] * len(anomalous)
    both = torch.cat([normal, anomalous]).numpy()
    assert roc_auc(normal, anomalous) == pytest.approx(roc_auc_score(truth, both), abs=1e-12)
    wanted = roc_auc_score(truth, both, max_fpr=max_fpr)
    assert partial_auc(normal, anomalous, max_fpr) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_the_curve_counts_strict_decisions(case: tuple[int, int, int, bool]) -> None:
    normal, anomalous = draw(*case)
    curve = roc_curve(normal, anomalous)
    assert curve.thresholds.diff().max() < 0
    for fpr, tpr, threshold in zip(
        curve.false_positive_rates, curve.true_positive_rates, curve.thresholds, strict=True
    ):
        assert fpr == (normal > threshold).double().mean()
        assert tpr == (anomalous > threshold).double().mean()
    area = torch.trapezoid(curve.true_positive_rates, curve.false_positive_rates)
    assert area.item() == pytest.approx(roc_auc(normal, anomalous), abs=1e-12)


def test_counting_takes_the_highest_normal_clips() -> None:
    normal, anomalous = draw(57, 20, 0, ties=True)
    for p, count in ((0.1, 5), (0.5, 28), (1.0, 57)):
        top = sorted(normal.tolist(), reverse=True)[:count]
        wins = [a > n for a in anomalous.tolist() for n in top]
        found = partial_auc(normal, anomalous, p, form="counting")
        assert found == pytest.approx(sum(wins) / len(wins), abs=1e-12)
    # 0.29 * 100 is a little below 29.
    many = torch.arange(100.0)
    assert partial_auc(many, torch.tensor([71.0]), 0.29, "counting") == 0
    assert partial_auc(many, torch.tensor([71.5]), 0.29, "counting") == pytest.approx(1 / 29)
    assert math.isnan(partial_auc(many[:9], anomalous, 0.1, "counting"))


@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=30),
    st.lists(st.integers(-5, 5), min_size=1, max_size=30),
)
def test_only_the_order_counts(normal: list[int], anomalous: list[int]) -> None:
    n, a = torch.tensor(normal).double(), torch.tensor(anomalous).double()
    moved = n.exp() - 7, a.exp() - 7
    assert roc_auc(n, a) == roc_auc(*moved)
    assert roc_auc(n, a) == pytest.approx(1 - roc_auc(a, n), abs=1e-12)
    assert roc_auc(n, a) == pytest.approx(1 - roc_auc(-n, -a), abs=1e-12)
    for form in ("mcclish", "counting"):
        first, second = (partial_auc(*pair, 0.3, form) for pair in ((n, a), moved))
        assert first == second or (math.isnan(first) and math.isnan(second))
    assert best_f1(n, a).f1 == best_f1(*moved).f1


@pytest.mark.parametrize("metric", [roc_auc, partial_auc])
def test_chance_perfection_and_failure(metric) -> None:  # type: ignore[no-untyped-def]
    same = torch.full((30,), 3.0)
    assert metric(same, same[:7]) == pytest.approx(0.5)
    assert metric(torch.arange(30.0), torch.tensor([30.0, math.inf])) == 1.0
    assert metric(torch.arange(30.0), torch.tensor([-math.inf, -1.0])) < 0.5
    assert metric(torch.tensor([-math.inf]), torch.tensor([-math.inf])) == pytest.approx(0.5)
    for empty in ((EMPTY, same), (same, EMPTY), (EMPTY, EMPTY)):
        assert math.isnan(metric(*empty))


def test_what_cannot_be_scored_is_refused() -> None:
    fine, bad = torch.tensor([0.0, 1.0]), torch.tensor([0.0, math.nan, math.nan])
    for metric in (roc_auc, partial_auc, roc_curve, best_f1, f1_ev):
        with pytest.raises(DataError, match="2 of 3 anomalous scores are NaN"):
            metric(fine, bad)
        with pytest.raises(DataError, match="2 of 3 normal scores are NaN"):
            metric(bad, fine)
        with pytest.raises(UsageError, match=r"\(1, 2\)"):
            metric(fine[None], fine)
    for metric in (roc_curve, best_f1, f1_ev):
        with pytest.raises(UsageError, match="got 2 and 0"):
            metric(fine, EMPTY)
    for metric in (best_f1, f1_ev):
        with pytest.raises(DataError, match="infinite"):
            metric(fine, torch.tensor([math.inf]))
    for p in (0.0, 1.1, math.nan):
        with pytest.raises(UsageError, match="max_fpr"):
            partial_auc(fine, fine, p)
    with pytest.raises(UsageError, match="form"):
        partial_auc(fine, fine, form="other")  # type: ignore[arg-type]


@pytest.mark.parametrize("case", CASES)
def test_best_f1_tries_every_score(case: tuple[int, int, int, bool]) -> None:
    normal, anomalous = draw(*case)
    both = torch.cat([normal, anomalous])
    truth = np.array([0] * len(normal) + [1] * len(anomalous))
    tried = {t: f1_score(truth, (both > t).numpy(), zero_division=0) for t in both.tolist()}
    found = best_f1(normal, anomalous)
    assert found.f1 == pytest.approx(max(tried.values()), abs=1e-12)
    assert found.threshold == min(t for t, f1 in tried.items() if f1 > max(tried.values()) - 1e-12)


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("case", CASES[:4])
def test_f1_ev_is_the_mean_over_thresholds(case: tuple[int, int, int, bool], bounded: bool) -> None:
    normal, anomalous = draw(*case)
    both = torch.cat([normal, anomalous]).numpy()
    low, high = both.min(), both.max()
    if bounded:
        ends = float(normal.mean()), best_f1(normal, anomalous).threshold
        low, high = min(ends) - 0.2 * normal.numpy().std(), max(ends) + 0.2 * normal.numpy().std()
    truth = np.array([False] * len(normal) + [True] * len(anomalous))
    thresholds = low + (high - low) * (np.arange(20000) + 0.5) / 20000
    detected = both > thresholds[:, None]
    values = 2 * (detected & truth).sum(axis=1) / (detected.sum(axis=1) + truth.sum())
    assert f1_ev(normal, anomalous, bounded=bounded) == pytest.approx(values.mean(), abs=2e-3)


def test_f1_ev_of_one_score_and_of_units() -> None:
    same = torch.full((5,), 2.0)
    assert f1_ev(same, same) == f1_ev(same, same, bounded=True) == best_f1(same, same).f1 == 0
    normal, anomalous = draw(40, 25, 0, False)
    for bounded in (False, True):
        found = f1_ev(normal, anomalous, bounded=bounded)
        moved = f1_ev(3 * normal - 8, 3 * anomalous - 8, bounded=bounded)
        assert found == pytest.approx(moved, abs=1e-12)
    # A threshold that nobody would choose costs nothing once it is left out.
    assert f1_ev(normal, anomalous, bounded=True) > f1_ev(normal, anomalous)
