"""A run over a tree that is stopped at any moment goes on to the same weights, bit for bit."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from tonotopy._components import Component
from tonotopy.training import FitConfig, OptimiserOptions, SplitOptions, fit, resume
from tonotopy.training.callbacks import RunCheckpoints
from tonotopy.training.checkpoint_io import read_state_dict
from tonotopy.training.presets import read_losses

LABELS = (("tone", "low"), ("tone", "high"), ("tone",), ("noise", "soft"), ("noise", "loud"))

PLATEAU = OptimiserOptions(
    epochs=4, algorithm="adam", learning_rate=0.02, schedule="plateau", plateau_epochs=0
)
SETTINGS: dict[str, dict[str, Any]] = {
    "published": {
        **read_losses("hybrid-pl+b+t"),
        "batches": Component("TreeTripletSampler", {"triplets_per_batch": 2}),
        "optimiser": PLATEAU,
        "monitor": "val/loss",
        "keep": "last",
        "patience": 3,
    },
    "default": {
        "batches": Component("TreeBatchSampler", {"branching": [2, 2], "clips_per_leaf": 2}),
        "optimiser": OptimiserOptions(epochs=3, learning_rate=0.02, warmup_epochs=1),
    },
}


class StoppedError(Exception):
    """Stands for anything that ends a process."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noisy tones, some of them labelled coarsely."""
    folder = tmp_path_factory.mktemp("sounds") / "data"
    random = np.random.default_rng(0)
    for at, label in enumerate(LABELS):
        place = folder.joinpath(*label)
        place.mkdir(parents=True, exist_ok=True)
        for number in range(6):
            wave = 0.3 * np.sin(np.arange(1600) * 0.05 * (1 + at))
            wave += 0.05 * (1 + at) * random.standard_normal(len(wave))
            soundfile.write(place / f"{number}.wav", wave, 16000)
    return folder


def stop_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Save after every batch, and stop after one of them."""
    saved = RunCheckpoints.on_train_batch_end

    def on_train_batch_end(self: RunCheckpoints, trainer: Any, *arguments: Any) -> None:
        saved(self, trainer, *arguments)
        if trainer.global_step == step:
            raise StoppedError

    monkeypatch.setattr(RunCheckpoints, "on_train_batch_end", on_train_batch_end)


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "logs" / "metrics.csv").open() as file:
        found = list(csv.DictReader(file))
    for row in found:
        del row["seconds"]
    return found


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_stopped_run_ends_with_the_same_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    config = FitConfig(
        data=data,
        run=tmp_path / "whole",
        task="tree",
        front_end=Component("LogMel", {"n_mels": 16, "hop_length": 640}),
        encoder=Component("ConvNet", {"width": 2, "embedding_dim": 4, "dropout": 0.5}),
        augmentations=[Component("TimeShift"), Component("AddNoise")],
        split=SplitOptions(test_fraction=0.0, val_fraction=0.34),
        checkpoint_minutes=0.0,
        accelerator="cpu",
        threads=1,
        cache=tmp_path / "cache",
    )
    config = replace(config, **SETTINGS[setting])
    whole, run = fit(config), tmp_path / "stopped"
    steps = int(rows(whole)[0]["step"])
    assert steps > 2
    # In the middle of the second epoch and, at the second attempt, of the third.
    for attempt, step in enumerate((steps + 2, 2 * steps + 1)):
        with monkeypatch.context() as patch:
            stop_after(step, patch)
            with pytest.raises(StoppedError):
                resume(run) if attempt else fit(replace(config, run=run))
    assert not (run / "model.safetensors").exists()
    resume(run)
    assert rows(run) == rows(whole)
    for name, read in (("model", load_file), ("checkpoints/last", read_state_dict)):
        found, expected = (read(folder / f"{name}.safetensors") for folder in (run, whole))
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert torch.equal(found[key], value), key
