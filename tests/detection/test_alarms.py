"""The alarm's rules one by one, and that a restart changes nothing."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tonotopy._errors import DataError, UsageError
from tonotopy.detection import AlarmLogic

Step = tuple[float, float | None]


def events(
    alarms: AlarmLogic, steps: list[Step], threshold: float = 1.0
) -> list[tuple[str, float]]:
    found = [alarms.update(time, score, threshold) for time, score in steps]
    return [(event.kind, event.time) for event in found if event]


def every_second(*scores: float | None) -> list[Step]:
    return [(float(time), score) for time, score in enumerate(scores)]


def test_m_of_n_votes_raise_it_and_n_minus_m_off_against_clear_it() -> None:
    scores = every_second(2, 0, 0, 2, 0, 0, 0, 0)
    for m_off, cleared in [(1, 4), (0, 7)]:
        alarms = AlarmLogic(m=2, n=4, m_off=m_off)
        assert events(alarms, scores) == [("raised", 3), ("cleared", cleared)]
        assert not alarms.active


def test_a_single_loud_window_is_no_alarm() -> None:
    assert events(AlarmLogic(m=2, n=4), every_second(0, 0, 99, 0, 0, 0, 0, 99, 0)) == []


def test_the_threshold_itself_is_normal() -> None:
    assert events(AlarmLogic(m=1, n=1, m_off=0), every_second(1.0, 1.0)) == []


def test_hysteresis_keeps_a_wavering_alarm_on() -> None:
    wavering = every_second(2, 2, 2, 0, 0, 2, 0, 0, 2, 0, 0, 2)
    assert events(AlarmLogic(m=3, n=3, m_off=0), wavering) == [("raised", 2)]
    eager = events(AlarmLogic(m=3, n=3, m_off=2), wavering)
    assert eager == [("raised", 2), ("cleared", 3)]


def test_cool_down_delays_the_next_alarm_but_does_not_forget_it() -> None:
    scores = every_second(2, 0, 2, 2, 2, 2, 2)
    logic = {"m": 1, "n": 1, "m_off": 0}
    assert events(AlarmLogic(**logic), scores)[2] == ("raised", 2)
    cool = AlarmLogic(**logic, cool_down_seconds=4.0)
    assert events(cool, scores) == [("raised", 0), ("cleared", 1), ("raised", 5)]


def test_missing_windows_neither_raise_nor_clear() -> None:
    alarms = AlarmLogic(m=2, n=2, m_off=0)
    assert events(alarms, every_second(2, 2, None, None, None, None)) == [("raised", 1)]
    assert alarms.active
    assert events(AlarmLogic(m=2, n=2), every_second(None, None, None)) == []


def test_after_a_gap_one_calm_window_does_not_clear() -> None:
    alarms = AlarmLogic(m=2, n=3, m_off=0, vote_seconds=3.0)
    steps: list[Step] = [(0, 2), (1, 2), (100, None), (101, 0), (102, 0), (103, 0)]
    assert events(alarms, steps) == [("raised", 1), ("cleared", 103)]


def test_votes_from_before_a_gap_expire() -> None:
    far_apart: list[Step] = [(0, 2), (50, None), (100, 2)]
    assert events(AlarmLogic(m=2, n=2, vote_seconds=10), far_apart) == []
    assert events(AlarmLogic(m=2, n=2), far_apart) == [("raised", 100)]
    adjoining: list[Step] = [(0, 2), (9, 2)]
    assert events(AlarmLogic(m=2, n=2, vote_seconds=10), adjoining) == [("raised", 9)]


def test_smoothing_is_the_moving_average_by_time() -> None:
    alarms = AlarmLogic(m=1, n=1, m_off=0, smoothing_seconds=5.0)
    expected = None
    last = 0.0
    for time, score in [(0.0, 1.0), (1.0, 4.0), (1.5, -2.0), (40.0, 3.0)]:
        weight = 1 - math.exp(-(time - last) / 5.0)
        expected = score if expected is None else (1 - weight) * expected + weight * score
        last = time
        alarms.update(time, score, threshold=99.0)
        assert alarms.smoothed == pytest.approx(expected)


def test_smoothing_does_not_depend_on_how_often_a_constant_is_heard() -> None:
    """The same signal at half the hop ends at the same average."""
    fine, coarse = (AlarmLogic(smoothing_seconds=3.0) for _ in range(2))
    for alarms, hop in ((fine, 0.5), (coarse, 1.0)):
        alarms.update(0.0, 0.0, 9.0)
        for step in range(1, round(10 / hop) + 1):
            alarms.update(step * hop, 1.0, 9.0)
    assert fine.smoothed == pytest.approx(coarse.smoothed)
    assert fine.smoothed == pytest.approx(1 - math.exp(-10 / 3))


def test_a_gap_does_not_enter_the_average() -> None:
    alarms = AlarmLogic(smoothing_seconds=5.0)
    alarms.update(0.0, 1.0, 9.0)
    alarms.update(3.0, None, 9.0)
    assert alarms.smoothed == 1.0


SCORES = st.one_of(st.none(), st.floats(-3, 3))
LOGIC = st.builds(
    lambda n, share, off, smooth, life, cool: {
        "n": n,
        "m": max(1, round(share * n)),
        "m_off": min(off, max(1, round(share * n)) - 1),
        "smoothing_seconds": smooth,
        "vote_seconds": life,
        "cool_down_seconds": cool,
    },
    st.integers(1, 6),
    st.floats(0, 1),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.7, 4.0]),
    st.sampled_from([1.0, 5.0, math.inf]),
    st.sampled_from([0.0, 3.0]),
)


@given(
    logic=LOGIC,
    steps=st.lists(st.tuples(st.floats(0, 3), SCORES), max_size=40),
    cut=st.integers(0, 40),
)
def test_a_restart_anywhere_changes_nothing(
    logic: dict[str, Any], steps: list[Step], cut: int
) -> None:
    time, timed = 0.0, []
    for wait, score in steps:
        time += wait
        timed.append((time, score))
    whole = AlarmLogic(**logic)
    expected = events(whole, timed)

    first = AlarmLogic(**logic)
    before = events(first, timed[:cut])
    second = AlarmLogic.from_dict(json.loads(json.dumps(first.to_dict(), allow_nan=False)))
    assert before + events(second, timed[cut:]) == expected
    assert second.to_dict() == whole.to_dict()


@given(
    logic=LOGIC,
    scores=st.lists(SCORES, max_size=60),
)
def test_alarms_take_turns_with_calm(logic: dict[str, Any], scores: list[float | None]) -> None:
    found = events(AlarmLogic(**logic), every_second(*scores))
    assert [kind for kind, _ in found] == ["raised", "cleared"] * (len(found) // 2) + ["raised"] * (
        len(found) % 2
    )
    ends = [time for kind, time in found if kind == "cleared"]
    starts = [time for kind, time in found if kind == "raised"]
    for end, start in zip(ends, starts[1:], strict=False):
        assert start - end >= logic["cool_down_seconds"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"m": 0}, "1 <= m <= n"),
        ({"m": 6, "n": 5}, "1 <= m <= n"),
        ({"m": 2, "m_off": 2}, "below m"),
        ({"m_off": -1}, "below m"),
        ({"smoothing_seconds": -1.0}, "must not be negative"),
        ({"vote_seconds": 0.0}, "votes must live"),
    ],
)
def test_wrong_settings_are_explained(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        AlarmLogic(**options)


def test_time_runs_forwards_and_scores_are_numbers() -> None:
    alarms = AlarmLogic()
    alarms.update(5.0, 0.0, 1.0)
    with pytest.raises(UsageError, match="order of time"):
        alarms.update(4.0, 0.0, 1.0)
    with pytest.raises(UsageError, match="finite"):
        alarms.update(6.0, math.nan, 1.0)


def test_a_damaged_state_is_refused() -> None:
    state = AlarmLogic().to_dict()
    del state["votes"]
    with pytest.raises(DataError, match="damaged"):
        AlarmLogic.from_dict(state)
