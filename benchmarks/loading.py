"""How fast audio comes in: decoding, resampling, the cache, and log-mel against librosa.

    pip install -e '.[bench]'
    python benchmarks/loading.py --audio FOLDER [--sample-rate 16000] [--clips 200] [--rounds 5]

Prints a Markdown table. Every round times all rows one after another in one process on the same
clips, so the ratios hold on a busy machine too; each figure is the median of the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tonotopy.audio import AudioCache, LogMel, content_hash, decode, probe

N_FFT, HOP, N_MELS = 512, 160, 64
SUFFIXES = {".wav", ".flac", ".ogg", ".mp3"}
BATCH = 64

Waves = list[NDArray[np.float32]]
Row = tuple[str, Callable[[], object]]


def loading_rows(paths: list[Path], rate: int, cache: AudioCache) -> list[Row]:
    """Make the rows that read files; all touch every sample of the result."""
    import librosa  # here, so that `--help` needs no extra

    own_rates = [(path, probe(path).sample_rate) for path in paths]
    hashed = [(path, content_hash(path)) for path in paths]
    return [
        (f"librosa.load at {rate} Hz", lambda: [librosa.load(p, sr=rate)[0].sum() for p in paths]),
        ("decode at the file's rate", lambda: [decode(p, own).sum() for p, own in own_rates]),
        (f"decode at {rate} Hz", lambda: [decode(p, rate).sum() for p in paths]),
        ("cache, by path", lambda: [cache.load(p).sum() for p in paths]),
        ("cache, hash known", lambda: [cache.load(p, c).sum() for p, c in hashed]),
    ]


def log_mel_rows(waves: Waves, rate: int) -> list[Row]:
    """Make the rows that compute features, one clip at a time and in batches."""
    import librosa

    front_end = LogMel(rate, N_FFT, hop_length=HOP, n_mels=N_MELS, log="db")
    clips = [torch.from_numpy(wave)[None] for wave in waves]
    batches = [
        (
            torch.nn.utils.rnn.pad_sequence([c[0] for c in clips[i : i + BATCH]], True),
            torch.tensor([c.shape[1] for c in clips[i : i + BATCH]]),
        )
        for i in range(0, len(clips), BATCH)
    ]

    def by_librosa() -> None:
        for wave in waves:
            mel = librosa.feature.melspectrogram(
                y=wave, sr=rate, n_fft=N_FFT, hop_length=HOP, n_mels=N_MELS
            )
            librosa.power_to_db(mel, top_db=None)

    return [
        ("librosa, log-mel", by_librosa),
        ("LogMel, clip by clip", lambda: [front_end(clip) for clip in clips]),
        (f"LogMel, batches of {BATCH}", lambda: [front_end(*batch) for batch in batches]),
    ]


def measure(rows: list[Row], rounds: int) -> list[float]:
    """Give the median seconds of each row; the first round only warms up."""
    seconds: list[list[float]] = [[] for _ in rows]
    for _ in range(rounds + 1):
        for (_, work), taken in zip(rows, seconds, strict=True):
            start = time.perf_counter()
            work()
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken[1:]) for taken in seconds]


def print_table(rows: list[Row], seconds: list[float], hours: float) -> None:
    """Print hours of audio per second, and the ratio to the first row."""
    print(f"\n| step | hours of audio per second | times {rows[0][0]} |")
    print("| --- | --- | --- |")
    for (name, _), taken in zip(rows, seconds, strict=True):
        print(f"| {name} | {hours / taken:.2f} | {seconds[0] / taken:.1f} |")


@torch.inference_mode()
def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--audio", type=Path, required=True, help="A folder of audio files.")
    parser.add_argument("--sample-rate", type=int, default=16000, help="Wanted, in hertz.")
    parser.add_argument("--clips", type=int, default=200, help="Files to use at most.")
    parser.add_argument("--rounds", type=int, default=5, help="Rounds to measure.")
    options = parser.parse_args()
    paths = sorted(p for p in options.audio.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not paths:
        parser.error(f"no audio files in {options.audio}")
    paths = paths[:: -(-len(paths) // options.clips)]

    with tempfile.TemporaryDirectory() as folder:
        rate = options.sample_rate
        cache = AudioCache(Path(folder), rate)
        waves = [np.array(cache.load(path)) for path in paths]
        hours = sum(map(len, waves)) / rate / 3600
        print(
            f"{len(paths)} clips, {3600 * hours:.0f} s, {os.cpu_count()} cores, "
            f"{torch.get_num_threads()} torch threads, medians of {options.rounds} rounds"
        )
        for rows in (loading_rows(paths, rate, cache), log_mel_rows(waves, rate)):
            print_table(rows, measure(rows, options.rounds), hours)


if __name__ == "__main__":
    main()
