"""Shared fixtures: one thread, the real data where it is, and small audio files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

# Makes golden values with a library that the tests do not need.
collect_ignore_glob = ["golden/*"]

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings; the test is skipped where it does not exist."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"real recordings are not here ({REAL_DATA}): this test needs them")
    return REAL_DATA


@pytest.fixture
def write_tone() -> Callable[..., Path]:
    """A function that writes a sine tone to a file and returns its path."""

    def write(
        path: Path,
        seconds: float = 1.0,
        sample_rate: int = 16000,
        frequency: float = 440.0,
        channels: int = 1,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        time = np.arange(round(seconds * sample_rate)) / sample_rate
        wave = 0.5 * np.sin(2 * np.pi * frequency * time).astype(np.float32)
        soundfile.write(path, np.repeat(wave[:, None], channels, axis=1), sample_rate)
        return path

    return write
