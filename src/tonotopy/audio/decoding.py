"""Audio files to mono waveforms at one sample rate."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from tonotopy._errors import AudioError

BLOCK_SAMPLES = 2**20
"""Decoded at once, over all channels: what a long file needs beyond the result."""

LONGEST = 2**62
"""Above this, libsndfile means that the header does not say how many samples there are."""


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says.

    Args:
        frames: Samples of each channel.
        sample_rate: In hertz.
        channels: Number of channels.
    """

    frames: int
    sample_rate: int
    channels: int

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.frames / self.sample_rate


def probe(path: Path | str) -> AudioInfo:
    """Read a file's header.

    Raises:
        AudioError: The file is missing or unreadable, empty, corrupt or of zero length.
    """
    with _open(Path(path)) as file:
        info = AudioInfo(file.frames, file.samplerate, file.channels)
    if info.frames == 0:
        raise AudioError(path, "zero-length", "the header promises no samples")
    return info


def decode(
    path: Path | str,
    sample_rate: int = 16000,
    *,
    start: float = 0.0,
    seconds: float | None = None,
) -> NDArray[np.float32]:
    """Decode a file or a stretch of it, mix its channels to one, and resample it.

    Args:
        path: WAV, FLAC, OGG, MP3 or anything else that libsndfile reads.
        sample_rate: Of the result, in hertz.
        start: Where the stretch begins, in seconds, 0 or more. What lies before is not read.
        seconds: Its length; a file that ends earlier gives less. Default: to the end.

    Returns:
        (T,) float32; at least one sample.

    Raises:
        AudioError: With the reason `"unreadable"`, `"empty"`, `"corrupt"`, `"zero-length"` or
            `"NaN"`.
    """
    path = Path(path)
    with _open(path) as file:
        wanted = None if seconds is None else max(1, round(seconds * file.samplerate))
        _seek(path, file, round(start * file.samplerate))
        blocks = _mono_blocks(path, file, wanted)
        if file.samplerate != sample_rate:
            blocks = _resample(blocks, file.samplerate, sample_rate)
        wave = np.concatenate([np.empty(0, np.float32), *blocks])
    if not len(wave):
        raise AudioError(path, "zero-length", f"too few samples for one at {sample_rate} Hz")
    return wave


def count_samples(path: Path | str) -> int:
    """Decode a whole file and count the samples of a channel, in memory for one block of them.

    Raises:
        AudioError: As `decode`.
    """
    path = Path(path)
    with _open(path) as file:
        count = sum(map(len, _mono_blocks(path, file, None)))
    if not count:
        raise AudioError(path, "zero-length", "no sample decodes")
    return count


def content_hash(path: Path | str) -> str:
    """Give the BLAKE2b-128 of a file's bytes as 32 hexadecimal digits.

    Raises:
        AudioError: The file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise AudioError(path, "unreadable", error.strerror or str(error)) from error


def _open(path: Path) -> soundfile.SoundFile:
    try:
        if path.stat().st_size == 0:
            raise AudioError(path, "empty", "0 bytes")
        with path.open("rb"):  # libsndfile reports a folder or a forbidden file as a bad format
            file = soundfile.SoundFile(path)
    except OSError as error:
        raise AudioError(path, "unreadable", error.strerror or str(error)) from error
    except soundfile.LibsndfileError as error:
        raise AudioError(path, "corrupt", error.error_string) from error
    except TypeError as error:  # soundfile asks for the sample rate of a file named *.raw
        raise AudioError(path, "corrupt", "raw samples have no header") from error
    if file.frames > LONGEST:
        file.close()
        raise AudioError(path, "corrupt", "the header gives no length: encode the file again")
    return file


def _seek(path: Path, file: soundfile.SoundFile, frame: int) -> None:
    if frame == 0:
        return
    if frame >= file.frames:
        there = file.frames / file.samplerate
        raise AudioError(path, "zero-length", f"it ends at {there:g} s, before the stretch begins")
    try:
        file.seek(frame)
    except soundfile.LibsndfileError as error:
        raise AudioError(path, "corrupt", error.error_string) from error


def _mono_blocks(
    path: Path, file: soundfile.SoundFile, wanted: int | None
) -> Iterator[NDArray[np.float32]]:
    """Read blocks up to the end, or up to `wanted` samples of each channel."""
    frames = max(1, BLOCK_SAMPLES // file.channels)
    mean = np.full(file.channels, 1 / file.channels, np.float32)
    try:
        block = np.empty((frames, 0), np.float32)
        while len(block) == frames and wanted != 0:  # a shorter block is the last
            if wanted is not None:
                frames = min(frames, wanted)
                wanted -= frames
            block = file.read(frames, dtype="float32", always_2d=True)
            with np.errstate(invalid="ignore"):
                mono = block @ mean  # a hundred times as fast as `block.mean(axis=1)`
            if not np.isfinite(mono).all():
                raise AudioError(path, "NaN", "the samples hold NaN or infinity")
            yield mono
    except soundfile.LibsndfileError as error:
        raise AudioError(path, "corrupt", error.error_string) from error


def _resample(
    blocks: Iterator[NDArray[np.float32]], source_rate: int, sample_rate: int
) -> Iterator[NDArray[np.float32]]:
    resampler = soxr.ResampleStream(source_rate, sample_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(np.empty(0, np.float32), last=True)
