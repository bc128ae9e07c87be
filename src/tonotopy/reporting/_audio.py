"""Sound inside a page: short excerpts as OGG Vorbis within a budget of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tonotopy._errors import AudioError
from tonotopy._progress import track
from tonotopy.audio import decode
from tonotopy.reporting._spectrogram import spectrogram_png

SAMPLE_RATE = 16_000
SECONDS = 5
LEFT_OUT = "left out to keep the page small"


@dataclass(frozen=True)
class Excerpts:
    """What can be heard and seen of the clips, keyed by clip index.

    Attributes:
        audio: OGG Vorbis as base64, mono, 16 kHz, the first 5 s at most.
        spectrograms: PNG as a data URI.
        problems: Why a clip has no audio here.
    """

    audio: dict[int, str] = field(default_factory=dict)
    spectrograms: dict[int, str] = field(default_factory=dict)
    problems: dict[int, str] = field(default_factory=dict)


def gather_excerpts(
    stretches: Sequence[tuple[Path, float]],
    *,
    listed: Sequence[int],
    others: Sequence[int],
    max_bytes: int,
) -> Excerpts:
    """Encode the listed clips, then as many others as the budget holds.

    Args:
        stretches: Audio file of every clip, and where in it the clip begins, in seconds.
        listed: Indices of clips that get a spectrogram too; first in the queue.
        others: Indices of further clips, most wanted first.
        max_bytes: Budget for all encoded audio, as it stands in the page (base64).

    Returns:
        The excerpts. A file that is missing or damaged is a problem of its clip, never an error.
    """
    excerpts = Excerpts()
    spare = max_bytes
    drawn = set(listed)
    queue = list(dict.fromkeys([*listed, *others]))
    for clip in track(queue, label="Encoding clips"):
        if spare <= 0 and clip not in drawn:
            excerpts.problems[clip] = LEFT_OUT
            continue
        try:
            wave = _excerpt(*stretches[clip])
        except AudioError as error:
            excerpts.problems[clip] = error.reason
            continue
        if clip in drawn:
            excerpts.spectrograms[clip] = spectrogram_png(wave, SAMPLE_RATE)
        encoded = base64.b64encode(encode_vorbis(wave)).decode("ascii")
        if len(encoded) > spare:
            # One clip that does not fit closes the budget: the choice then depends on the order
            # alone, not on which of the later clips happen to be short.
            spare = 0
            excerpts.problems[clip] = LEFT_OUT
            continue
        spare -= len(encoded)
        excerpts.audio[clip] = encoded
    return excerpts


def encode_vorbis(wave: NDArray[np.float32], sample_rate: int = SAMPLE_RATE) -> bytes:
    """Encode mono samples, (T,), as OGG Vorbis; about 30 kbit/s at 16 kHz."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(
        buffer,
        np.clip(wave, -1, 1),
        sample_rate,
        format="OGG",
        subtype="VORBIS",
        compression_level=0.8,
    )
    return buffer.getvalue()


def _excerpt(path: Path, start: float) -> NDArray[np.float32]:
    if not path.is_file():
        raise AudioError(path, "file not found")
    return decode(path, SAMPLE_RATE, start=start, seconds=SECONDS)[: SECONDS * SAMPLE_RATE]
