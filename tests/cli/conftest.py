"""A plant with two machines, and a run that knows how they sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from tonotopy import AudioEmbedder
from tonotopy._components import Component
from tonotopy.audio import LogMel
from tonotopy.detection import Detector, DetectorOptions, References, ThresholdMethod
from tonotopy.encoders import ConvNet
from tonotopy.geometry import CosineHead
from tonotopy.labels import LabelTree

RATE = 8000
WINDOW = 1.0
TONES = {"fan/id_00": 400.0, "pump/id_02": 1500.0}
REFERENCES = 40
RATE_OF_ALARMS = 1e-5


def machine_sound(
    machine: str, seconds: float = WINDOW, *, seed: int = 0, rate: int = RATE
) -> NDArray[np.float32]:
    """A hum of a machine's own pitch in noise."""
    random = np.random.default_rng([seed, len(machine)])
    time = np.arange(round(seconds * rate)) / rate
    hum = 0.2 * np.sin(2 * np.pi * (TONES[machine] * time + random.uniform()))
    return (hum + 0.02 * random.standard_normal(len(time))).astype(np.float32)


def broken_sound(seconds: float = WINDOW, *, seed: int = 0) -> NDArray[np.float32]:
    """A screech, as neither machine sounds."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    screech = 0.2 * np.sin(2 * np.pi * (3100.0 * time + random.uniform()))
    return (screech + 0.02 * random.standard_normal(len(time))).astype(np.float32)


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a model and a detector of two machines."""
    run = tmp_path_factory.mktemp("plant") / "run"
    torch.manual_seed(0)
    tree = LabelTree.from_paths([("fan",), ("pump",)])
    embedder = AudioEmbedder(
        LogMel(RATE, n_fft=256, hop_length=128, n_mels=16, normalise="clip"),
        ConvNet(16, embedding_dim=8, width=2),
        head=CosineHead(8, 2),
        tree=tree,
    )
    sounds = [machine_sound(name, seed=number) for name in TONES for number in range(8)]
    for _ in range(20):  # statistics of batch normalisation are all that is learnt
        embedder(torch.from_numpy(np.stack([*sounds, broken_sound()])))
    embedder.save_pretrained(run)
    make_detector(run, list(TONES))
    return run


def make_detector(
    run: Path,
    machines: list[str],
    *,
    references: int = REFERENCES,
    threshold: ThresholdMethod = "gamma",
    rate: float = RATE_OF_ALARMS,
) -> None:
    """Make the detector of a run anew, from the normal sounds of machines."""
    embedder = AudioEmbedder.from_pretrained(run)
    rows = [(name, number) for name in machines for number in range(references)]
    embeddings = embedder.embed([machine_sound(name, seed=number) for name, number in rows])
    frame = pl.DataFrame(
        {
            "path": [f"{name}/normal_{number:02d}.wav" for name, number in rows],
            "start": pl.Series([None] * len(rows), dtype=pl.Float64),
            "content": [f"{name}{number}" for name, number in rows],
            "machine": [name for name, _ in rows],
            "domain": ["source"] * len(rows),
            "attributes": pl.Series([None] * len(rows), dtype=pl.String),
            "embedding": pl.Series(embeddings.numpy(), dtype=pl.Array(pl.Float32, 8)),
        }
    )
    known = References.from_frame(frame, embedder)
    none = References.from_frame(frame.clear(), embedder)
    scorer = Component("NearestNeighbourScorer")
    options = DetectorOptions(WINDOW, scorer, false_alarm_rate=rate, threshold=threshold)
    classes = {name: [name.split("/")[0]] for name in machines}
    Detector.fit(embedder, known, none, options, classes).save(run)


def write_wave(path: Path, wave: NDArray[np.float32], rate: int = RATE) -> Path:
    """Write a sound and give its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate, subtype="FLOAT")
    return path
