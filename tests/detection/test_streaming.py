"""A stream becomes rows: windows, faults, gaps, alarms; restarts lose nothing but the samples."""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy.detection import (
    AlarmLogic,
    Block,
    DriftMonitor,
    FaultCounter,
    Gap,
    PcmReader,
    RowLog,
    StreamDetector,
    WindowScore,
)

RATE = 100
HOUR = 3600
THRESHOLD = 0.5


def judge(window: Tensor) -> WindowScore:
    """Loudness is anomaly."""
    loudness = float(window.abs().max())
    return WindowScore(loudness, 0.5, THRESHOLD, (("a.wav", 0.9),))


def noise(seconds: float, level: float = 0.1, seed: int = 0) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    return random.uniform(-level, level, round(seconds * RATE)).astype(np.float32)


def blocks(
    wave: NDArray[np.float32], start: float = 0.0, seconds: float = 1.0
) -> Iterator[Block | Gap]:
    counter, size = FaultCounter(RATE), round(seconds * RATE)
    for at in range(0, len(wave), size):
        part = wave[at : at + size]
        faults = counter.count(part[:, None])
        yield Block(start + at / RATE, len(part) / RATE, faults, part)


def detector(**options: Any) -> StreamDetector:
    given = {
        "sample_rate": RATE,
        "window_seconds": 10.0,
        "hop_seconds": 5.0,
        "alarms": AlarmLogic(m=2, n=3, m_off=0, vote_seconds=15.0),
        "now": lambda: 1_000_000.0,
        **options,
    }
    return StreamDetector(judge, **given)


def rows(stream: Iterable[Block | Gap], **options: Any) -> list[dict[str, Any]]:
    return list(detector(**options).run(stream))


def test_one_row_for_every_window() -> None:
    found = rows(blocks(noise(31)))
    assert [row["start"] for row in found] == [0, 5, 10, 15, 20]
    first = found[0]
    assert first == {
        "start": 0.0,
        "seconds": 10.0,
        "time": "1970-01-12T13:46:40.000+00:00",
        "condition": "usable",
        "decision": "normal",
        "score": pytest.approx(0.1, abs=1e-3),
        "p_value": 0.5,
        "threshold": THRESHOLD,
        "smoothed": first["score"],
        "alarm": False,
        "event": None,
        "nearest": [("a.wav", 0.9)],
    }


def test_an_anomaly_that_lasts_raises_an_alarm_and_calm_clears_it() -> None:
    wave = np.concatenate([noise(20), noise(20, 0.9), noise(40)])
    found = rows(blocks(wave))
    assert [row["start"] for row in found if row["decision"] == "anomaly"] == [15, 20, 25, 30, 35]
    assert [(row["start"], row["event"]) for row in found if row["event"]] == [
        (20, "raised"),
        (50, "cleared"),
    ]
    assert [row["start"] for row in found if row["alarm"]] == [20, 25, 30, 35, 40, 45]


def test_the_threshold_itself_is_normal() -> None:
    wave = noise(10)
    wave[5] = THRESHOLD
    assert rows(blocks(wave))[0]["decision"] == "normal"


@pytest.mark.parametrize(
    ("wave", "condition"),
    [
        (np.zeros(2 * HOUR, np.float32), "missing"),
        (noise(20, 1e-5), "silent"),
        (np.where(np.arange(2000) == 300, np.float32("nan"), noise(20)), "not finite"),
    ],
)
def test_what_cannot_be_judged_is_never_normal(wave: NDArray[np.float32], condition: str) -> None:
    found = rows(blocks(wave))
    assert found[0]["condition"] == condition
    for row in found:
        if row["condition"] == condition:
            assert row["decision"] == "unknown"
            assert (row["score"], row["p_value"], row["smoothed"]) == (None, None, None)
            assert row["nearest"] == []


def test_only_the_windows_that_hold_a_fault_suffer_from_it() -> None:
    wave = noise(40)
    wave[1700:1900] = 0  # 17 to 19 s
    found = rows(blocks(wave))
    bad = [row["start"] for row in found if row["condition"] == "missing"]
    assert bad == [10, 15]


def test_a_clipped_window_may_be_an_anomaly_but_never_normal() -> None:
    loud = noise(20, 3.0).clip(-1, 1)
    found = rows(blocks(loud))
    assert [(row["condition"], row["decision"]) for row in found] == [("clipped", "anomaly")] * 3
    assert found[1]["event"] == "raised"

    def deaf(window: Tensor) -> WindowScore:
        return WindowScore(0.1, 0.5, THRESHOLD)

    given = {"sample_rate": RATE, "window_seconds": 10.0, "hop_seconds": 5.0}
    calm = StreamDetector(deaf, alarms=AlarmLogic(), **given)  # type: ignore[arg-type]
    found = list(calm.run(blocks(loud)))
    assert [(row["decision"], row["score"], row["smoothed"]) for row in found] == [
        ("unknown", 0.1, None)
    ] * 3
    assert calm.counts == {"windows": 3, "anomalous": 0, "unusable": 3, "alarms": 0}
    assert calm.alarms.smoothed is None


def test_a_gap_is_a_row_of_its_own_and_no_window_spans_it() -> None:
    stream: list[Block | Gap] = [
        *blocks(noise(13)),
        Gap(13.0, 100.0),
        *blocks(noise(12), start=113.0),
    ]
    found = rows(stream)
    assert [(row["start"], row["condition"], row["decision"]) for row in found] == [
        (0, "usable", "normal"),
        (13, "missing", "unknown"),
        (113, "usable", "normal"),
    ]
    assert found[1]["seconds"] == 100


def test_a_stretch_shorter_than_a_window_is_too_short() -> None:
    stream: list[Block | Gap] = [*blocks(noise(3)), Gap(3.0, 5.0), *blocks(noise(4), start=8.0)]
    found = rows(stream)
    assert [(row["start"], row["seconds"], row["condition"]) for row in found] == [
        (0, 3, "too short"),
        (3, 5, "missing"),
        (8, 4, "too short"),
    ]


def test_an_alarm_outlasts_a_gap() -> None:
    stream: list[Block | Gap] = [
        *blocks(noise(20, 0.9)),
        Gap(20.0, 500.0),
        *blocks(noise(30), start=520.0),
    ]
    found = rows(stream)
    gap = next(row for row in found if row["condition"] == "missing")
    assert gap["alarm"]
    cleared = [row["start"] for row in found if row["event"] == "cleared"]
    assert cleared == [530]  # the third calm window, not the first


def test_a_stream_at_a_lower_rate_is_told() -> None:
    found = rows(blocks(noise(10)), low_rate=True)
    assert (found[0]["condition"], found[0]["decision"]) == ("low rate", "unknown")
    loud = rows(blocks(noise(10, 0.9)), low_rate=True)
    assert (loud[0]["condition"], loud[0]["decision"]) == ("low rate", "anomaly")


def test_drift_takes_only_accepted_usable_windows_that_do_not_overlap() -> None:
    drift = DriftMonitor(torch.linspace(0, 1, 50), THRESHOLD)
    wave = np.concatenate([noise(40), noise(20, 0.9), np.zeros(2000, np.float32)])
    rows(blocks(wave), drift=drift)
    assert (drift.accepted, drift.rejected) == (4, 2)


class Wall:
    """A wall clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 5000.0

    def __call__(self) -> float:
        return self.now


def test_a_restart_goes_on_with_clock_alarm_counts_and_drift(tmp_path: Path) -> None:
    def make(**options: Any) -> StreamDetector:
        return detector(
            state=tmp_path / "state.json",
            now=wall,
            drift=DriftMonitor(torch.linspace(0, 1, 50), THRESHOLD),
            **options,
        )

    wall = Wall()
    first = make()
    before = list(first.run(blocks(noise(20, 0.9))))
    assert before[-1]["alarm"]

    wall.now += 30
    second = make()
    assert second.position == 50.0
    assert second.counts == first.counts
    assert second.alarms.to_dict() == first.alarms.to_dict()
    assert second.drift is not None
    assert first.drift is not None
    assert second.drift.to_dict() == first.drift.to_dict()
    after = list(second.run(blocks(noise(25), start=50.0)))
    assert [(row["start"], row["seconds"], row["condition"]) for row in after] == [
        (20, 30, "missing"),
        (50, 10, "usable"),
        (55, 10, "usable"),
        (60, 10, "usable"),
        (65, 10, "usable"),
    ]
    assert [row["alarm"] for row in after] == [True, True, True, False, False]
    assert second.counts["windows"] == len(before) + len(after)


def test_a_restart_at_a_gap_gives_the_rows_of_one_run(tmp_path: Path) -> None:
    """What one process does over a gap is what two do, one before it and one after."""
    wave = [noise(35, 0.9, seed) for seed in (1, 2)]
    stream: list[Block | Gap] = [
        *blocks(wave[0]),
        Gap(35.0, 12.5),
        *blocks(wave[1], start=47.5),
    ]
    wall = Wall()
    whole = rows(stream, now=wall)

    state = tmp_path / "state.json"
    before = rows(blocks(wave[0]), state=state, now=wall)
    wall.now += 12.5
    after = rows(blocks(wave[1], start=47.5), state=state, now=wall)
    for row in [*whole, *before, *after]:
        del row["time"]
    assert before + after == whole


def test_the_state_is_saved_every_few_windows(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    running = detector(state=state, save_every=3).run(blocks(noise(100)))
    for number in range(1, 8):
        next(running)
        saved = json.loads(state.read_text())["counts"]["windows"] if state.exists() else 0
        assert saved == number // 3 * 3
    running.close()  # as when the process is stopped
    assert json.loads(state.read_text())["counts"]["windows"] == 7


def test_a_state_of_other_settings_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    rows(blocks(noise(20)), state=state, identity={"machine": "fan"})
    for options in (
        {"hop_seconds": 2.0},
        {"identity": {"machine": "pump"}},
        {"alarms": AlarmLogic(m=1, m_off=0)},
    ):
        with pytest.raises(UsageError, match="other settings"):
            detector(**{"state": state, "identity": {"machine": "fan"}, **options})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "identity": '])
def test_a_damaged_state_is_refused(tmp_path: Path, text: str) -> None:
    state = tmp_path / "state.json"
    state.write_text(text)
    with pytest.raises(DataError, match=r"state\.json"):
        detector(state=state)


def test_a_state_without_its_alarm_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    rows(blocks(noise(20)), state=state)
    damaged = json.loads(state.read_text())
    del damaged["alarms"]["votes"]
    state.write_text(json.dumps(damaged))
    with pytest.raises(DataError, match="damaged"):
        detector(state=state)


class Day:
    """A day of raw samples, made as they are read; every hour ends in three minutes of nothing."""

    def __init__(self, hours: int) -> None:
        self.time = 0.0
        self._chunks = [*[True] * 342, *[False] * 3] * hours
        self._random = np.random.default_rng(0)

    def receive(self, timeout: float) -> bytes | None:
        if not self._chunks:
            return b""
        if not self._chunks.pop():
            self.time += timeout
            return None
        return self._random.integers(-3000, 3000, 10 * RATE, dtype="<i2").tobytes()

    def clock(self) -> float:
        return self.time


def test_memory_does_not_grow_over_a_day(tmp_path: Path) -> None:
    """All of it: reader, resampler, ring, alarm, drift, log and state."""
    day = Day(24)
    reader = PcmReader(
        day.receive,
        sample_rate=RATE,
        target_rate=RATE // 2,
        block_seconds=10.0,
        gap_seconds=60.0,
        clock=day.clock,
    )
    running = detector(
        sample_rate=RATE // 2,
        hop_seconds=20.0,
        drift=DriftMonitor(torch.linspace(0, 1, 50), THRESHOLD, sample=100),
        state=tmp_path / "state.json",
        save_every=100,
    )
    objects, sizes = [], []
    tracemalloc.start()
    with RowLog(tmp_path / "log.csv", ["start", "decision", "condition"]) as log:
        for row in running.run(reader):
            log.write(row)
            # After two hours all is full that fills: the sample of scores, and caches of NumPy.
            if row["start"] > 2 * HOUR and running.counts["windows"] % 250 == 0:
                gc.collect()
                objects.append(sys.getallocatedblocks())
                sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert running.position == pytest.approx(24 * HOUR)
    assert running.counts["windows"] > 4000
    assert running.counts["unusable"] == 3 * 24
    assert len(sizes) >= 14
    # Numbers kept for every window would be thousands, the samples of a day 17 MB. (Traced bytes
    # creep by themselves: the tracer misses that some strings of the interpreter are freed.)
    assert max(objects) - min(objects) < 1000
    assert max(sizes) - min(sizes) < 200_000
