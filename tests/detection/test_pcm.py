"""Bytes in, the samples of the file decoder out; what does not come is a gap."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tonotopy._errors import DataError, UsageError
from tonotopy.audio import decode
from tonotopy.detection import Block, ByteQueue, Gap, PcmReader, decode_pcm
from tonotopy.detection.pcm import END, PcmFormat, Receive


class Sender:
    """A sensor with a clock of its own: bytes, `END`, or seconds in which it says nothing."""

    def __init__(self, *script: bytes | float) -> None:
        self.time = 0.0
        self._script = self._play(script)

    def _play(self, script: tuple[bytes | float, ...]) -> Iterator[bytes | float]:
        yield from script
        while True:
            yield END

    def receive(self, timeout: float) -> bytes | None:
        item = getattr(self, "_waiting", None) or next(self._script)
        self._waiting = None
        if isinstance(item, bytes):
            return item
        self.time += min(item, timeout)
        if item >= timeout:
            self._waiting = item - timeout or None
            return None
        return self.receive(timeout)

    def clock(self) -> float:
        return self.time


def reader(sender: Sender, **options: object) -> PcmReader:
    given: dict[str, object] = {"sample_rate": 1000, "target_rate": 1000, **options}
    return PcmReader(sender.receive, clock=sender.clock, **given)  # type: ignore[arg-type]


def samples_of(parts: list[Block | Gap]) -> NDArray[np.float32]:
    return np.concatenate([part.samples for part in parts if isinstance(part, Block)])


def ramp(count: int, start: int = 0) -> bytes:
    return np.arange(start, start + count, dtype="<i2").tobytes()


SAMPLES = np.array([0.0, 0.5, -0.5, -1.0, 1 / 4, 2**-14], np.float32)


@pytest.mark.parametrize(
    ("pcm_format", "data"),
    [
        ("s16le", (SAMPLES * 2**15).astype("<i2").tobytes()),
        ("s32le", (SAMPLES.astype(np.float64) * 2**31).astype("<i4").tobytes()),
        ("f32le", SAMPLES.astype("<f4").tobytes()),
        (
            "s24le",
            b"".join(
                round(float(value) * 2**23).to_bytes(3, "little", signed=True) for value in SAMPLES
            ),
        ),
    ],
)
def test_every_format_means_the_same_samples(pcm_format: PcmFormat, data: bytes) -> None:
    np.testing.assert_array_equal(decode_pcm(data, pcm_format)[:, 0], SAMPLES)
    np.testing.assert_array_equal(decode_pcm(data, pcm_format, 2), SAMPLES.reshape(-1, 2))


@settings(deadline=None)
@given(cuts=st.lists(st.integers(0, 3000), max_size=20), channels=st.integers(1, 3))
def test_chunks_of_any_size_give_the_same_samples(cuts: list[int], channels: int) -> None:
    wave = np.random.default_rng(0).integers(-(2**15), 2**15, (500, channels)).astype("<i2")
    data = wave.tobytes()
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[a:b] for a, b in pairwise(places) if a < b]
    found = samples_of(list(reader(Sender(*chunks), channels=channels)))
    np.testing.assert_allclose(found, wave.mean(axis=1) / 2**15, atol=1e-7)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_a_stream_is_heard_as_a_file_is(tmp_path: Path, rate: int) -> None:
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (rate * 2, 2))
    soundfile.write(tmp_path / "a.wav", wave, rate, subtype="PCM_16")
    raw, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    chunks = [raw.tobytes()[at : at + 7001] for at in range(0, raw.nbytes, 7001)]
    heard = reader(Sender(*chunks), sample_rate=rate, target_rate=16000, channels=2)
    np.testing.assert_allclose(
        samples_of(list(heard)), decode(tmp_path / "a.wav", 16000), atol=1e-6
    )
    assert heard.position == pytest.approx(2.0)


def test_what_does_not_come_is_a_gap_and_time_goes_on() -> None:
    sender = Sender(ramp(1000), 17.0, ramp(500, 1000), 3.0, ramp(500, 1500))
    parts = list(reader(sender, gap_seconds=5.0))
    gaps = [part for part in parts if isinstance(part, Gap)]
    assert [gap.seconds for gap in gaps] == [5.0, 5.0, 5.0, 2.0]
    assert [gap.start for gap in gaps] == [1.0, 6.0, 11.0, 16.0]
    after = [part for part in parts if isinstance(part, Block) and part.start >= 18.0]
    assert len(samples_of(list(after))) == 1000  # three seconds of waiting are no gap
    np.testing.assert_allclose(samples_of(parts), np.arange(2000) / 2**15, atol=1e-7)


def test_a_sensor_that_never_speaks_is_missing_from_the_start() -> None:
    parts = list(reader(Sender(12.0), gap_seconds=5.0, start=100.0))
    assert [(part.start, part.seconds) for part in parts if isinstance(part, Gap)] == [
        (100.0, 5.0),
        (105.0, 5.0),
        (110.0, 2.0),
    ]


def test_a_gap_has_no_pieces_without_length() -> None:
    parts = list(reader(Sender(ramp(10), 10.0, ramp(10)), gap_seconds=5.0))
    assert [part.seconds for part in parts if isinstance(part, Gap)] == [5.0, 5.0]


def test_a_gap_within_a_sample_does_not_shift_the_bytes() -> None:
    data = ramp(10)
    parts = list(reader(Sender(data[:7], 6.0, data[7:])))
    np.testing.assert_allclose(samples_of(parts), np.arange(10) / 2**15, atol=1e-7)


def test_what_was_heard_before_a_gap_comes_before_it() -> None:
    parts = list(reader(Sender(ramp(30), 6.0, ramp(30)), block_seconds=0.02))
    at = next(number for number, part in enumerate(parts) if isinstance(part, Gap))
    assert len(samples_of(parts[:at])) == 30
    assert parts[at].start == pytest.approx(0.03)


def test_no_samples_are_lost_in_the_resampler_at_a_gap() -> None:
    tone = (2**14 * np.sin(np.arange(4800) * 0.05)).astype("<i2").tobytes()
    sender = Sender(tone, 6.0, tone)
    parts = list(reader(sender, sample_rate=48000, target_rate=16000))
    at = next(number for number, part in enumerate(parts) if isinstance(part, Gap))
    before, after = samples_of(parts[:at]), samples_of(parts[at:])
    assert len(before) == len(after) == 1600
    np.testing.assert_array_equal(before, after)


def test_nan_is_counted_and_does_not_spread() -> None:
    wave = np.full(2000, 0.1, "<f4")
    wave[::2] = -0.1
    wave[1000] = np.nan
    wave[1500] = np.inf
    parts = list(reader(Sender(wave.tobytes()), pcm_format="f32le", target_rate=500))
    blocks = [part for part in parts if isinstance(part, Block)]
    assert sum(block.faults.not_finite for block in blocks) == 2
    assert [block.start for block in blocks if block.faults.not_finite] == [1.0, 1.5]
    assert np.isfinite(samples_of(parts)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pcm_format": "u8"}, "no sample format 'u8'; there are: s16le"),
        ({"channels": 0}, "rate and channels"),
        ({"sample_rate": 0}, "rate and channels"),
        ({"gap_seconds": 0.0}, "need a length"),
    ],
)
def test_wrong_use_is_explained(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        reader(Sender(), **options)


def test_a_pipe_is_read_as_it_comes_and_can_be_waited_for() -> None:
    read_end, write_end = os.pipe()
    with open(read_end, "rb", buffering=0) as stream, open(write_end, "wb", buffering=0) as sender:  # noqa: PTH123
        receive: Receive = ByteQueue(stream)
        assert receive(0.01) is None
        sender.write(b"abc")
        assert receive(30.0) == b"abc"
        assert receive(0.01) is None
        sender.close()
        assert receive(30.0) == END
        assert receive(30.0) == END


def test_a_file_in_memory_is_a_stream_too() -> None:
    receive = ByteQueue(io.BytesIO(ramp(5)))
    assert receive(30.0) == ramp(5)
    assert receive(30.0) == END


def test_a_failing_stream_is_explained() -> None:
    class Broken:
        def read(self, size: int, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(DataError, match="audio stream failed: Input/output error"):
        ByteQueue(Broken())(30.0)
