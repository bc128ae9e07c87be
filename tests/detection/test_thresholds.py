"""Thresholds from normal scores: the promised rate is kept, and what cannot be kept is said."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tonotopy._errors import DataError, UsageError
from tonotopy.detection import Threshold, ThresholdMethod, fit_threshold

METHODS: tuple[ThresholdMethod, ...] = ("conformal", "gamma", "pareto")


def draw(count: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    generator = np.random.default_rng(seed)
    return torch.from_numpy(generator.gamma(2.0, 0.3, count) + shift)


@pytest.mark.parametrize(
    ("count", "rate"), [(19, 0.05), (30, 0.1), (99, 0.01), (100, 0.25), (7, 0.3)]
)
def test_conformal_false_alarms_on_average_over_calibrations(count: int, rate: float) -> None:
    # For continuous scores the probability is exactly floor((n + 1) rate) / (n + 1).
    generator = np.random.default_rng(count)
    rounds = 4000
    alarms = 0
    for _ in range(rounds):
        scores = torch.from_numpy(generator.standard_t(2, count + 1))
        alarms += int(fit_threshold(scores[:-1], false_alarm_rate=rate).exceeded(scores[-1:]))
    exact = math.floor((count + 1) * Fraction(str(rate))) / (count + 1)
    assert exact <= rate
    low, high = stats.binom.interval(1 - 1e-4, rounds, exact)
    assert low <= alarms <= high


def test_conformal_p_values_are_uniform() -> None:
    generator = np.random.default_rng(0)
    draws = torch.from_numpy(generator.normal(size=(3000, 20)))
    ranks = [round(20 * float(fit_threshold(d[:-1]).p_values(d[-1:]))) for d in draws]
    counts = np.bincount(ranks, minlength=21)
    assert counts[0] == 0
    assert stats.chisquare(counts[1:]).pvalue > 1e-4


@given(
    st.lists(st.integers(0, 6), max_size=60),
    st.sampled_from([0.5, 0.3, 0.1, 0.05, 0.01, 1 / 3]),
)
def test_conformal_by_its_definition(calibration: list[int], rate: float) -> None:
    threshold = fit_threshold(torch.tensor(calibration), false_alarm_rate=rate)
    count, exact = len(calibration), Fraction(rate).limit_denominator(1000)
    rank = math.ceil((count + 1) * (1 - exact))
    wanted = sorted(calibration)[rank - 1] if rank <= count else math.inf
    assert threshold.value == wanted
    assert threshold.never_alarms == (count < math.ceil(1 / exact) - 1)
    assert ("never alarms" in threshold.guarantee) == threshold.never_alarms
    tested = torch.tensor([-1.0, 0.0, 0.5, 3.0, 5.5, 6.0, 7.0, math.inf])
    p_values = threshold.p_values(tested)
    for score, p, alarm in zip(tested, p_values, threshold.exceeded(tested), strict=True):
        assert float(p) == pytest.approx((1 + sum(c >= score for c in calibration)) / (count + 1))
        assert bool(alarm) == (float(p) <= rate + 1e-9) == (float(score) > threshold.value)


def test_too_few_scores_never_alarm_and_say_what_they_need() -> None:
    for count in (0, 1, 98):
        threshold = fit_threshold(draw(count, 0))
        assert threshold.never_alarms
        assert threshold.guarantee.startswith("never alarms")
        assert f"at least 99 calibration scores, there are {count}" in threshold.guarantee
        assert not threshold.exceeded(torch.tensor([1e300, math.inf])).any()
    assert fit_threshold(draw(0, 0)).p_values(torch.tensor([5.0])).tolist() == [1.0]
    enough = fit_threshold(draw(99, 0))
    assert enough.value == draw(99, 0).max()
    assert "at most 0.01" in enough.guarantee
    assert "99 calibration scores are exchangeable" in enough.guarantee


def test_constant_scores_alarm_above_only() -> None:
    threshold = fit_threshold(torch.full((50,), 2.0), false_alarm_rate=0.1)
    assert threshold.exceeded(torch.tensor([1.0, 2.0, 2.001])).tolist() == [
        False,
        False,
        True,
    ]
    for method, message in (("gamma", "not all equal"), ("pareto", "got 0 of 500")):
        with pytest.raises(UsageError, match=message):
            fit_threshold(torch.full((500,), 2.0), method=method)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rate", [0.1, 0.01])
def test_every_method_keeps_its_rate_on_scores_that_fit(
    method: ThresholdMethod, rate: float
) -> None:
    rates = [
        fit_threshold(draw(1000, seed), false_alarm_rate=rate, method=method)
        .exceeded(draw(20000, 1000 + seed))
        .double()
        .mean()
        .item()
        for seed in range(12)
    ]
    assert np.mean(rates) == pytest.approx(rate, rel=0.15)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("source", ["normal", "student", "left", "ties"])
def test_p_values_fall_with_the_score(method: ThresholdMethod, source: str) -> None:
    generator = np.random.default_rng(3)
    made = {
        "normal": generator.normal(size=400),
        "student": generator.standard_t(3, 400),
        "left": -generator.gamma(1.0, 1.0, 400),
        "ties": generator.normal(size=400).round(1),
    }
    calibration = torch.from_numpy(made[source])
    threshold = fit_threshold(calibration, method=method, false_alarm_rate=0.05)
    low, high = calibration.min().item(), calibration.max().item()
    tested = (
        torch.cat([torch.linspace(low - 5, high + 5, 4001).double(), calibration]).sort().values
    )
    p = threshold.p_values(tested)
    assert p.dtype == torch.float64
    assert (p.diff() <= 1e-12).all()
    assert 0 < p[-1] < 0.02 + 1e-9
    assert p[0] == pytest.approx(1.0)
    at = threshold.p_values(torch.tensor([threshold.value + 1e-9], dtype=torch.float64))
    assert at.item() <= 0.05 + 1e-6
    # Close to what the scores themselves say, in the middle.
    middle = calibration.median().reshape(1)
    share = (calibration >= middle).double().mean().item()
    assert threshold.p_values(middle).item() == pytest.approx(share, abs=0.15)


@pytest.mark.parametrize("method", METHODS)
def test_units_do_not_matter(method: ThresholdMethod) -> None:
    scores = draw(300, 5)
    threshold = fit_threshold(scores, method=method)
    moved = fit_threshold(1e-6 * scores - 40, method=method)
    assert moved.value == pytest.approx(1e-6 * threshold.value - 40, abs=1e-12)
    shuffled = fit_threshold(scores.flip(0), method=method)
    assert shuffled == threshold


def test_the_gamma_is_found_again() -> None:
    threshold = fit_threshold(draw(5000, 7, shift=-3.0), method="gamma", false_alarm_rate=1e-4)
    exact = stats.gamma.isf(1e-4, 2.0, loc=-3.0, scale=0.3)
    assert threshold.value == pytest.approx(exact, abs=0.15)
    assert threshold.parameters["location"] < -3.0 + draw(5000, 7).min().item()


def test_the_pareto_tail_is_found_again() -> None:
    generator = np.random.default_rng(8)
    shapes, values = [], []
    for _ in range(20):
        scores = torch.from_numpy(generator.pareto(5.0, 2000) - 4)
        threshold = fit_threshold(scores, method="pareto", false_alarm_rate=1e-3)
        shapes.append(threshold.parameters["shape"])
        values.append(threshold.value)
    assert np.mean(shapes) == pytest.approx(1 / 5, abs=0.06)
    assert np.mean(values) + 4 == pytest.approx(1000 ** (1 / 5) - 1, rel=0.1)
    # A tail that ends still gives every score a chance.
    flat = fit_threshold(torch.from_numpy(generator.uniform(size=500)), method="pareto")
    assert flat.parameters["shape"] == 0
    assert flat.p_values(torch.tensor([1.5])).item() > 0


def test_fitted_methods_refuse_what_they_cannot_fit() -> None:
    with pytest.raises(UsageError, match=r"needs 20 calibration scores.*got 19"):
        fit_threshold(draw(19, 0), method="gamma")
    with pytest.raises(UsageError, match=r"20 scores in the top 10%, got 19 of 199 .* least 200"):
        fit_threshold(draw(199, 0), method="pareto")
    with pytest.raises(UsageError, match=r"cannot be 0\.2"):
        fit_threshold(draw(300, 0), method="pareto", false_alarm_rate=0.2)
    for method in METHODS[1:]:
        with pytest.raises(UsageError, match="from nothing"):
            fit_threshold(draw(0, 0), method=method)


@pytest.mark.parametrize("method", METHODS)
def test_a_json_file_gives_the_same_threshold(method: ThresholdMethod) -> None:
    for count in (300,) if method != "conformal" else (0, 5, 300):
        threshold = fit_threshold(draw(count, 9), method=method)
        text = json.dumps(threshold.to_dict(), allow_nan=False)
        again = Threshold.from_dict(json.loads(text))
        assert again == threshold
        tested = draw(50, 10)
        assert torch.equal(again.p_values(tested), threshold.p_values(tested))


@pytest.mark.parametrize(
    "change",
    [
        {"method": "other"},
        {"scores": "abc"},
        {"false_alarm_rate": 2.0},
        {"parameters": None},
        {"method": "gamma"},
        {"method": "pareto"},
    ],
)
def test_a_damaged_file_is_refused(change: dict[str, Any]) -> None:
    state = fit_threshold(draw(99, 0)).to_dict()
    with pytest.raises(DataError, match="no saved threshold"):
        Threshold.from_dict(state | change)
    del state["value"]
    with pytest.raises(DataError, match="'value'"):
        Threshold.from_dict(state)


def test_what_is_no_score_is_refused() -> None:
    with pytest.raises(DataError, match="1 of 3 scores are NaN"):
        fit_threshold(torch.tensor([1.0, math.nan, 2.0]))
    with pytest.raises(DataError, match="1 of 2 calibration scores are infinite"):
        fit_threshold(torch.tensor([1.0, math.inf]))
    with pytest.raises(UsageError, match=r"\(2, 1\)"):
        fit_threshold(torch.ones(2, 1))
    for rate in (0.0, 1.0, -0.1, math.nan):
        with pytest.raises(UsageError, match="false_alarm_rate"):
            fit_threshold(draw(5, 0), false_alarm_rate=rate)
    with pytest.raises(UsageError, match="'conformal', 'gamma', 'pareto', got 'other'"):
        fit_threshold(draw(5, 0), method="other")  # type: ignore[arg-type]
    threshold = fit_threshold(draw(99, 0))
    for judge in (threshold.exceeded, threshold.p_values):
        with pytest.raises(DataError, match="NaN"):
            judge(torch.tensor([math.nan]))
        assert len(judge(torch.tensor([]))) == 0
        assert judge(torch.tensor([1.0], dtype=torch.float16)).shape == (1,)
