"""A run that is killed at any moment goes on to the same weights, bit for bit."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tonotopy.training.checkpoint_io import read_state_dict

SCRIPT = """
import os, signal, sys
from pathlib import Path
import torch
from tonotopy._components import Component
from tonotopy.training import FitConfig, OptimiserOptions, SplitOptions, fit, resume
from tonotopy.training.callbacks import RunCheckpoints

data, run, signal_name, step, minutes = sys.argv[1:]
after_batch = RunCheckpoints.on_train_batch_end
# A shell starts background jobs with Ctrl-C ignored, and children inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)

def on_train_batch_end(self, trainer, *arguments):
    after_batch(self, trainer, *arguments)
    if trainer.global_step == int(step):
        os.kill(os.getpid(), getattr(signal, signal_name))

RunCheckpoints.on_train_batch_end = on_train_batch_end
if (Path(run) / "config.yaml").exists():
    resume(Path(run))
else:
    fit(FitConfig(
        data=Path(data), run=Path(run),
        front_end=Component("LogMel", {"n_mels": 32}),
        encoder=Component("ConvNet", {"width": 4, "embedding_dim": 8, "dropout": 0.5}),
        losses={"ce": Component("CrossEntropyLoss"),
                "add": Component("AngularDistanceDistributionLoss")},
        augmentations=[Component("TimeShift"), Component("AddNoise"), Component("SpecAugment")],
        mixup_alpha=0.0, clip_seconds=0.3,
        batches=Component("PKBatchSampler", {"classes_per_batch": 3, "clips_per_class": 3}),
        split=SplitOptions(test_fraction=0.0, val_fraction=0.25),
        optimiser=OptimiserOptions(epochs=3, learning_rate=0.01),
        checkpoint_minutes=float(minutes), threads=1, accelerator="cpu",
        cache=Path(data).parent / "cache",
    ))
"""

NEVER = "-1"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of noisy tones."""
    import numpy as np
    import soundfile

    folder = tmp_path_factory.mktemp("tones") / "data"
    random = np.random.default_rng(0)
    for label, frequency in (("low", 200.0), ("middle", 800.0), ("high", 3000.0)):
        (folder / label).mkdir(parents=True)
        for number in range(16):
            time = np.arange(8000) / 16000
            wave = 0.3 * np.sin(2 * np.pi * frequency * random.uniform(0.8, 1.25) * time)
            wave += 0.1 * random.standard_normal(len(time))
            soundfile.write(folder / label / f"{number}.wav", wave, 16000)
    return folder


@pytest.fixture(scope="module")
def run_script(data: Path) -> Callable[..., int]:
    """A function that trains in a process of its own and gives the exit status."""

    def run(folder: Path, *, by: str = "SIGKILL", step: str = NEVER, minutes: str = "0") -> int:
        command = [sys.executable, "-c", SCRIPT, str(data), str(folder), by, step, minutes]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, env=environment, check=False).returncode

    return run


@pytest.fixture(scope="module")
def uninterrupted(run_script: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from start to end."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert run_script(folder) == 0
    return folder


def _rows(run: Path) -> list[dict[str, str]]:
    with (run / "logs" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"]
    return rows


def _assert_same(run: Path, other: Path) -> None:
    # The model is that of the best epoch; the last state shows what the later epochs did, too.
    for file, read in (("model", load_file), ("checkpoints/last", read_state_dict)):
        weights, expected = (read(folder / f"{file}.safetensors") for folder in (run, other))
        assert weights.keys() == expected.keys()
        for name, value in expected.items():
            assert torch.equal(weights[name], value), name
    assert _rows(run) == _rows(other)


@pytest.mark.parametrize(
    ("steps", "minutes"),
    [
        (("5",), "0"),  # in the middle of the second epoch, saved after every batch
        (("6", "10"), "0"),  # twice
        (("6",), "1000"),  # in the middle of the second epoch, saved after epochs only
        (("2",), "1000"),  # before anything was saved
    ],
)
def test_killed_runs_end_with_the_same_weights(
    run_script: Callable[..., int],
    uninterrupted: Path,
    tmp_path: Path,
    steps: tuple[str, ...],
    minutes: str,
) -> None:
    run = tmp_path / "run"
    for step in steps:
        assert run_script(run, step=step, minutes=minutes) == -signal.SIGKILL
    assert not (run / "model.safetensors").exists()
    assert run_script(run, minutes=minutes) == 0
    _assert_same(run, uninterrupted)


def test_ctrl_c_stops_and_the_run_goes_on(
    run_script: Callable[..., int], uninterrupted: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert run_script(run, by="SIGINT", step="5") == 1
    assert run_script(run) == 0
    _assert_same(run, uninterrupted)


def test_a_finished_run_can_be_resumed_and_stays_the_same(
    run_script: Callable[..., int], uninterrupted: Path
) -> None:
    before = (uninterrupted / "model.safetensors").read_bytes()
    assert run_script(uninterrupted) == 0
    assert (uninterrupted / "model.safetensors").read_bytes() == before
