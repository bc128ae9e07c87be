"""Sounds that a random encoder can tell apart, and such an encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
import torch

from tonotopy import AudioEmbedder
from tonotopy.audio import LogMel
from tonotopy.clips import ClipTable, load_clips
from tonotopy.encoders import ConvNet

RATE = 8000
PITCHES = {"low": 300.0, "middle": 900.0, "high": 2600.0}


def random_embedder(seed: int = 0) -> AudioEmbedder:
    """A small model with random weights, whose batch normalisation has seen some noise."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        front_end = LogMel(RATE, n_fft=256, hop_length=128, n_mels=16)
        embedder = AudioEmbedder(front_end, ConvNet(16, embedding_dim=8, width=2))
        embedder.train()
        for _ in range(20):
            embedder(torch.randn(16, RATE // 2) * torch.rand(16, 1))
        return embedder.eval()


def write_sounds(
    folder: Path, clips: int = 12, *, seconds: float = 1.25, noise: float = 0.05
) -> Path:
    """Clips of three pitches in noise, in one folder a pitch; every fourth is short."""
    random = np.random.default_rng(0)
    for label, pitch in PITCHES.items():
        (folder / label).mkdir(parents=True)
        for number in range(clips):
            length = seconds if number % 4 else seconds / 3
            time = np.arange(round(length * RATE)) / RATE
            wave = 0.2 * np.sin(2 * np.pi * pitch * random.uniform(0.8, 1.25) * time)
            wave += noise * random.standard_normal(len(time))
            soundfile.write(folder / label / f"{number:02d}.wav", wave.astype(np.float32), RATE)
    return folder


def split_sounds(folder: Path) -> ClipTable:
    """The clips with a column `split`: of every six three train, one validates, two test."""
    clips = load_clips(folder)
    names = ["train", "train", "val", "test", "train", "test"]
    numbers = [int(path.stem) for path in clips.paths]
    return clips.with_columns(pl.Series("split", [names[number % 6] for number in numbers]))


@pytest.fixture(scope="session")
def make_embedder() -> Callable[..., AudioEmbedder]:
    """A function that makes a model with random weights from a seed."""
    return random_embedder


@pytest.fixture(scope="session")
def make_sounds() -> Callable[..., ClipTable]:
    """A function that writes clips to a folder and gives their table with a column `split`."""

    def make(folder: Path, clips: int = 12) -> ClipTable:
        return split_sounds(write_sounds(folder, clips))

    return make


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> ClipTable:
    """36 clips of the classes high, low and middle: 18 train, 6 validate, 12 test."""
    return split_sounds(write_sounds(tmp_path_factory.mktemp("probe") / "sounds"))
