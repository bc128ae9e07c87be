"""A run: it learns, stops early, says when it collapses, and averages over processes rightly."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tonotopy import AudioEmbedder
from tonotopy._components import Component
from tonotopy._errors import UsageError
from tonotopy.clips import ClipTable
from tonotopy.training import FitConfig, OptimiserOptions, SplitOptions, fit


@pytest.fixture
def base(tmp_path: Path, write_tone: Callable[..., Path]) -> FitConfig:
    """Two classes of tones, far apart."""
    for label, frequency in (("low", 300.0), ("high", 3000.0)):
        for number in range(10):
            path = tmp_path / "data" / label / f"{number}.wav"
            write_tone(path, seconds=0.2, frequency=frequency * (1 + 0.02 * number))
    return FitConfig(
        data=tmp_path / "data",
        run=tmp_path / "run",
        encoder=Component("ConvNet", {"width": 4, "embedding_dim": 8}),
        batches=Component("PKBatchSampler", {"classes_per_batch": 2, "clips_per_class": 4}),
        split=SplitOptions(test_fraction=0.2, val_fraction=0.25),
        optimiser=OptimiserOptions(epochs=8, learning_rate=0.01, warmup_epochs=1),
        accelerator="cpu",
        threads=1,
        cache=tmp_path / "cache",
    )


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "logs" / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_it_learns(base: FitConfig) -> None:
    optimiser = replace(base.optimiser, epochs=25)
    run = fit(replace(base, augmentations=[], monitor="val/loss", optimiser=optimiser))
    history = rows(run)
    assert [int(row["epoch"]) for row in history] == list(range(25))
    assert float(history[-1]["train/loss"]) < float(history[0]["train/loss"])
    embedder = AudioEmbedder.from_pretrained(run)
    clips = ClipTable.read(run / "clips.parquet")
    predicted = embedder.probabilities(embedder.embed(clips.paths)).argmax(1)
    labels = clips.tree.leaf_index(clips.labels)
    assert (predicted == labels).double().mean() > 0.9


def test_patience_stops_and_the_best_epoch_is_kept(base: FitConfig) -> None:
    # Without learning every epoch is as good as the first.
    optimiser = replace(base.optimiser, epochs=20, learning_rate=1e-12)
    run = fit(replace(base, patience=2, monitor="val/knn_accuracy", optimiser=optimiser))
    assert len(rows(run)) < 20


def test_any_duration_trains_together(base: FitConfig, write_tone: Callable[..., Path]) -> None:
    write_tone(base.data / "low" / "short.wav", seconds=0.01)
    write_tone(base.data / "high" / "long.wav", seconds=3.0, frequency=2900.0)
    for number, short in enumerate(("pad", "tile")):
        run = base.data.parent / f"run{number}"
        config = replace(base, run=run, clip_seconds=1.0, short_clips=short)  # type: ignore[arg-type]  # both allowed
        fit(replace(config, optimiser=replace(base.optimiser, epochs=1)))
        assert (run / "model.safetensors").is_file()


@pytest.mark.parametrize("mixup_alpha", [0.0, 0.3])
@pytest.mark.parametrize("form", ["moments", "gram"])
@pytest.mark.filterwarnings("ignore:AngularDistanceDistributionLoss takes the largest class")
def test_both_forms_of_add_train_with_and_without_mixup(
    base: FitConfig, mixup_alpha: float, form: str
) -> None:
    losses = {
        "ce": Component("CrossEntropyLoss"),
        "add": Component("AngularDistanceDistributionLoss", {"form": form}),
    }
    optimiser = replace(base.optimiser, epochs=2)
    run = fit(replace(base, losses=losses, mixup_alpha=mixup_alpha, optimiser=optimiser))
    assert all(float(row["train/add"]) > 0 for row in rows(run))


@pytest.mark.parametrize("loss", ["HierarchicalCrossEntropyLoss", "ArcFaceLoss", "SupConLoss"])
def test_losses_of_other_families_train(base: FitConfig, loss: str) -> None:
    losses = {"ce": Component("CrossEntropyLoss"), "other": Component(loss)}
    run = fit(replace(base, losses=losses, optimiser=replace(base.optimiser, epochs=2)))
    assert all(float(row["train/other"]) > 0 for row in rows(run))


def test_collapse_is_named(base: FitConfig, capsys: pytest.CaptureFixture[str]) -> None:
    # Every clip is pulled to the same place by a loss that separates nothing.
    add = {"form": "moments", "weights": [1.0, 0.0, 0.0, 0.0]}
    losses = {"add": Component("AngularDistanceDistributionLoss", add)}
    optimiser = replace(base.optimiser, epochs=10)
    fit(replace(base, losses=losses, monitor="val/knn_accuracy", optimiser=optimiser))
    assert "collapse" in capsys.readouterr().err


def test_a_run_without_classifier_is_judged_by_neighbours(base: FitConfig) -> None:
    losses = {"add": Component("AngularDistanceDistributionLoss")}
    with pytest.raises(UsageError, match="val/knn_accuracy"):
        fit(replace(base, losses=losses, monitor="val/accuracy"))
    run = fit(replace(base, losses=losses, optimiser=replace(base.optimiser, epochs=1)))
    assert "val/knn_accuracy" in rows(run)[0]


def test_two_processes_give_the_weights_of_one(base: FitConfig, tmp_path: Path) -> None:
    """One batch of each of two ranks against the two as one batch: the same first step."""
    script = """
import sys
from pathlib import Path
import torch
from torch import nn
import lightning
from tonotopy.losses import AngularDistanceDistributionLoss
from tonotopy.training import global_loss

class Task(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(6, 4)
        self.loss = AngularDistanceDistributionLoss()
    def training_step(self, batch, index):
        x, y = batch
        return global_loss(self.loss, self.layer(x), y)
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.5)

devices, out = int(sys.argv[1]), Path(sys.argv[2])
generator = torch.Generator().manual_seed(1)
x, y = torch.randn(16, 6, generator=generator), torch.arange(16) % 3
trainer = lightning.Trainer(
    accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto", max_epochs=1,
    logger=False, enable_checkpointing=False, enable_progress_bar=False,
    enable_model_summary=False, use_distributed_sampler=False,
)
part = slice(trainer.global_rank, None, devices)
task = Task()
data = torch.utils.data.DataLoader(list(zip(x[part], y[part])), batch_size=16 // devices)
trainer.fit(task, data)
if trainer.is_global_zero:
    torch.save(task.layer.weight.detach(), out)
if torch.distributed.is_initialized():
    torch.distributed.destroy_process_group()  # its threads must not outlive the interpreter
"""
    import os
    import subprocess
    import sys

    file = tmp_path / "script.py"
    file.write_text(script)
    weights = []
    for devices in (1, 2):
        out = tmp_path / f"{devices}.pt"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, str(file), str(devices), str(out)]
        subprocess.run(command, check=True, env=environment, timeout=300)
        weights.append(torch.load(out, weights_only=True))
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-5, atol=1e-7)
