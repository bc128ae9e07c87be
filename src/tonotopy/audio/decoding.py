"""Audio files to mono waveforms at one sample rate."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from tonotopy._errors import AudioError

BLOCK_SECONDS = 60
"""Decoded at once: a long file's channels never lie in memory all together."""


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


def decode(path: Path | str, sample_rate: int = 16000) -> NDArray[np.float32]:
    """Decode a whole file, mix its channels to one, and resample it.

    Args:
        path: WAV, FLAC, OGG, MP3 or anything else that libsndfile reads.
        sample_rate: Of the result, in hertz.

    Returns:
        (T,) float32; at least one sample.

    Raises:
        AudioError: With the reason `"unreadable"`, `"empty"`, `"corrupt"`, `"zero-length"` or
            `"NaN"`.
    """
    path = Path(path)
    with _open(path) as file:
        resampler = soxr.ResampleStream(file.samplerate, sample_rate, 1, dtype="float32")
        same_rate = file.samplerate == sample_rate
        blocks: list[NDArray[np.float32]] = []
        while len(block := _read(path, file)):
            mono = block.mean(axis=1)
            if not np.isfinite(mono).all():
                raise AudioError(path, "NaN", "the samples hold NaN or infinity")
            blocks.append(mono if same_rate else resampler.resample_chunk(mono))
        if not same_rate:
            blocks.append(resampler.resample_chunk(np.empty(0, np.float32), last=True))
    wave = np.concatenate(blocks) if blocks else np.empty(0, np.float32)
    if not len(wave):
        raise AudioError(path, "zero-length", "it decodes to no samples")
    return wave


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
        with path.open("rb"):
            return soundfile.SoundFile(path)
    except OSError as error:
        raise AudioError(path, "unreadable", error.strerror or str(error)) from error
    except soundfile.LibsndfileError as error:
        raise AudioError(path, "corrupt", error.error_string) from error


def _read(path: Path, file: soundfile.SoundFile) -> NDArray[np.float32]:
    try:
        frames = BLOCK_SECONDS * file.samplerate
        block: NDArray[np.float32] = file.read(frames, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AudioError(path, "corrupt", error.error_string) from error
    return block
