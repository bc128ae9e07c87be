"""A window of a file: the samples that the decoder gives, and faults that only it has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tonotopy._errors import AudioError
from tonotopy.audio import decode
from tonotopy.detection import file_windows, read_window

RATE = 8000


def noise(seconds: float, rate: int = RATE, channels: int = 1) -> NDArray[np.float64]:
    shape = (round(seconds * rate), channels)
    return 0.1 * np.random.default_rng(0).standard_normal(shape)


def write(path: Path, wave: NDArray[np.float64], rate: int = RATE) -> Path:
    soundfile.write(path, wave, rate, subtype="PCM_16")
    return path


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2)])
def test_samples_are_the_decoders(tmp_path: Path, rate: int, channels: int) -> None:
    path = write(tmp_path / "a.wav", noise(5, rate, channels), rate)
    for start, seconds in ((None, None), (None, 5.0), (0.0, 2.0), (1.25, 2.0), (3.5, 1.5)):
        found, condition = read_window(
            path, sample_rate=RATE, expected=2.0, start=start, seconds=seconds
        )
        length = None if start is None else seconds
        np.testing.assert_array_equal(found, decode(path, RATE, start=start or 0.0, seconds=length))
        assert condition == "usable"


def test_a_fault_is_of_the_window_that_it_lies_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wave = noise(6, 16000)
    wave[2 * 16000 : 3 * 16000] = (100 * wave[2 * 16000 : 3 * 16000]).clip(-1, 1)
    wave[4 * 16000 : 5 * 16000] = 0
    path = write(tmp_path / "a.wav", wave, 16000)
    monkeypatch.setattr(file_windows, "BLOCK_SAMPLES", 700)
    found = [
        read_window(path, sample_rate=RATE, expected=1.0, start=float(start), seconds=1.0)[1]
        for start in range(6)
    ]
    assert found == ["usable", "usable", "clipped", "usable", "missing", "usable"]
    whole = read_window(path, sample_rate=RATE, expected=6.0)[1]
    assert whole == "missing"  # a sixth of it


def test_a_clip_may_be_too_short_or_of_too_low_a_rate(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(1.9))
    assert read_window(path, sample_rate=RATE, expected=4.0)[1] == "too short"
    assert read_window(path, sample_rate=RATE, expected=3.0)[1] == "usable"
    assert read_window(path, sample_rate=2 * RATE, expected=3.0)[1] == "low rate"


def test_a_file_that_is_not_there_has_a_reason(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="unreadable"):
        read_window(tmp_path / "a.wav", sample_rate=RATE, expected=1.0)
