"""Small audio files of three kinds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE = 16000


def write(path: Path, wave: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave.astype(np.float32), RATE)


def tones(folder: Path, count: int = 8, seconds: float = 0.5) -> Path:
    """Three classes of noisy tones."""
    random = np.random.default_rng(0)
    for label, frequency in (("low", 250.0), ("middle", 900.0), ("high", 3000.0)):
        for number in range(count):
            time = np.arange(round(seconds * RATE)) / RATE
            wave = 0.3 * np.sin(2 * np.pi * frequency * random.uniform(0.9, 1.1) * time)
            write(
                folder / label / f"{number}.wav",
                wave + 0.05 * random.standard_normal(len(time)),
            )
    return folder
