"""Drift is found where there is some, seldom where there is none, and named."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy.detection import DriftMonitor, DriftReport, population_stability_index
from tonotopy.detection.drift_report import FEWEST_WINDOWS, LEVEL
from tonotopy.detection.drift_statistics import (
    angle_by_chance,
    mean_angle,
    psi_by_chance,
    unit_rows,
)

DIM = 8


def scores(count: int, seed: int, shift: float = 0.0) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed)).double() + shift


def embeddings(count: int, seed: int, turn: float = 0.0) -> Tensor:
    """Directions around the first axis, or around one `turn` degrees from it."""
    axis = torch.zeros(DIM)
    axis[0], axis[1] = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    spread = torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed))
    return axis + 0.2 * spread


def confidences(count: int, seed: int, shift: float = 0.0) -> list[float]:
    return list(np.random.default_rng(seed).normal(0.8, 0.05, count) + shift)


def observe(
    windows: int = 300,
    *,
    shift: float = 0.0,
    turn: float = 0.0,
    less_sure: float = 0.0,
    seed: int = 1,
    threshold: float = math.inf,
) -> DriftReport:
    monitor = DriftMonitor(
        scores(200, 1000 + seed),
        threshold,
        references=embeddings(200, 2000 + seed),
        confidences=confidences(200, 3000 + seed),
    )
    new = scores(windows, seed, shift)
    vectors = embeddings(windows, seed, turn)
    sure = confidences(windows, seed, -less_sure)
    for score, vector, confidence in zip(new.tolist(), vectors, sure, strict=True):
        if score > threshold:
            monitor.reject()
        else:
            monitor.add(score, vector, confidence)
    return monitor.report()


def test_the_index_is_its_formula() -> None:
    expected, observed = np.array([10, 20, 30]), np.array([30, 0, 60])
    p = [(10.5) / 61.5, 20.5 / 61.5, 30.5 / 61.5]
    q = [(30.5) / 91.5, 0.5 / 91.5, 60.5 / 91.5]
    by_hand = sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))
    assert population_stability_index(expected, observed) == pytest.approx(by_hand)


def test_the_index_is_symmetric_and_zero_for_the_same() -> None:
    one, other = np.array([5, 7, 9]), np.array([8, 4, 9])
    assert population_stability_index(one, one) == 0
    assert population_stability_index(one, 3 * one) < 0.01
    assert population_stability_index(one, other) == pytest.approx(
        population_stability_index(other, one)
    )


def test_chance_alone_makes_the_index_that_is_promised() -> None:
    random = np.random.default_rng(0)
    share = np.full(10, 0.1)
    pairs = [(random.multinomial(200, share), random.multinomial(100, share)) for _ in range(4000)]
    found = [population_stability_index(*pair) for pair in pairs]
    limit = psi_by_chance(10, 200, 100, 0.05)
    assert np.mean(np.array(found) > limit) == pytest.approx(0.05, abs=0.02)


def test_angles_between_means() -> None:
    axis = np.eye(3)
    assert mean_angle(axis[0], 7 * axis[1]) == pytest.approx(90)
    assert mean_angle(axis[0], -axis[0]) == pytest.approx(180)
    assert mean_angle(axis[0], axis[0] + 1e-9 * axis[1]) == pytest.approx(math.degrees(1e-9))


def test_chance_alone_makes_the_angle_that_is_promised() -> None:
    def units(count: int, seed: int) -> NDArray[np.float64]:
        return unit_rows(embeddings(count, seed).double().numpy())

    exceeded = []
    for seed in range(120):
        references, new = units(150, seed), units(60, 10_000 + seed)
        angle = mean_angle(references.mean(axis=0), new.mean(axis=0))
        exceeded.append(angle > angle_by_chance(references, 60, 0.1, seed=seed))
    # 12 of 120 are expected, with a deviation of 3.3.
    assert 2 < sum(exceeded) < 25


def test_drift_is_seldom_found_where_there_is_none() -> None:
    verdicts = [observe(100, seed=seed).verdict for seed in range(100)]
    # Four tests at 1 % each, so about 4 of 100; with a deviation of 2.
    assert verdicts.count("stable") >= 90
    assert "strong drift" not in verdicts


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"shift": 0.6}, "scores"),
        ({"turn": 8.0}, "mean embedding has turned by"),
        ({"less_sure": 0.03}, r"changed by -0\.0"),
    ],
)
def test_each_kind_of_drift_is_found_and_named(change: dict[str, float], reason: str) -> None:
    report = observe(**change)  # type: ignore[arg-type]
    assert report.verdict in ("moderate drift", "strong drift")
    assert any(re.search(reason, text) for text in report.reasons)


@pytest.mark.parametrize("change", [{"shift": 2.0}, {"turn": 45.0}, {"less_sure": 0.3}])
def test_large_drift_is_strong(change: dict[str, float]) -> None:
    assert observe(**change).verdict == "strong drift"  # type: ignore[arg-type]


def test_the_turn_is_measured_in_degrees() -> None:
    report = observe(3000, turn=30.0)
    assert report.angle == pytest.approx(30, abs=1.5)
    assert report.confidence_change == pytest.approx(0, abs=0.01)


def test_few_windows_say_nothing() -> None:
    report = observe(FEWEST_WINDOWS - 1, shift=3.0)
    assert report.verdict == "too few windows"
    assert (report.psi, report.ks, report.angle, report.confidence_change) == (None,) * 4
    assert observe(0).rejected_share is None


def test_rejected_windows_are_no_drift_of_the_accepted_but_their_number_is() -> None:
    """The calibration scores above the threshold are left out, too."""
    calm = observe(600, threshold=1.0)
    assert calm.verdict == "stable"
    assert calm.rejected_share == pytest.approx(0.16, abs=0.04)
    wild = observe(600, threshold=1.0, shift=2.5)
    assert wild.verdict == "strong drift"
    assert any("rejected" in reason for reason in wild.reasons)


def test_the_score_may_be_all_there_is() -> None:
    monitor = DriftMonitor(scores(100, 0), math.inf)
    for score in scores(100, 1, shift=3.0).tolist():
        monitor.add(score, torch.ones(DIM), 0.5)
    report = monitor.report()
    assert (report.angle, report.confidence_change) == (None, None)
    assert report.ks_p_value is not None
    assert report.ks_p_value < LEVEL


def test_a_constant_confidence_is_no_change() -> None:
    monitor = DriftMonitor(scores(100, 0), math.inf, confidences=[1.0] * 20)
    for score in scores(100, 1).tolist():
        monitor.add(score, confidence=1.0)
    report = monitor.report()
    assert (report.confidence_change, report.confidence_p_value) == (0.0, 1.0)


def test_the_sample_is_drawn_from_all_windows_alike() -> None:
    """Each of 400 windows has the same chance to be among the 40 that are kept."""
    kept = np.zeros(400)
    for seed in range(300):
        monitor = DriftMonitor(scores(100, 0), math.inf, sample=40, seed=seed)
        for window in range(400):
            monitor.add(float(window))
        kept[np.array(monitor.to_dict()["sample"], int)] += 1
    by_age = kept.reshape(8, 50).mean(axis=1) / 300
    assert by_age == pytest.approx(0.1, abs=0.015)


def test_a_restart_anywhere_changes_nothing() -> None:
    def make() -> DriftMonitor:
        return DriftMonitor(
            scores(50, 0),
            1.0,
            references=embeddings(50, 0),
            confidences=confidences(50, 0),
            sample=20,
        )

    def take(monitor: DriftMonitor, start: int, end: int) -> None:
        for window in range(start, end):
            if window % 7 == 0:
                monitor.reject()
            monitor.add(window / 100, embeddings(1, window)[0], 0.01 * window)

    whole, first = make(), make()
    take(whole, 0, 80)
    take(first, 0, 33)
    second = make()
    second.restore(json.loads(json.dumps(first.to_dict())))
    take(second, 33, 80)
    assert second.to_dict() == whole.to_dict()
    assert second.report() == whole.report()


def test_a_state_that_does_not_fit_is_refused() -> None:
    state = DriftMonitor(scores(50, 0), 1.0, references=embeddings(50, 0)).to_dict()
    for monitor in (
        DriftMonitor(scores(50, 0), 1.0, references=embeddings(50, 0)[:, :3]),
        DriftMonitor(scores(50, 0), 1.0, references=embeddings(50, 0), bins=5),
    ):
        with pytest.raises(DataError, match="does not fit"):
            monitor.restore(state)
    del state["sample"]
    with pytest.raises(DataError, match="does not fit"):
        DriftMonitor(scores(50, 0), 1.0).restore(state)


def test_a_calibration_needs_scores() -> None:
    with pytest.raises(UsageError, match="at least 10 calibration scores"):
        DriftMonitor(torch.linspace(0, 1, 50), 0.1)
