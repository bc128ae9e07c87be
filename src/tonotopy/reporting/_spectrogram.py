"""A small picture of a sound: a mel-spaced spectrogram as a PNG, made with NumPy and zlib."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

WIDTH = 160
HEIGHT = 64
RANGE_DB = 70.0

# Nine stops from dark to light with evenly rising lightness, so that equal steps in decibels look
# equally large, also in grey and to colour-blind eyes.
_STOPS = np.array(
    [
        (4, 5, 20),
        (24, 20, 72),
        (62, 22, 115),
        (106, 32, 128),
        (153, 45, 125),
        (202, 62, 108),
        (238, 98, 86),
        (253, 158, 104),
        (252, 236, 178),
    ],
    dtype=np.float64,
)


def spectrogram_png(wave: NDArray[np.float32], sample_rate: int) -> str:
    """Draw `wave` as a data URI: time to the right, pitch (mel) upwards, bright is loud.

    Args:
        wave: Mono samples, (T,), any length.
        sample_rate: Hz.

    Returns:
        `"data:image/png;base64,..."`, `WIDTH` x `HEIGHT` pixels, 70 dB below the loudest point
        to black.
    """
    levels = _mel_decibels(wave, sample_rate)
    shades = np.clip((levels - levels.max()) / RANGE_DB + 1, 0, 1)
    pixels = np.round(255 * shades[::-1]).astype(np.uint8)
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode("ascii")


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode shades 0..255, (rows, columns), as a PNG with the colour map of this module."""
    rows, columns = pixels.shape
    stops = np.linspace(0, 255, len(_STOPS))
    palette = np.stack([np.interp(np.arange(256), stops, channel) for channel in _STOPS.T], axis=1)
    # Each row starts with its filter type; 0 = as it is.
    body = np.concatenate([np.zeros((rows, 1), np.uint8), pixels], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"PLTE", palette.round().astype(np.uint8).tobytes())
        + _chunk(b"IDAT", zlib.compress(body, 9))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def _mel_decibels(wave: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    window = 512
    padded = np.pad(wave.astype(np.float64), (0, max(0, window - len(wave))))
    starts = np.linspace(0, len(padded) - window, WIDTH).round().astype(int)
    frames = padded[starts[:, None] + np.arange(window)] * np.hanning(window)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    top = 2595 * np.log10(1 + sample_rate / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, HEIGHT) / 2595) - 1)
    bins = hertz * window / sample_rate
    rows = np.stack([np.interp(bins, np.arange(power.shape[1]), frame) for frame in power], axis=1)
    return np.asarray(10 * np.log10(np.maximum(rows, 1e-10)))
