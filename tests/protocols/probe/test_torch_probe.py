"""The probe that is trained by gradient descent: what it leaves alone, and what it moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn.functional import cross_entropy

from tonotopy import AudioEmbedder
from tonotopy._errors import DataError, UsageError
from tonotopy.audio import AudioCache
from tonotopy.clips import ClipTable
from tonotopy.metrics import CLIP_ACCURACIES
from tonotopy.protocols import _torch_probe
from tonotopy.protocols._probe_data import probe_clips
from tonotopy.protocols._torch_probe import TorchProbeOptions, torch_probe
from tonotopy.training.config import SplitOptions

MakeEmbedder = Callable[..., AudioEmbedder]
QUICK = TorchProbeOptions(epochs=10, batch_size=8, patch_seconds=0.5)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def trained(
    embedder: AudioEmbedder, sounds: ClipTable, options: TorchProbeOptions, cache: Path
) -> _torch_probe.TorchProbe:
    found = probe_clips(sounds, SplitOptions(), seed=0)
    waves = _torch_probe._Waves(found, AudioCache(cache, embedder.sample_rate), options)
    return _torch_probe._train(embedder, waves, options)


def moved(probe: _torch_probe.TorchProbe, embedder: AudioEmbedder) -> set[str]:
    """Names of what the copy of the model has otherwise than the model."""
    before = embedder.state_dict()
    return {
        name
        for name, value in probe.embedder.state_dict().items()
        if not torch.equal(value, before[name])
    }


def test_learns_and_reports(make_embedder: MakeEmbedder, sounds: ClipTable, cache: Path) -> None:
    options = replace(QUICK, epochs=30)
    found = torch_probe(make_embedder(), sounds, options, bootstrap=20, cache=cache)
    assert list(found["accuracy"]) == list(CLIP_ACCURACIES)
    assert found["accuracy"]["accuracy_clip_macro"]["value"] > 0.7
    assert np.sum(found["confusion"]) == 12
    losses = [row["loss"] for row in found["history"]]
    assert losses[-1] < 0.9 * losses[0]
    measured = [row["epoch"] for row in found["history"] if "val_accuracy_clip_macro" in row]
    assert measured == [5, 10, 15, 20, 25, 30]
    best = max(row.get("val_accuracy_clip_macro", 0) for row in found["history"])
    kept = found["history"][found["epoch"] - 1]
    assert kept["val_accuracy_clip_macro"] == best


def test_frozen_leaves_the_model_and_train_moves_its_running_statistics(
    make_embedder: MakeEmbedder, sounds: ClipTable, cache: Path
) -> None:
    embedder = make_embedder()
    assert moved(trained(embedder, sounds, QUICK, cache), embedder) == set()
    names = moved(trained(embedder, sounds, replace(QUICK, batch_norm="train"), cache), embedder)
    assert names
    assert all(name.rpartition(".")[2].startswith(("running_", "num_batches")) for name in names)


def test_fine_tuning_moves_the_weights_but_not_frozen_statistics(
    make_embedder: MakeEmbedder, sounds: ClipTable, cache: Path
) -> None:
    embedder = make_embedder()
    options = replace(QUICK, train_encoder=True, learning_rate=0.01)
    names = moved(trained(embedder, sounds, options, cache), embedder)
    learnt = {f"encoder.{name}" for name, _ in embedder.encoder.named_parameters()}
    assert names <= learnt
    assert len(names) > len(learnt) / 2
    both = moved(trained(embedder, sounds, replace(options, batch_norm="train"), cache), embedder)
    assert any("running_mean" in name for name in both)
    # The front end and the caller's model are left alone.
    assert not any(name.startswith("front_end") for name in both)


def test_the_first_epoch_equals_the_loop(
    make_embedder: MakeEmbedder, sounds: ClipTable, cache: Path
) -> None:
    """One batch of all clips, frozen: a step of gradient descent with weight decay, by hand."""
    embedder = make_embedder()
    training = sounds.filter(pl.col("split") != "val")
    options = replace(QUICK, epochs=1, batch_size=100, learning_rate=0.5, weight_decay=0.1)
    found = probe_clips(training, SplitOptions(), seed=0)
    waves = _torch_probe._Waves(found, AudioCache(cache, embedder.sample_rate), options)
    ((waveforms, lengths, labels),) = waves.batches(0)
    assert sorted(labels.tolist()) == [0] * 6 + [1] * 6 + [2] * 6
    assert int(lengths.max()) == 4000
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        start = torch.nn.Linear(embedder.embedding_dim, 3)
    with torch.no_grad():
        embeddings = embedder(waveforms, lengths)
    loss = cross_entropy(start(embeddings), labels)
    loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    assert start.weight.grad is not None
    expected = start.weight - 0.5 * (start.weight.grad + 0.1 * start.weight)
    probe = trained(embedder, training, options, cache)
    assert probe.history == [{"epoch": 1, "loss": pytest.approx(loss.item(), rel=1e-5)}]
    torch.testing.assert_close(probe.classifier.weight, expected)


def test_the_seed_decides_everything(
    make_embedder: MakeEmbedder, sounds: ClipTable, cache: Path
) -> None:
    embedder = make_embedder()
    torch.manual_seed(1)
    first = torch_probe(embedder, sounds, QUICK, bootstrap=0, cache=cache)["history"]
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert torch_probe(embedder, sounds, QUICK, bootstrap=0, cache=cache)["history"] == first
    other = torch_probe(embedder, sounds, replace(QUICK, seed=3), bootstrap=0, cache=cache)
    assert other["history"] != first
    torch.manual_seed(1)
    torch_probe(embedder, sounds, QUICK, bootstrap=0, cache=cache)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_learning_rate_falls_after_two_and_four_fifths() -> None:
    assert [round(share * 200) for share in _torch_probe.DECAYS] == [80, 160]


def test_options_and_divergence_are_told(
    make_embedder: MakeEmbedder, sounds: ClipTable, cache: Path
) -> None:
    with pytest.raises(UsageError, match="'frozen' or 'train'"):
        TorchProbeOptions(batch_norm="eval")  # type: ignore[arg-type]  # what a user may type
    with pytest.raises(UsageError, match="epochs must be positive"):
        TorchProbeOptions(epochs=0)
    with pytest.raises(DataError, match="lower the learning rate"):
        torch_probe(make_embedder(), sounds, replace(QUICK, learning_rate=1e38), cache=cache)
