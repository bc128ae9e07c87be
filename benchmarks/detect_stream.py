"""What a live detector costs: compute for a window of 10 s, and memory over a day of audio.

    python benchmarks/detect_stream.py [--windows 30] [--threads 1 2] [--references 1000]
    python benchmarks/detect_stream.py --hours 24

The model is the default of `fit --task anomaly` with random weights, its references random unit
vectors; neither changes what it costs. Samples come as raw PCM at 48 kHz, and everything is
counted: decoding, resampling, the condition of the signal, embedding, scoring, nearest examples and
the alarm. `--hours` simulates so much audio as fast as it goes; there the model hears every
twentieth window, and the others get the verdict before them again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from tonotopy import AudioEmbedder
from tonotopy._components import Component
from tonotopy.audio import Waveform
from tonotopy.detection import (
    AlarmLogic,
    Detector,
    DetectorOptions,
    DriftMonitor,
    Judge,
    PcmReader,
    References,
    RowLog,
    StreamDetector,
    WindowScore,
)
from tonotopy.encoders import TwoBranchNet
from tonotopy.protocols.live_detection import judge_of

RATE = 48000
MODEL_RATE = 16000
SECONDS = 10.0
CHUNK = 1.0
"""Seconds of PCM that a simulated sensor sends at once."""


def make_detector(references: int) -> Detector:
    """Make a detector of one machine that costs what a trained one does."""
    torch.manual_seed(0)
    embedder = AudioEmbedder(Waveform(MODEL_RATE, SECONDS), TwoBranchNet()).eval()
    embeddings = torch.randn(references, embedder.embedding_dim)
    nothing: list[None] = [None] * references
    frame = pl.DataFrame(
        {
            "path": [f"{number}.wav" for number in range(references)],
            "start": pl.Series(nothing, dtype=pl.Float64),
            "content": [str(number) for number in range(references)],
            "machine": ["fan"] * references,
            "domain": pl.Series(nothing, dtype=pl.String),
            "attributes": pl.Series(nothing, dtype=pl.String),
            "embedding": pl.Series(embeddings.numpy(), dtype=pl.Array(pl.Float32, 256)),
        }
    )
    known = References.from_frame(frame, embedder)
    none = References.from_frame(frame.clear(), embedder)
    options = DetectorOptions(SECONDS, Component("NearestNeighbourScorer"))
    return Detector.fit(embedder, known, none, options, {})


def sensor(seconds: float) -> Callable[[float], bytes]:
    """Give what a `PcmReader` asks for bytes: noise, the same second again and again."""
    noise = np.random.default_rng(0).integers(-3000, 3000, round(CHUNK * RATE), dtype="<i2")
    left = [round(seconds / CHUNK)]

    def receive(timeout: float) -> bytes:
        left[0] -= 1
        return noise.tobytes() if left[0] >= 0 else b""

    return receive


def rows(
    judge: Judge, seconds: float, drift: DriftMonitor | None = None, state: Path | None = None
) -> Iterator[dict[str, object]]:
    """Judge simulated audio in windows that do not overlap."""
    reader = PcmReader(sensor(seconds), sample_rate=RATE, target_rate=MODEL_RATE)
    detector = StreamDetector(
        judge,
        sample_rate=MODEL_RATE,
        window_seconds=SECONDS,
        hop_seconds=SECONDS,
        alarms=AlarmLogic(smoothing_seconds=10.0, vote_seconds=5 * SECONDS),
        drift=drift,
        state=state,
    )
    return detector.run(reader)


def measure_compute(detector: Detector, windows: int, threads: list[int]) -> None:
    """Print the seconds that a window costs."""
    judge = judge_of(detector, detector.machine(), None, 3)
    print("| threads | wall seconds per 10 s window, median | largest | CPU seconds, mean |")
    print("| --- | --- | --- | --- |")
    for count in threads:
        torch.set_num_threads(count)
        taken, cpu = [], time.process_time()
        before = time.perf_counter()
        for _ in rows(judge, (windows + 1) * SECONDS):
            taken.append(time.perf_counter() - before)
            if len(taken) == 1:  # only warms up
                cpu = time.process_time()
            before = time.perf_counter()
        mean = (time.process_time() - cpu) / windows
        median = statistics.median(taken[1:])
        print(f"| {count} | {median:.3f} | {max(taken[1:]):.3f} | {mean:.3f} |")


def every_twentieth(judge: Judge) -> Judge:
    """Hear every twentieth window only."""
    last: list[WindowScore] = []
    count = [0]

    def listen(window: Tensor) -> WindowScore:
        if count[0] % 20 == 0:
            last[:] = [judge(window)]
        count[0] += 1
        return last[0]

    return listen


def resident_mb() -> float:
    """Give the memory of this process that is in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure_memory(detector: Detector, hours: int) -> None:
    """Print the resident memory, hour by hour."""
    machine = detector.machine()
    scores = torch.tensor(machine.threshold().scores, dtype=torch.float64)
    drift = DriftMonitor(
        scores, machine.threshold().value, references=machine.references.embeddings
    )
    judge = every_twentieth(judge_of(detector, machine, None, 3))
    hour, peak = 0, 0.0
    print("| hours of audio | resident MB, largest so far |")
    print("| --- | --- |")
    with (
        tempfile.TemporaryDirectory() as folder,
        RowLog(Path(folder) / "log.csv", ["start", "decision", "score"]) as log,
    ):
        for row in rows(judge, hours * 3600.0, drift, Path(folder) / "state.json"):
            log.write(row)
            peak = max(peak, resident_mb())
            start = row["start"]
            assert isinstance(start, float)
            if start + SECONDS >= 3600 * (hour + 1):
                hour += 1
                print(f"| {hour} | {peak:.1f} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--windows", type=int, default=30, help="Windows to time.")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="Of PyTorch.")
    parser.add_argument("--references", type=int, default=1000, help="Normal examples.")
    parser.add_argument("--hours", type=int, default=0, help="Measure memory over so much audio.")
    options = parser.parse_args()
    detector = make_detector(options.references)
    parameters = sum(parameter.numel() for parameter in detector.embedder.parameters())
    print(
        f"{type(detector.embedder.encoder).__name__}, {parameters / 1e6:.1f} M parameters, "
        f"{options.references} references, {os.cpu_count()} cores\n"
    )
    if options.hours:
        measure_memory(detector, options.hours)
    else:
        measure_compute(detector, options.windows, options.threads)


if __name__ == "__main__":
    main()
