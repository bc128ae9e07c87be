"""Windows of a stream are those of the whole signal, however it is cut into pieces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tonotopy._errors import UsageError
from tonotopy.detection import RingBuffer

Windows = list[tuple[int, NDArray[np.float32]]]


def push_all(ring: RingBuffer, signal: NDArray[np.float32], cuts: list[int]) -> Windows:
    return [found for part in np.split(signal, sorted(cuts)) for found in ring.push(part)]


def oracle(signal: NDArray[np.float32], window: int, hop: int) -> Windows:
    starts = range(0, max(0, len(signal) - window + 1), hop)
    return [(start, signal[start : start + window]) for start in starts]


@given(
    length=st.integers(0, 120),
    window=st.integers(1, 20),
    hop=st.integers(1, 45),
    cuts=st.lists(st.integers(0, 120), max_size=12),
)
def test_any_chunking_gives_the_windows_of_the_whole(
    length: int, window: int, hop: int, cuts: list[int]
) -> None:
    signal = np.arange(length, dtype=np.float32) + 1
    found = push_all(RingBuffer(window, hop), signal, cuts)
    wanted = oracle(signal, window, hop)
    assert [start for start, _ in found] == [start for start, _ in wanted]
    for (_, got), (_, expected) in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_a_window_stays_as_it_was_when_more_samples_come() -> None:
    ring = RingBuffer(4, 4)
    ((_, first),) = ring.push(np.ones(4, np.float32))
    list(ring.push(np.zeros(4, np.float32)))
    assert first.tolist() == [1, 1, 1, 1]


def test_nothing_from_before_a_clear_enters_a_window() -> None:
    ring = RingBuffer(4, 1)
    list(ring.push(np.full(7, 9, np.float32)))
    ring.clear()
    assert list(ring.push(np.zeros(3, np.float32))) == []
    ((start, window),) = ring.push(np.zeros(1, np.float32))
    assert start == 0
    assert not window.any()


@pytest.mark.parametrize(("window", "hop"), [(0, 1), (1, 0), (-3, 1)])
def test_windows_need_samples(window: int, hop: int) -> None:
    with pytest.raises(UsageError, match="at least one sample"):
        RingBuffer(window, hop)
