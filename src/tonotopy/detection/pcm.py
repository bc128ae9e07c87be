"""Raw PCM from a binary stream: blocks of samples at the model's rate, and gaps."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
import soxr
from numpy.typing import NDArray

from tonotopy._errors import DataError, UsageError
from tonotopy.detection.conditions import FaultCounter, Faults

PcmFormat = Literal["s16le", "s24le", "s32le", "f32le"]
"""Little-endian samples: signed integers of 2, 3 or 4 bytes, or floats of full scale 1."""

SAMPLE_BYTES: dict[PcmFormat, int] = {"s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4}

READ_BYTES = 65536
QUEUED_READS = 64
"""What may wait between sensor and detector: 4 MiB; a sender that is faster than that waits."""

END = b""

Receive = Callable[[float], bytes | None]
"""Wait at most so many seconds: bytes, `END` at the end of the stream, None if nothing came."""


class BinaryStream(Protocol):
    """Anything with `read`."""

    def read(self, size: int, /) -> bytes | None:
        """Give what there is, at most `size` bytes, and wait only for the first."""


@dataclass(frozen=True)
class Block:
    """A stretch of a stream.

    Args:
        start: In seconds of the stream.
        seconds: Its length.
        faults: Of the stretch, counted before mixing and resampling.
        samples: (T,) float32 mono at the model's rate, next in line. A resampler looks ahead, so
            they lag a little behind the stretch.
    """

    start: float
    seconds: float
    faults: Faults
    samples: NDArray[np.float32]


@dataclass(frozen=True)
class Gap:
    """Time in which the sensor delivered nothing.

    Args:
        start: In seconds of the stream.
        seconds: How long; a long gap comes in pieces, while it lasts.
    """

    start: float
    seconds: float


class ByteQueue:
    """Read a stream in a thread of its own, so that waiting for it can be given up.

    Args:
        stream: A binary stream without a buffer, such as `open(0, "rb", buffering=0)`; one with a
            buffer would wait until it is full.
    """

    def __init__(self, stream: BinaryStream) -> None:
        self._queue: queue.Queue[bytes | OSError] = queue.Queue(QUEUED_READS)
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def __call__(self, timeout: float) -> bytes | None:
        """Receive; see `Receive`.

        Raises:
            DataError: The stream failed.
        """
        try:
            data = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        if isinstance(data, OSError):
            raise DataError(f"the audio stream failed: {data.strerror or data}") from data
        if data == END:
            self._queue.put(END)  # whoever asks again hears it again
        return data

    def _read(self, stream: BinaryStream) -> None:
        try:
            while data := stream.read(READ_BYTES):
                self._queue.put(data)
            self._queue.put(END)
        except OSError as error:
            self._queue.put(error)


class PcmReader:
    """Turn bytes into blocks of mono samples at the model's rate, and silence into gaps.

    Iterate over it once. Bytes may come in chunks of any size: what is left of a sample waits for
    the rest. Where nothing comes for `gap_seconds`, a `Gap` says so, again and again until there
    are samples; its pieces add up to the time waited. NaN and infinity are counted among the
    faults and replaced by silence.

    Args:
        receive: Gives the bytes, e.g. a `ByteQueue`.
        sample_rate: Of the stream, in hertz; raw PCM does not say it.
        target_rate: Of the blocks, in hertz.
        pcm_format: Of a sample.
        channels: Interleaved; mixed to one.
        gap_seconds: Waiting this long is a gap.
        start: Seconds of the stream at its first sample.
        block_seconds: Length of a block; the last before a gap or the end may be shorter.
        clock: Seconds, of any origin.

    Raises:
        UsageError: An argument is out of range.
    """

    def __init__(
        self,
        receive: Receive,
        *,
        sample_rate: int,
        target_rate: int,
        pcm_format: PcmFormat = "s16le",
        channels: int = 1,
        gap_seconds: float = 5.0,
        start: float = 0.0,
        block_seconds: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if pcm_format not in get_args(PcmFormat):
            known = ", ".join(get_args(PcmFormat))
            raise UsageError(f"no sample format {pcm_format!r}; there are: {known}")
        if sample_rate < 1 or channels < 1:
            raise UsageError(
                f"a stream needs a rate and channels, got {sample_rate} Hz and {channels}"
            )
        if gap_seconds <= 0 or block_seconds <= 0:
            raise UsageError(
                f"gaps and blocks need a length, got {gap_seconds:g} and {block_seconds:g} seconds"
            )
        self._receive = receive
        self._rates = sample_rate, target_rate
        self._format = pcm_format
        self._channels = channels
        self._gap_seconds = gap_seconds
        self._block = max(1, round(block_seconds * sample_rate))
        self._clock = clock
        self._counter = FaultCounter(sample_rate)
        self._bytes = bytearray()
        self._restart(start)

    def _restart(self, start: float) -> None:
        self._start = start
        self._frames = 0
        source, target = self._rates
        self._resampler = (
            None
            if source == target
            else soxr.ResampleStream(source, target, 1, dtype="float32", quality="HQ")
        )

    @property
    def position(self) -> float:
        """Seconds of the stream up to which everything has been given out."""
        return self._start + self._frames / self._rates[0]

    def __iter__(self) -> Iterator[Block | Gap]:
        waiting_since, in_gap = self._clock(), False
        while True:
            data = self._receive(self._gap_seconds)
            now = self._clock()
            if (data is None or in_gap) and now > waiting_since:
                yield from self._rest()
                yield self._gap(now - waiting_since)
            in_gap = data is None
            if data == END:
                yield from self._rest()
                return
            if data is not None:
                self._bytes += data
                yield from self._blocks()
            # A gap goes on from the moment of its last piece; otherwise work is not waiting.
            waiting_since = now if in_gap else self._clock()

    def _gap(self, seconds: float) -> Gap:
        gap = Gap(self.position, seconds)
        self._restart(gap.start + seconds)
        return gap

    def _blocks(self) -> Iterator[Block]:
        size = self._block * self._channels * SAMPLE_BYTES[self._format]
        whole = len(self._bytes) // size * size
        data = bytes(self._bytes[:whole])
        del self._bytes[:whole]
        for at in range(0, whole, size):
            yield self._make(data[at : at + size], last=False)

    def _rest(self) -> Iterator[Block]:
        """Give what is left before a gap or the end; bytes of half a sample wait on."""
        frame = self._channels * SAMPLE_BYTES[self._format]
        whole = len(self._bytes) // frame * frame
        if whole or self._frames:
            yield self._make(bytes(self._bytes[:whole]), last=True)
            del self._bytes[:whole]
            self._restart(self.position)

    def _make(self, data: bytes, *, last: bool) -> Block:
        samples = decode_pcm(data, self._format, self._channels)
        faults = self._counter.count(samples)
        if faults.not_finite:
            samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
        mono = samples @ np.full(self._channels, 1 / self._channels, np.float32)
        if self._resampler is not None:
            mono = self._resampler.resample_chunk(mono, last=last)
        start = self.position
        self._frames += len(samples)
        return Block(start, len(samples) / self._rates[0], faults, mono)


def decode_pcm(data: bytes, pcm_format: PcmFormat, channels: int = 1) -> NDArray[np.float32]:
    """Decode raw samples.

    Args:
        data: Whole frames (a sample of every channel), interleaved.
        pcm_format: Of a sample.
        channels: Number of channels.

    Returns:
        (T, channels) float32; full scale is 1.
    """
    if pcm_format == "f32le":
        return np.frombuffer(data, "<f4").reshape(-1, channels).astype(np.float32)
    if pcm_format == "s16le":
        samples = np.frombuffer(data, "<i2").astype(np.float32) / np.float32(2**15)
    elif pcm_format == "s32le":
        samples = np.frombuffer(data, "<i4").astype(np.float32) / np.float32(2**31)
    else:
        widened = np.zeros((len(data) // 3, 4), np.uint8)
        widened[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        samples = widened.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
    return samples.reshape(-1, channels)
