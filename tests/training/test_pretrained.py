"""Training that starts from a trained model: its weights, its front end, and what stays frozen."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from noisy_tones import tones

from tonotopy import AudioEmbedder
from tonotopy._components import Component
from tonotopy._errors import UsageError
from tonotopy.training import FitConfig, OptimiserOptions, SplitOptions, fit, resume
from tonotopy.training.config import read_config
from tonotopy.training.intermediate_options import IntermediateOptions


@pytest.fixture
def base(tmp_path: Path) -> FitConfig:
    return FitConfig(
        data=tones(tmp_path / "data"),
        run=tmp_path / "run",
        clip_seconds=0.3,
        batches=Component("PKBatchSampler", {"classes_per_batch": 3, "clips_per_class": 3}),
        split=SplitOptions(test_fraction=0.0, val_fraction=0.25),
        optimiser=OptimiserOptions(epochs=1, learning_rate=3e-3),
        threads=1,
        accelerator="cpu",
        cache=tmp_path / "cache",
    )


@pytest.fixture
def pretrained(base: FitConfig, tmp_path: Path) -> Path:
    return fit(
        replace(
            base,
            run=tmp_path / "pretrained",
            front_end=Component("LogMel", {"n_mels": 32, "normalise": "dataset"}),
            encoder=Component("ConvNet", {"width": 4, "embedding_dim": 8}),
            seed=5,
        )
    )


def test_frozen_encoder_stays_as_it_was(base: FitConfig, pretrained: Path) -> None:
    run = fit(replace(base, pretrained=pretrained, freeze_encoder=True))
    before, after = (AudioEmbedder.from_pretrained(folder) for folder in (pretrained, run))
    for name, value in before.encoder.state_dict().items():
        assert torch.equal(value, after.encoder.state_dict()[name]), name
    assert before.fingerprint == after.fingerprint  # and the front end's statistics too
    assert before.head is not None
    assert after.head is not None
    weights = [head.get_parameter("linear.weight") for head in (before.head, after.head)]
    assert not torch.equal(*weights)


def test_fine_tuning_starts_from_the_weights(base: FitConfig, pretrained: Path) -> None:
    slow = replace(base.optimiser, learning_rate=1e-9)
    run = fit(replace(base, pretrained=pretrained, optimiser=slow))
    before, after = (AudioEmbedder.from_pretrained(folder).encoder for folder in (pretrained, run))
    for name, parameter in before.named_parameters():
        assert torch.allclose(parameter, after.get_parameter(name), atol=1e-6), name
    config = read_config(run / "config.yaml")
    assert config.encoder.init_args["width"] == 4
    assert config.pretrained == pretrained.resolve()


def test_resumes_without_the_model_it_started_from(
    base: FitConfig, pretrained: Path, tmp_path: Path
) -> None:
    options = replace(base.optimiser, epochs=2)
    whole = fit(replace(base, pretrained=pretrained, optimiser=options))
    shutil.rmtree(pretrained)
    assert resume(whole) == whole.resolve()


def test_another_architecture_is_refused(base: FitConfig, pretrained: Path) -> None:
    for encoder in (Component("ResNet18"), Component("ConvNet", {"width": 8})):
        with pytest.raises(UsageError, match=r"--encoder asks for .* are of .*ConvNet"):
            fit(replace(base, pretrained=pretrained, encoder=encoder))
    same = Component("ConvNet", {"width": 4})
    assert fit(replace(base, pretrained=pretrained, encoder=same)).exists()


def test_a_missing_model_is_named(base: FitConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        fit(replace(base, pretrained=tmp_path / "nowhere"))


def test_a_frozen_encoder_is_refused_where_it_would_not_be(base: FitConfig) -> None:
    with pytest.raises(UsageError, match=r"--freeze_encoder .* not with anomaly"):
        replace(base, task="anomaly", freeze_encoder=True)
    inner = IntermediateOptions("layers.0.conv", losses={"amc": Component("SupConLoss")})
    with pytest.raises(UsageError, match=r"--intermediate.losses could train"):
        replace(base, intermediate=inner, freeze_encoder=True)


def test_nothing_to_train_is_refused(base: FitConfig, pretrained: Path) -> None:
    losses = {"supcon": Component("SupConLoss")}
    with pytest.raises(UsageError, match="nothing to train"):
        fit(replace(base, pretrained=pretrained, freeze_encoder=True, losses=losses))
