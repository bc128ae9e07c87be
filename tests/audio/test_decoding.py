"""Decoding: every format, one sample rate, and a reason for every file that cannot be used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from tonotopy._errors import AudioError, UsageError
from tonotopy.audio import (
    LengthPolicy,
    content_hash,
    count_samples,
    decode,
    decoding,
    fit_length,
    probe,
)

RATE = 16000


def noise(*shape: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)


def wav(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff", "a.unknown"])
def test_every_format_decodes_to_the_same_tone(
    tmp_path: Path, write_tone: Callable[..., Path], name: str
) -> None:
    plain = write_tone(tmp_path / "plain.wav")
    path = tmp_path / name
    if path.suffix == ".unknown":
        path.write_bytes(plain.read_bytes())
    else:
        soundfile.write(path, *soundfile.read(plain))
    wave, expected = decode(path), decode(plain)
    assert wave.dtype == np.float32
    assert abs(len(wave) - RATE) <= 2304  # lossy coders may add a frame at either end
    spectra = [np.abs(np.fft.rfft(w[2000:12000])) for w in (wave, expected)]
    assert spectra[0].argmax() == spectra[1].argmax()
    assert spectra[0].max() == pytest.approx(spectra[1].max(), rel=0.02)


def test_a_wave_comes_back_bit_for_bit(tmp_path: Path) -> None:
    samples = noise(1000)
    np.testing.assert_array_equal(decode(wav(tmp_path / "a.wav", samples)), samples)


@pytest.mark.parametrize("channels", [2, 5])
def test_channels_are_averaged(tmp_path: Path, channels: int) -> None:
    samples = noise(1000, channels)
    path = wav(tmp_path / "a.wav", samples)
    np.testing.assert_allclose(decode(path), samples.mean(axis=1), atol=1e-7)
    assert probe(path).channels == channels


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_resampling_equals_soxr_in_one_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int
) -> None:
    samples = noise(3 * rate + 17)
    path = wav(tmp_path / "a.wav", samples, rate)
    monkeypatch.setattr(decoding, "BLOCK_SAMPLES", 1000)
    np.testing.assert_allclose(decode(path), soxr.resample(samples, rate, RATE), atol=1e-6)


def test_block_length_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = wav(tmp_path / "a.wav", noise(10007, 2))
    whole = decode(path)
    monkeypatch.setattr(decoding, "BLOCK_SAMPLES", 1)
    np.testing.assert_array_equal(decode(path), whole)


@pytest.mark.parametrize("seconds", [0.01, 1 / RATE])
def test_very_short_clips_decode(tmp_path: Path, seconds: float) -> None:
    frames = round(seconds * RATE)
    assert len(decode(wav(tmp_path / "a.wav", noise(frames)))) == frames


@pytest.mark.parametrize("frames", [1, 999, 1000, 1001, 10007])
def test_samples_are_counted_block_by_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: int
) -> None:
    path = wav(tmp_path / "a.wav", noise(frames, 2), 44100)
    monkeypatch.setattr(decoding, "BLOCK_SAMPLES", 2000)
    assert count_samples(path) == frames == len(decode(path, 44100))


def test_the_header_is_read(tmp_path: Path) -> None:
    info = probe(wav(tmp_path / "a.wav", noise(4410, 2), 44100))
    assert (info.frames, info.sample_rate, info.channels) == (4410, 44100, 2)
    assert info.seconds == pytest.approx(0.1)


def broken(path: Path, reason: str) -> Path:
    """Write a file that cannot be used for `reason`."""
    if reason == "empty":
        path.write_bytes(b"")
    elif reason == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(5000))
    elif reason == "zero-length":
        wav(path, noise(0))
    elif reason == "folder":
        path.mkdir()
    elif reason == "NaN":
        wav(path, np.array([0.0, np.nan, 0.1], np.float32))
    elif reason == "infinity":
        wav(path, np.array([[0.0, 0.0], [np.inf, -np.inf]], np.float32))
    elif reason == "raw":
        path = path.with_suffix(".raw")
        path.write_bytes(bytes(100))
    return path


@pytest.mark.parametrize(
    ("defect", "reason"),
    [
        ("empty", "empty"),
        ("noise", "corrupt"),
        ("raw", "corrupt"),
        ("zero-length", "zero-length"),
        ("folder", "unreadable"),
        ("missing", "unreadable"),
        ("NaN", "NaN"),
        ("infinity", "NaN"),
    ],
)
def test_a_bad_file_has_a_reason(tmp_path: Path, defect: str, reason: str) -> None:
    path = broken(tmp_path / "bad.wav", defect)
    with pytest.raises(AudioError, match="bad") as caught:
        decode(path)
    assert caught.value.reason == reason
    with pytest.raises(AudioError) as caught:
        count_samples(path)
    assert caught.value.reason == reason
    if reason != "NaN":  # a header does not show it
        with pytest.raises(AudioError) as caught:
            probe(path)
        assert caught.value.reason == reason


def test_too_short_for_the_target_rate_is_zero_length(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="16000 Hz") as caught:
        decode(wav(tmp_path / "a.wav", noise(1), 192000))
    assert caught.value.reason == "zero-length"


def test_a_stream_without_length_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(50000), RATE)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # the 36 bits of STREAMINFO that count the samples
    content[22:26] = bytes(4)
    path.write_bytes(content)
    for read in (probe, decode):
        with pytest.raises(AudioError, match="no length") as caught:
            read(path)
        assert caught.value.reason == "corrupt"


@pytest.mark.parametrize(
    ("suffix", "reason"),
    [
        ("wav", None),
        ("mp3", None),
        ("flac", "corrupt"),
        ("ogg", "zero-length"),  # half of it ends before the first page of audio does
    ],
)
def test_a_truncated_file_gives_its_beginning_or_a_reason(
    tmp_path: Path, suffix: str, reason: str | None
) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise(32000), RATE)
    whole = decode(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    if reason is not None:
        with pytest.raises(AudioError) as caught:
            decode(path)
        assert caught.value.reason == reason
        return
    wave = decode(path)
    assert 0.3 * len(whole) < len(wave) < 0.7 * len(whole)
    np.testing.assert_allclose(wave[:10000], whole[:10000], atol=1e-6)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_unreadable(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", noise(10))
    path.chmod(0)
    for read in (decode, content_hash):
        with pytest.raises(AudioError) as caught:
            read(path)
        assert caught.value.reason == "unreadable"


def test_the_hash_is_of_the_content(tmp_path: Path) -> None:
    first = wav(tmp_path / "a.wav", noise(10))
    copy = tmp_path / "b.bin"
    copy.write_bytes(first.read_bytes())
    other = wav(tmp_path / "c.wav", noise(11))
    assert content_hash(first) == content_hash(copy) != content_hash(other)
    assert len(content_hash(first)) == 32
    with pytest.raises(AudioError, match="unreadable"):
        content_hash(tmp_path / "missing")


@pytest.mark.parametrize(
    ("length", "frames", "policy", "offset", "expected"),
    [
        (5, 3, "crop", 0.0, [0, 1, 2]),
        (5, 3, "crop", 1.0, [2, 3, 4]),
        (5, 3, "pad", 0.5, [1, 2, 3]),
        (5, 5, "crop", 1.0, [0, 1, 2, 3, 4]),
        (2, 5, "pad", 0.7, [0, 1, 0, 0, 0]),
        (2, 5, "tile", 0.0, [0, 1, 0, 1, 0]),
        (1, 1, "tile", 0.0, [0]),
    ],
)
def test_lengths_are_fitted(
    length: int, frames: int, policy: LengthPolicy, offset: float, expected: list[int]
) -> None:
    wave = np.arange(length, dtype=np.float32)
    fitted = fit_length(wave, frames, policy, offset)
    assert fitted.tolist() == expected
    assert fitted.dtype == np.float32


@pytest.mark.parametrize(
    ("frames", "offset", "message"),
    [(6, 0.0, "cannot crop 6"), (0, 0.0, "at least one"), (3, 1.5, "offset"), (3, -0.1, "offset")],
)
def test_impossible_lengths_are_refused(frames: int, offset: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fit_length(noise(5), frames, "crop", offset)
