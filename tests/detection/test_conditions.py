"""What a window is fit for: every fault has a name, and machines sound like none of them."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tonotopy.detection import SCORED, Condition, FaultCounter, Faults, decide, window_condition
from tonotopy.detection.conditions import (
    CLIPPED_RUN,
    FULL_SCALE,
    HELD_SECONDS,
    SILENT_DBFS,
    level_dbfs,
)

RATE = 1000
SECOND = np.arange(RATE) / RATE


def condition(wave: NDArray[np.floating], *, low_rate: bool = False) -> Condition:
    samples = wave[:, None] if wave.ndim == 1 else wave
    faults = FaultCounter(RATE).count(samples)
    return window_condition(samples.mean(axis=1), faults, expected=RATE, low_rate=low_rate)


def noise(level: float = 0.1, seconds: float = 1.0) -> NDArray[np.float64]:
    return level * np.random.default_rng(0).standard_normal(round(seconds * RATE))


def as_16_bit(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(np.round(wave * 2**15), -(2**15), 2**15 - 1) / 2**15


def with_hole(value: float, seconds: float) -> NDArray[np.float64]:
    wave = noise()
    wave[100 : 100 + round(seconds * RATE)] = value
    return wave


@pytest.mark.parametrize(
    ("wave", "expected"),
    [
        (noise(), "usable"),
        (as_16_bit(0.5 * np.sin(2 * np.pi * 50 * SECOND)), "usable"),
        (noise() + 0.3, "usable"),  # a constant offset is no fault
        (as_16_bit(noise(10 ** (-60 / 20))), "usable"),  # a quiet room
        (np.zeros(RATE), "missing"),
        (np.full(RATE, 0.25), "missing"),  # a converter that holds one value
        (with_hole(0.0, 0.04), "usable"),
        (with_hole(0.0, 0.5), "missing"),
        (with_hole(0.2, 0.5), "missing"),
        (noise(10 ** (-90 / 20)), "silent"),
        (noise(10 ** (-90 / 20)) + 0.3, "silent"),  # an offset is no sound
        (as_16_bit(noise(2.0)), "clipped"),
        (noise(2.0).clip(-1, 1), "clipped"),
        (noise(seconds=0.4), "too short"),
        (noise(seconds=0.6), "usable"),
        (np.where(SECOND == 0.5, np.nan, noise()), "not finite"),
        (np.where(SECOND == 0.5, np.inf, noise()), "not finite"),
        (np.array([]), "too short"),
    ],
)
def test_each_fault_has_its_name(wave: NDArray[np.float64], expected: Condition) -> None:
    assert condition(wave) == expected


def test_a_lower_rate_is_told_only_where_nothing_is_worse() -> None:
    assert condition(noise(), low_rate=True) == "low rate"
    assert condition(as_16_bit(noise(2.0)), low_rate=True) == "clipped"


def test_only_what_is_usable_can_be_normal() -> None:
    for condition in get_args(Condition):
        assert decide(condition, True) == "anomaly"
        assert decide(condition, False) == ("normal" if condition == "usable" else "unknown")
        assert decide(condition, None) == "unknown"
    assert {"usable", "clipped", "low rate"} == SCORED


def test_one_clipped_channel_is_enough_and_one_dead_is_not_missing() -> None:
    loud, dead = as_16_bit(noise(2.0)), np.zeros(RATE)
    assert condition(np.stack([loud, noise()], axis=1)) == "clipped"
    assert condition(np.stack([noise(), dead], axis=1)) == "usable"
    assert condition(np.stack([dead, dead], axis=1)) == "missing"


def test_the_level_is_relative_to_full_scale() -> None:
    square = np.where(SECOND < 0.5, 1.0, -1.0)
    assert level_dbfs(square) == pytest.approx(0.0, abs=1e-12)
    assert level_dbfs(0.1 * square + 0.5) == pytest.approx(-20.0)
    assert level_dbfs(np.zeros(4)) == -np.inf
    just_above, just_below = (10 ** ((SILENT_DBFS + d) / 20) * square for d in (0.01, -0.01))
    # Alternating signs, for a held value would be worse than silence.
    signs = np.where(np.arange(RATE) % 2, 1, -1)
    assert condition(np.abs(just_above) * signs) == "usable"
    assert condition(np.abs(just_below) * signs) == "silent"


def count_by_loop(samples: NDArray[np.float32]) -> Faults:
    """Every sample's run, looked at one by one."""
    hold = round(HELD_SECONDS * RATE)
    frames, channels = samples.shape

    def run_length(frame: int, equal: list[bool]) -> int:
        length = 1
        while frame > 0 and equal[frame]:
            length, frame = length + 1, frame - 1
        return length

    clipped = [0] * channels
    for channel in range(channels):
        wave = samples[:, channel]
        equal = [False, *(bool(wave[i] == wave[i - 1]) for i in range(1, frames))]
        for frame in range(frames):
            long = run_length(frame, equal) >= CLIPPED_RUN
            clipped[channel] += long and abs(wave[frame]) >= FULL_SCALE
    equal = [False, *(bool((samples[i] == samples[i - 1]).all()) for i in range(1, frames))]
    held = sum(run_length(frame, equal) >= hold for frame in range(frames))
    broken = sum(not np.isfinite(row).all() for row in samples)
    return Faults(frames, max(clipped), held, broken)


@given(
    runs=st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.5, 0.999, 1.0, -1.0, np.nan, np.inf]), st.integers(1, 70)
        ),
        min_size=1,
        max_size=8,
    ),
    shift=st.integers(0, 30),
    cuts=st.lists(st.integers(0, 500), max_size=6),
)
def test_faults_are_counted_alike_in_blocks_of_any_size(
    runs: list[tuple[float, int]], shift: int, cuts: list[int]
) -> None:
    wave = np.repeat([value for value, _ in runs], [length for _, length in runs])
    samples = np.stack([wave, np.roll(wave, shift)], axis=1).astype(np.float32)
    counter = FaultCounter(RATE)
    parts = [counter.count(part) for part in np.split(samples, sorted(cuts))]
    total, expected = sum(parts, Faults()), count_by_loop(samples)
    assert (total.samples, total.held, total.not_finite) == (
        expected.samples,
        expected.held,
        expected.not_finite,
    )
    # Of several channels the worst is counted, block by block.
    assert total.clipped >= expected.clipped
    if not cuts:
        assert total.clipped == expected.clipped


def test_recorded_machines_are_usable(shared_data: Path) -> None:
    files = sorted((shared_data / "mimii" / "audio").rglob("*.wav"))[:20]
    files = files or sorted((shared_data / "mimii" / "audio").rglob("*.flac"))[:20]
    assert files
    for path in files:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        faults = FaultCounter(rate).count(samples)
        found = window_condition(samples.mean(axis=1), faults, expected=len(samples))
        assert found == "usable", path
