"""The task `self-supervised`: what it learns without labels, what it refuses, and its variants."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import torch
from noisy_tones import tones, write

from tonotopy import AudioEmbedder
from tonotopy._components import Component
from tonotopy._errors import DataError, UsageError
from tonotopy.clips import ClipTable, collate_clips, load_clips
from tonotopy.losses import GradCache, MomentumContrast, ProjectionLoss
from tonotopy.metrics import knn_accuracy
from tonotopy.training import FitConfig, OptimiserOptions, SplitOptions, fit, resume
from tonotopy.training._self_supervised_assembly import assemble_self_supervised, unlabelled_clips
from tonotopy.training.callbacks import RunCheckpoints
from tonotopy.training.config import read_config
from tonotopy.training.presets import preset_file, preset_files
from tonotopy.training.self_supervised_options import SelfSupervisedOptions
from tonotopy.training.self_supervised_task import SelfSupervisedTask, positive_ids

RATE = 16000
PRESETS = [name for name in preset_files() if name.startswith("self-supervised")]


@pytest.fixture
def base(tmp_path: Path) -> FitConfig:
    return FitConfig(
        data=tones(tmp_path / "data"),
        run=tmp_path / "run",
        task="self-supervised",
        front_end=Component("LogMel", {"n_mels": 32}),
        encoder=Component("ConvNet", {"width": 4, "embedding_dim": 8}),
        augmentations=[Component("MixBack"), Component("FeatureNoise")],
        self_supervised=SelfSupervisedOptions(view_seconds=0.2, projection=[16, 8]),
        batches=Component("ShuffledBatchSampler", {"batch_size": 6}),
        split=SplitOptions(test_fraction=0.0, val_fraction=0.25),
        optimiser=OptimiserOptions(epochs=2, learning_rate=3e-3, warmup_epochs=0.0),
        threads=1,
        accelerator="cpu",
        cache=tmp_path / "cache",
    )


def variant(base: FitConfig, **options: Any) -> FitConfig:
    return replace(base, self_supervised=replace(base.self_supervised, **options))


def unlabelled(config: FitConfig) -> ClipTable:
    return unlabelled_clips(load_clips(config.data, labelled=False), config)


def task_of(config: FitConfig) -> SelfSupervisedTask:
    return assemble_self_supervised(config, unlabelled(config))[0]


def log(run: Path) -> list[dict[str, str]]:
    with (run / "logs" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def weights(run: Path) -> dict[str, torch.Tensor]:
    return AudioEmbedder.from_pretrained(run).state_dict()


def nearly(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether float32 gradients, some of which are in the hundreds, are the same."""
    return bool((a - b).abs().max() <= 1e-4 * a.abs().max())


def test_classes_come_apart_that_training_was_not_told(base: FitConfig) -> None:
    batches = Component("ShuffledBatchSampler", {"batch_size": 18})
    run = fit(replace(base, optimiser=replace(base.optimiser, epochs=30), batches=batches))
    model = AudioEmbedder.from_pretrained(run)
    clips = ClipTable.read(run / "clips.parquet")
    labels = clips.tree.leaf_index(clips.labels)
    assert knn_accuracy(model.embed(list(clips.paths)), labels, k=1) > 0.9
    assert model.head is None
    rows = log(run)
    assert float(rows[-1]["train/loss"]) < float(rows[0]["train/loss"])
    for name in ("uniformity", "tolerance", "alignment", "effective_rank", "hubness"):
        assert np.isfinite(float(rows[-1][f"features/{name}"]))
    assert float(rows[-1]["acl/projected_alignment"]) > 0
    # Validation views do not change from epoch to epoch, so that epochs can be compared.
    assert 0 <= float(rows[-1]["val/knn_accuracy"]) <= 1


def test_labels_do_not_change_what_is_learnt(base: FitConfig, tmp_path: Path) -> None:
    shuffled = tmp_path / "shuffled.csv"
    files = sorted(base.data.rglob("*.wav"))
    lines = [f"{file.relative_to(tmp_path)},{number % 2}" for number, file in enumerate(files)]
    shuffled.write_text("path,label\n" + "\n".join(lines) + "\n")
    split = SplitOptions(test_fraction=0.0, val_fraction=0.0)
    one = fit(replace(base, split=split))
    other = fit(replace(base, split=split, data=shuffled, run=tmp_path / "other"))
    for name, value in weights(one).items():
        assert torch.equal(value, weights(other)[name]), name


def test_unlabelled_folder_of_one_long_recording(base: FitConfig, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    write(tmp_path / "sea" / "night.wav", 0.1 * random.standard_normal(RATE * 6))
    config = replace(base, data=tmp_path / "sea", clip_seconds=1.0)
    assert len(unlabelled(config)) == 6
    assert unlabelled(config).frame["start"].to_list() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    run = fit(config)
    assert AudioEmbedder.from_pretrained(run).tree is None
    assert "val/knn_accuracy" not in log(run)[0]


def test_resumes_to_the_same_weights(
    base: FitConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(variant(base, queue=10), checkpoint_minutes=0.0)
    whole = fit(config)
    after_batch = RunCheckpoints.on_train_batch_end

    def stop(self: RunCheckpoints, trainer: Any, *rest: Any) -> None:
        after_batch(self, trainer, *rest)
        if trainer.global_step == 4:
            raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(RunCheckpoints, "on_train_batch_end", stop)
        with pytest.raises(RuntimeError, match="power cut"):
            fit(replace(config, run=tmp_path / "cut"))
    resumed = resume(tmp_path / "cut")
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name
    assert [row["train/loss"] for row in log(whole)] == [row["train/loss"] for row in log(resumed)]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_train(base: FitConfig, name: str) -> None:
    preset = read_config(preset_file(name), {"data": base.data})
    batches = Component("ShuffledBatchSampler", {"batch_size": 12})  # VICReg needs a few clips
    run = fit(
        replace(
            base,
            losses=preset.losses,
            augmentations=preset.augmentations,
            self_supervised=replace(preset.self_supervised, view_seconds=0.2, projection=[16, 8]),
            batches=batches,
        )
    )
    assert np.isfinite(float(log(run)[-1]["train/loss"]))


def test_chunks_give_the_gradient_of_the_whole_batch(base: FitConfig) -> None:
    def gradient(config: FitConfig) -> dict[str, torch.Tensor]:
        task = task_of(config)
        task.embedder.encoder.eval()  # batch normalisation would take the statistics of a chunk
        embeddings = task._encode(features, frames)
        task.loss(embeddings, ids).backward()
        return {
            name: parameter.grad
            for name, parameter in task.embedder.encoder.named_parameters()
            if parameter.grad is not None
        }

    features, frames = torch.randn(8, 32, 21), torch.full((8,), 21)
    ids = torch.arange(4).repeat(2)
    whole, chunked = gradient(base), gradient(variant(base, chunk_views=3))
    assert whole.keys() == chunked.keys()
    for name, value in whole.items():
        assert nearly(value, chunked[name]), name

    task = task_of(base)
    encoder = task.embedder.encoder.eval()
    GradCache(encoder, task.loss, chunk_size=3).backward(features, ids)
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None
        assert nearly(parameter.grad, whole[name]), name


def test_a_queue_makes_negatives_and_the_slow_encoder_follows(base: FitConfig) -> None:
    config = variant(base, queue=20, momentum=0.5)
    task = task_of(config)
    (part,) = task._parts()
    assert isinstance(part, MomentumContrast)
    assert task.slow_encoder is not None
    clips = unlabelled(config)
    assert isinstance(part.loss, ProjectionLoss)
    optimiser = torch.optim.SGD(task.embedder.parameters(), lr=0.1)
    items = []
    for row, path in enumerate(clips.paths[:4]):
        wave = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
        items.append({"waveform": wave, "length": len(wave), "index": row})
    batch = collate_clips(items)
    task.train()
    task.log_dict = lambda *_, **__: None  # type: ignore[method-assign]  # there is no trainer
    trained, slow = [], []
    for _ in range(3):
        loss = SelfSupervisedTask.training_step(task, batch, 0)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        trained.append(task.embedder.encoder.get_parameter("linear.weight").detach().clone())
        slow.append(task.slow_encoder.module.get_parameter("linear.weight").detach().clone())
    assert (part.queue_ids >= 0).sum() == 12
    assert torch.equal(part.queue_ids[:4], torch.arange(4))
    # The copy starts as the encoder, and goes half of the way at every step.
    expected = (slow[1] + trained[1]) / 2
    assert torch.allclose(slow[2], expected, rtol=1e-4, atol=1e-5)
    assert all(p.grad is None for p in task.slow_encoder.parameters())


def test_known_labels_can_be_positives_too() -> None:
    labels = torch.tensor([1, -1, 0, 1, -1])
    assert positive_ids(labels, "views").tolist() == [0, 1, 2, 3, 4]
    ids = positive_ids(labels, "labels").tolist()
    assert ids[0] == ids[3]
    assert len(set(ids)) == 4
    assert positive_ids(torch.full((3,), -1), "labels").tolist() == [0, 1, 2]


def test_more_views_and_no_projection(base: FitConfig) -> None:
    run = fit(variant(base, views=3, projection=[]))
    rows = log(run)
    assert np.isfinite(float(rows[-1]["val/loss"]))
    assert "acl/projected_uniformity" not in rows[-1]


def test_hard_clips_train(base: FitConfig, tmp_path: Path) -> None:
    """Silent, constant, very short, and equal clips; the last batch has one."""
    data = tmp_path / "hard"
    for name, wave in (
        ("silent1", np.zeros(4000)),
        ("silent2", np.zeros(4001)),
        ("constant", np.full(4000, 0.5)),
        ("short", 0.1 * np.ones(3)),
        ("one", np.ones(1)),
        ("noise", np.random.default_rng(0).standard_normal(800) * 0.1),
        ("tone", np.sin(np.arange(9000) / 5)),
    ):
        write(data / f"{name}.wav", wave)
    split = SplitOptions(test_fraction=0.0, val_fraction=0.0)
    run = fit(replace(base, data=data, split=split))
    assert all(np.isfinite(float(row["train/loss"])) for row in log(run))
    assert all(value.isfinite().all() for value in weights(run).values())
    queued = fit(replace(variant(base, queue=4), data=data, split=split, run=tmp_path / "queued"))
    assert all(value.isfinite().all() for value in weights(queued).values())


def test_one_clip_is_refused(base: FitConfig, tmp_path: Path) -> None:
    write(tmp_path / "alone" / "a.wav", np.sin(np.arange(4000) / 5))
    with pytest.raises(DataError, match="found 1 clip to train on"):
        fit(replace(base, data=tmp_path / "alone"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"losses": {"ce": Component("CrossEntropyLoss")}}, "learns classes"),
        ({"losses": {"l": Component("GeneralizedTripletLoss")}}, "learns classes"),
        ({"monitor": "val/accuracy"}, "has no classifier"),
        ({"self_supervised": SelfSupervisedOptions(queue=5)}, "has no negatives"),
    ],
)
def test_refuses_what_does_not_fit(base: FitConfig, change: dict[str, Any], message: str) -> None:
    if "no negatives" in message:
        change = {**change, "losses": {"vicreg": Component("VICRegLoss")}}
    with pytest.raises(UsageError, match=message):
        fit(replace(base, **change))
    assert not base.run_folder.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"views": 1}, "at least 2"),
        ({"view_seconds": 0.0}, "must be positive"),
        ({"view_seconds": float("nan")}, "must be positive"),
        ({"view_seconds": float("inf")}, "must be positive"),
        ({"projection": [0]}, "sizes must be positive"),
        ({"queue": -1}, "cannot be negative"),
        ({"momentum": 1.0}, "less than 1"),
    ],
)
def test_options_are_checked(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SelfSupervisedOptions(**change)


def test_options_that_need_labels_are_refused(base: FitConfig) -> None:
    for change in ({"mixup_alpha": 0.2}, {"class_weights": True}, {"freeze_encoder": True}):
        with pytest.raises(UsageError, match=r"label|classes"):
            replace(base, **change)


def test_a_refused_queue_names_the_loss(base: FitConfig) -> None:
    config = replace(variant(base, queue=5), losses={"vicreg": Component("VICRegLoss")})
    with pytest.raises(UsageError, match=r"--self_supervised.queue: VICRegLoss has no negatives"):
        fit(config)


@pytest.mark.parametrize("folders", [1, 2])
def test_collapse_is_named_whatever_the_classes(
    base: FitConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str], folders: int
) -> None:
    data = tmp_path / "same"
    for number in range(8):
        # Nearly one sound, which an untrained network puts in one place.
        write(data / str(number % folders) / f"{number}.wav", np.sin(np.arange(6000) / 5 + number))
    fit(replace(base, data=data, optimiser=replace(base.optimiser, epochs=1, learning_rate=1e-9)))
    assert "collapse" in capsys.readouterr().err


def test_knn_needs_classes(base: FitConfig, tmp_path: Path) -> None:
    data = tmp_path / "flat"
    for number in range(8):
        write(data / f"{number}.wav", np.sin(np.arange(4000) / (5 + number)))
    with pytest.raises(UsageError, match="two known classes"):
        fit(replace(base, data=data, monitor="val/knn_accuracy"))


def test_split_keeps_windows_of_a_file_together(base: FitConfig, tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    for number in range(10):
        write(tmp_path / "long" / f"{number}.wav", 0.1 * random.standard_normal(RATE * 2))
    clips = unlabelled(replace(base, data=tmp_path / "long", clip_seconds=0.5))
    splits = clips.frame.group_by("path").agg(pl.col("split").n_unique())
    assert len(clips) == 40
    assert splits["split"].to_list() == [1] * 10


def test_windows_of_a_recording_are_not_each_others_neighbours(
    base: FitConfig, tmp_path: Path
) -> None:
    random = np.random.default_rng(3)
    for number in range(4):
        name = tmp_path / "long" / "ab"[number % 2] / f"{number}.wav"
        write(name, 0.1 * random.standard_normal(RATE * 2))
    config = replace(base, data=tmp_path / "long", clip_seconds=0.5)
    clips = unlabelled(config)
    labels = assemble_self_supervised(config, clips)[0].labels
    judged = clips.frame.filter(pl.Series((labels >= 0).tolist()))
    assert len(judged) == 4
    assert judged["path"].n_unique() == 4
    assert judged["start"].to_list() == [0.0] * 4
