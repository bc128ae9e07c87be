"""Runs with losses on an inner layer: only training knows of them, and what they go with."""

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

from tonotopy import AudioEmbedder
from tonotopy._components import Component
from tonotopy._errors import UsageError
from tonotopy.protocols import complete_run
from tonotopy.training import FitConfig, OptimiserOptions, SplitOptions, fit, resume
from tonotopy.training.callbacks import RunCheckpoints
from tonotopy.training.checkpoint_io import read_state_dict
from tonotopy.training.config import read_config, write_config
from tonotopy.training.intermediate_options import IntermediateOptions
from tonotopy.training.presets import preset_file

AMC = Component("AngularMarginContrastiveLoss", {"weights": [1.0, 1.0]})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of noisy tones of different lengths, two of them under one node."""
    folder = tmp_path_factory.mktemp("sounds") / "data"
    random = np.random.default_rng(0)
    for at, label in enumerate(("tone/low", "tone/high", "noise/loud")):
        (folder / label).mkdir(parents=True)
        for number in range(8):
            wave = 0.3 * np.sin(np.arange(1600 + 300 * number) * 0.05 * (1 + 3 * at))
            wave += 0.1 * random.standard_normal(len(wave))
            soundfile.write(folder / label / f"{number}.wav", wave, 16000)
    return folder


@pytest.fixture
def base(data: Path, tmp_path: Path) -> FitConfig:
    return FitConfig(
        data=data,
        run=tmp_path / "run",
        front_end=Component("LogMel", {"n_mels": 16}),
        encoder=Component("ConvNet", {"width": 2, "embedding_dim": 4, "dropout": 0.5}),
        intermediate=IntermediateOptions("layers.3.conv", "max", {"amc": AMC}),
        loss_weights={"amc": 0.5},
        batches=Component("PKBatchSampler", {"classes_per_batch": 3, "clips_per_class": 2}),
        split=SplitOptions(test_fraction=0.0, val_fraction=0.25),
        optimiser=OptimiserOptions(epochs=2, learning_rate=0.02, warmup_epochs=0),
        accelerator="cpu",
        threads=1,
        cache=tmp_path / "cache",
    )


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "logs" / "metrics.csv").open() as file:
        found = list(csv.DictReader(file))
    for row in found:
        del row["seconds"]
    return found


def test_the_saved_model_knows_nothing_of_it(base: FitConfig, tmp_path: Path) -> None:
    trained = fit(base)
    plain = fit(
        replace(base, run=tmp_path / "plain", intermediate=IntermediateOptions(), loss_weights={})
    )
    with_it, without = (load_file(run / "model.safetensors") for run in (trained, plain))
    assert with_it.keys() == without.keys()
    assert any(not torch.equal(with_it[name], without[name]) for name in without)
    assert float(rows(trained)[0]["train/amc"]) > 0
    assert "train/amc" not in rows(plain)[0]
    metrics = complete_run(trained, command="tonotopy fit")
    assert metrics["num_clips"] == 6
    card = (trained / "README.md").read_text(encoding="utf-8")
    assert "1 × CrossEntropyLoss + 0.5 × AngularMarginContrastiveLoss on layers.3.conv" in card
    embedder = AudioEmbedder.from_pretrained(trained)
    assert not any(module._forward_hooks for module in embedder.modules())


def test_a_weight_of_nothing_is_a_run_without_it(base: FitConfig, tmp_path: Path) -> None:
    none = fit(replace(base, loss_weights={"amc": 0.0}))
    plain = fit(
        replace(base, run=tmp_path / "plain", intermediate=IntermediateOptions(), loss_weights={})
    )
    one, other = (load_file(run / "model.safetensors") for run in (none, plain))
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_losses_may_have_weights_of_their_own(base: FitConfig) -> None:
    """A classifier on the layer is trained, and is not the model's."""
    options = IntermediateOptions("layers.1.conv", "mean", {"deep": Component("CrossEntropyLoss")})
    run = fit(replace(base, intermediate=options, loss_weights={"deep": 0.3}))
    state = read_state_dict(run / "checkpoints" / "last.safetensors")
    (weight,) = (state[name] for name in state if "deep" in name and name.endswith("weight"))
    assert weight.shape == (3, 4)
    head = AudioEmbedder.from_pretrained(run).head
    assert head is not None
    assert head(torch.zeros(1, 4)).shape == (1, 3)


def test_labels_of_a_tree_will_do(base: FitConfig) -> None:
    tree = Component("TreeBatchSampler", {"branching": [2, 2], "clips_per_leaf": 2})
    losses = {"ce": Component("LevelCrossEntropyLoss")}
    run = fit(replace(base, task="tree", losses=losses, batches=tree))
    assert all(float(row["train/amc"]) > 0 for row in rows(run))


class StoppedError(Exception):
    """Stands for anything that ends a process."""


def test_a_stopped_run_ends_with_the_same_weights(
    base: FitConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = {"amc": AMC, "deep": Component("CrossEntropyLoss")}
    config = replace(
        base,
        intermediate=IntermediateOptions("layers.3.conv", "max", losses),
        checkpoint_minutes=0.0,
    )
    whole, run = fit(replace(config, run=tmp_path / "whole")), tmp_path / "stopped"
    stop_at = int(rows(whole)[0]["step"]) + 1
    saved = RunCheckpoints.on_train_batch_end

    def on_train_batch_end(self: RunCheckpoints, trainer: Any, *arguments: Any) -> None:
        saved(self, trainer, *arguments)
        if trainer.global_step == stop_at:
            raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(RunCheckpoints, "on_train_batch_end", on_train_batch_end)
        with pytest.raises(StoppedError):
            fit(replace(config, run=run))
    resume(run)
    assert rows(run) == rows(whole)
    found, expected = (
        read_state_dict(folder / "checkpoints" / "last.safetensors") for folder in (run, whole)
    )
    assert found.keys() == expected.keys()
    assert any(name.startswith("intermediate.") for name in found)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_the_configuration_survives(base: FitConfig, tmp_path: Path) -> None:
    write_config(base, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == base


def test_a_wrong_layer_gets_the_list(base: FitConfig) -> None:
    options = IntermediateOptions("layers.9", "max", {"amc": AMC})
    with pytest.raises(
        UsageError, match=r"ConvNet has no layer 'layers.9' .*it has: stem, .*linear"
    ):
        fit(replace(base, intermediate=options))
    options = IntermediateOptions("layers.3.norm", "max", {"amc": AMC})
    with pytest.raises(UsageError, match=r"'layers.3.norm' of ConvNet cannot be read, since the f"):
        fit(replace(base, intermediate=options))
    assert base.run is not None
    assert not base.run.exists()


def test_mixed_labels_are_refused_where_they_mean_nothing(base: FitConfig) -> None:
    with pytest.raises(UsageError, match=r"--mixup_alpha .* amc cannot use"):
        fit(replace(base, mixup_alpha=0.2))
    gram = Component("AngularDistanceDistributionLoss", {"form": "gram"})
    options = IntermediateOptions("layers.3.conv", "max", {"gram": gram})
    run = fit(replace(base, mixup_alpha=0.2, intermediate=options, loss_weights={}))
    assert all(float(row["train/gram"]) > 0 for row in rows(run))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("intermediate: {layer: stem}", "go together"),
        ("intermediate: {losses: {amc: AngularMarginContrastiveLoss}}", "go together"),
        (
            "task: anomaly\nintermediate: {layer: stem, losses: {amc: SupConLoss}}",
            "--task classes or tree, not with anomaly",
        ),
        ("intermediate: {layer: stem, losses: {ce: SupConLoss}}", "both have 'ce'"),
        (
            "intermediate: {layer: stem, losses: {amc: SupConLoss}}\nloss_weights: {acm: 1}",
            "'acm', which is not among the losses: ce, amc",
        ),
        ("intermediate: {layer: stem, pooling: sum, losses: {amc: SupConLoss}}", "pooling"),
    ],
)
def test_what_does_not_go_together_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "my.yaml").write_text(f"data: x\n{text}")
    with pytest.raises(UsageError, match=message):
        read_config(tmp_path / "my.yaml")


def test_the_supervised_preset_of_the_paper_trains(base: FitConfig, tmp_path: Path) -> None:
    text = preset_file("supervised-acl").read_text(encoding="utf-8")
    (tmp_path / "my.yaml").write_text(text.replace("epochs: 99", "epochs: 1"))
    config = read_config(tmp_path / "my.yaml", {"data": base.data})
    run = fit(replace(config, run=base.run, split=base.split, threads=1, cache=base.cache))
    assert config.loss_weights == {"ce": 0.7, "amc": 0.3}
    row = rows(run)[0]
    weighted = 0.7 * float(row["train/ce"]) + 0.3 * float(row["train/amc"])
    assert float(row["train/loss"]) == pytest.approx(weighted, rel=1e-4)
