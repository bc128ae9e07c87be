"""Make `logmel.npz`: mel filters and log-mel spectrograms as librosa computes them.

pip install librosa==0.11.0
python tests/golden/make_logmel.py
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any, Literal

import librosa
import numpy as np

SAMPLE_RATE = 16000
N_FFT = 512
HOP = 160
N_MELS = 20
SCALES = ("slaney", "htk")
NORMS: tuple[Literal["slaney"] | None, ...] = ("slaney", None)


def main() -> None:
    """Write the values beside this file."""
    rng = np.random.default_rng(0)
    time = np.arange(2400) / SAMPLE_RATE
    chirp = 0.4 * np.sin(2 * np.pi * (200 * time + 20000 * time**2))
    wave = (chirp + 0.02 * rng.standard_normal(2400)).astype(np.float32)
    wave[1500:] *= np.float32(1e-4)  # near the floors of both logarithms
    arrays: dict[str, Any] = {"wave": wave}
    for scale, norm, power in product(SCALES, NORMS, (1.0, 2.0)):
        mel = librosa.feature.melspectrogram(
            y=wave,
            sr=SAMPLE_RATE,
            n_fft=N_FFT,
            hop_length=HOP,
            n_mels=N_MELS,
            power=power,
            htk=scale == "htk",
            norm=norm,
        )
        to_db = librosa.power_to_db if power == 2.0 else librosa.amplitude_to_db
        floor = 1e-10 if power == 2.0 else 1e-5
        name = f"{scale}-{norm or 'none'}-{power:g}"
        arrays[f"{name}-db"] = to_db(mel, ref=1.0, amin=floor, top_db=None)
        arrays[f"{name}-db30"] = to_db(mel, ref=1.0, amin=floor, top_db=30.0)
        arrays[f"{name}-log"] = np.log(mel.astype(np.float64) + 1e-6).astype(np.float32)
    for scale, norm in product(SCALES, NORMS):
        arrays[f"filters-{scale}-{norm or 'none'}"] = librosa.filters.mel(
            sr=22050,
            n_fft=256,
            n_mels=12,
            fmin=50.0,
            fmax=9000.0,
            htk=scale == "htk",
            norm=norm,
        )
    short = wave[:7]
    arrays["windowed-db"] = librosa.power_to_db(
        librosa.feature.melspectrogram(
            y=wave, sr=SAMPLE_RATE, n_fft=N_FFT, win_length=401, hop_length=100, n_mels=N_MELS
        ),
        top_db=None,
    )
    arrays["short-db"] = librosa.power_to_db(
        librosa.feature.melspectrogram(
            y=short, sr=SAMPLE_RATE, n_fft=N_FFT, hop_length=HOP, n_mels=N_MELS
        ),
        top_db=None,
    )
    np.savez_compressed(Path(__file__).with_name("logmel.npz"), **arrays)


if __name__ == "__main__":
    main()
