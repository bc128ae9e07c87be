"""Training on a label tree: ragged, with clips that are labelled only coarsely, or not at all."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from tonotopy import AudioEmbedder
from tonotopy._components import Component
from tonotopy._errors import DataError, UsageError
from tonotopy.clips import ClipTable, TreeBatchSampler, scan
from tonotopy.labels import LabelPath
from tonotopy.losses import LevelCrossEntropyLoss
from tonotopy.protocols.embedding import embed_run
from tonotopy.protocols.evaluation import evaluate_run
from tonotopy.training import FitConfig, OptimiserOptions, SplitOptions, fit
from tonotopy.training.checkpoint_io import read_state_dict
from tonotopy.training.presets import preset_files, read_losses

LOW, HIGH, NOISE = ("tone", "low"), ("tone", "high"), ("noise",)
SOUNDS = {
    (*LOW, "pure"): (220.0, 0.0),
    (*LOW, "rough"): (220.0, 0.1),
    HIGH: (3000.0, 0.0),
    NOISE: (0.0, 0.3),
}
"""Label to frequency and noise; the tree has leaves at all of its three levels."""

TREE_PRESETS = [name for name, file in preset_files().items() if "task: tree" in file.read_text()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clips of each leaf, and some that lie directly in an inner folder."""
    root = tmp_path_factory.mktemp("tree")
    random = np.random.default_rng(0)
    time = np.arange(3200) / 16000
    for label, (frequency, noise) in SOUNDS.items():
        for number in range(14):
            # The last four are known to the node above alone.
            place = root / "data" / Path(*label[: -1 if number >= 10 else None])
            place.mkdir(parents=True, exist_ok=True)
            wave = 0.3 * np.sin(2 * np.pi * frequency * random.uniform(0.95, 1.05) * time)
            wave += noise * random.standard_normal(len(time))
            soundfile.write(place / f"{'-'.join(label)}-{number}.wav", wave, 16000)
    return root / "data"


@pytest.fixture
def base(folder: Path, tmp_path: Path) -> FitConfig:
    """The default losses on the folder, for an epoch."""
    return FitConfig(
        data=folder,
        run=tmp_path / "run",
        task="tree",
        front_end=Component("LogMel", {"n_mels": 16, "hop_length": 640}),
        encoder=Component("ConvNet", {"width": 2, "embedding_dim": 8}),
        augmentations=[],
        batches=Component("TreeBatchSampler", {"branching": [2, 2], "clips_per_leaf": 4}),
        split=SplitOptions(test_fraction=0.2, val_fraction=0.25),
        optimiser=OptimiserOptions(epochs=1, learning_rate=0.01, warmup_epochs=0),
        accelerator="cpu",
        threads=1,
        cache=folder.parent / "cache",
    )


def relabelled(config: FitConfig, labels: dict[LabelPath, LabelPath]) -> FitConfig:
    """The same clips, with other labels for some, from a table."""
    clips = scan(config.data)
    paths = [list(labels.get(path, path)) for path in clips.labels]
    table = config.run_folder.parent / "clips.parquet"
    clips.with_columns(pl.Series("label", paths, dtype=pl.List(pl.String))).write(table)
    return replace(config, data=table)


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "logs" / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_it_learns_every_level_from_labels_of_any_depth(base: FitConfig) -> None:
    run = fit(replace(base, optimiser=replace(base.optimiser, epochs=6, learning_rate=0.03)))
    clips = ClipTable.read(run / "clips.parquet")
    tree = clips.tree
    assert tree.num_levels == 3
    assert {len(path) for path in clips.labels} == {0, 1, 2, 3}
    embedder = AudioEmbedder.from_pretrained(run)
    assert embedder.tree == tree
    assert embedder.classifier is not None
    known = tree.encode(clips.labels)
    predicted = embedder.classifier.paths(embedder.embed(clips.paths))
    for level, least in enumerate((0.95, 0.95, 0.9)):
        judged = known[:, level] >= 0
        right = (predicted == known)[judged, level].double().mean().item()
        assert right >= least, level
    history = rows(run)
    assert float(history[-1]["train/loss"]) < float(history[0]["train/loss"])


def test_the_log_tells_every_level_and_the_pairs_of_a_batch(base: FitConfig) -> None:
    row = {name: float(value) for name, value in rows(fit(base))[0].items()}
    for measure in ("accuracy", "knn_accuracy"):
        levels = [row[f"level{level}/{measure}"] for level in (1, 2, 3)]
        assert row[f"val/{measure}"] == pytest.approx(sum(levels) / 3, abs=1e-6)
    size = 2 * 2 * 4
    pairs = [row[f"batch/pairs{level}"] for level in range(4)]
    assert sum(pairs) + row["batch/unknown_pairs"] == pytest.approx(size * (size - 1) / 2)
    # Batches descend the tree: pairs of every kinship are in each; some labels are partial.
    assert min(pairs) > 0
    assert row["batch/unknown_pairs"] > 0
    assert row["batch/triplets0"] == 0.0
    assert min(row[f"batch/triplets{level}"] for level in (1, 2, 3)) > 0


@pytest.mark.parametrize("preset", TREE_PRESETS)
def test_every_preset_trains_a_model_that_classifies(base: FitConfig, preset: str) -> None:
    options: dict[str, Any] = read_losses(preset)
    if preset == "rbl":
        options["batches"] = Component("QuadrupletBatchSampler")
    run = fit(replace(base, **options))
    first = rows(run)[0]
    for name in options["losses"]:
        assert np.isfinite(float(first[f"train/{name}"]))
    embed_run(run)
    embedder = AudioEmbedder.from_pretrained(run)
    trained = any(name.endswith(("_ce", "_bce")) for name in options["losses"])
    assert (embedder.head is not None) == trained
    assert ("val/accuracy" in first) == trained
    assert embedder.classifier is not None
    clips = ClipTable.read(run / "clips.parquet")
    found = embedder.classifier.predict(embedder.embed(clips.paths[:3]))
    assert all(path.path in SOUNDS for path in found)


def test_the_presets_for_trees_are_all_tested() -> None:
    assert len(TREE_PRESETS) == 14


def test_unseen_classes_are_kept_apart_and_out_of_the_tree(base: FitConfig) -> None:
    split = replace(base.split, unseen=["tone/low/rough", "noise"])
    run = fit(replace(base, split=split))
    clips = ClipTable.read(run / "clips.parquet")
    hidden = [path in ((*LOW, "rough"), NOISE) for path in clips.labels]
    assert [split == "unseen" for split in clips.frame["split"]] == hidden
    tree = AudioEmbedder.from_pretrained(run).tree
    assert tree is not None
    assert (*LOW, "rough") not in tree
    assert NOISE not in tree
    assert (*LOW, "pure") in tree


def test_a_plateau_lowers_the_rate_and_the_last_weights_are_kept(base: FitConfig) -> None:
    optimiser = replace(
        base.optimiser, epochs=5, algorithm="adam", learning_rate=1e-6, schedule="plateau"
    )
    optimiser = replace(optimiser, plateau_epochs=0)
    run = fit(replace(base, optimiser=optimiser, keep="last", monitor="val/loss"))
    history = rows(run)
    best, rate = math.inf, 1e-6
    for row in history:
        assert float(row["lr"]) == pytest.approx(rate)
        loss = float(row["val/loss"])
        # Better by less than a ten-thousandth is no better.
        rate *= 1.0 if loss < best * (1 - 1e-4) else 0.6
        best = min(best, loss)
    assert rate < 1e-6, "only the normalisation learns at this rate: the loss goes up and down"

    model, last, first = (
        read(run / file)
        for read, file in (
            (load_file, "model.safetensors"),
            (read_state_dict, "checkpoints/last.safetensors"),
            (read_state_dict, "checkpoints/best.safetensors"),
        )
    )
    assert all(torch.equal(value, last[f"embedder.{name}"]) for name, value in model.items())
    assert any(not torch.equal(first[name], last[name]) for name in last)


@pytest.mark.parametrize("val", ["none", "unlabelled"])
def test_a_plateau_needs_validation_clips_with_labels(base: FitConfig, val: str) -> None:
    config = relabelled(base, {})
    clips = ClipTable.read(config.data)
    folds = ["val" if not path else "train" for path in clips.labels]
    clips.with_columns(pl.Series("fold", folds)).write(config.data)
    split = SplitOptions(test_fraction=0.0, val_fraction=0.0)
    if val == "unlabelled":
        split = replace(split, val_fold="val")
    optimiser = replace(base.optimiser, schedule="plateau")
    with pytest.raises(UsageError, match="plateau needs validation clips"):
        fit(replace(config, split=split, optimiser=optimiser))
    assert not config.run_folder.exists()


def test_validation_clips_without_labels_choose_no_epoch(
    base: FitConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    config = relabelled(base, {})
    clips = ClipTable.read(config.data)
    folds = ["val" if not path else "train" for path in clips.labels]
    clips.with_columns(pl.Series("fold", folds)).write(config.data)
    run = fit(replace(config, split=SplitOptions(val_fold="val", test_fraction=0.0)))
    assert "no validation clip has a label" in capsys.readouterr().err
    assert "val/loss" not in rows(run)[0]
    assert not (run / "checkpoints" / "best.safetensors").exists()


@pytest.mark.parametrize("loss", ["CrossEntropyLoss", "ArcFaceLoss", "FocalLoss", "PrototypeLoss"])
def test_flat_classifiers_are_refused_by_name(base: FitConfig, loss: str) -> None:
    with pytest.raises(UsageError, match=f"{loss} tells flat classes apart.*LeafCrossEntropyLoss"):
        fit(replace(base, losses={"flat": Component(loss)}))
    assert not base.run_folder.exists()


def test_mixup_of_paths_is_refused(base: FitConfig) -> None:
    with pytest.raises(UsageError, match=r"mixup_alpha.*--task tree"):
        replace(base, mixup_alpha=0.2)


def test_class_weights_are_set_for_the_batches_of_each_epoch(
    base: FitConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[list[int]] = []
    set_counts = LevelCrossEntropyLoss.set_counts

    def record(self: LevelCrossEntropyLoss, counts: Sequence[int]) -> None:
        given.append(list(counts))
        set_counts(self, counts)

    monkeypatch.setattr(LevelCrossEntropyLoss, "set_counts", record)
    options = read_losses("hybrid-pl") | {"class_weights": True}
    optimiser = replace(base.optimiser, epochs=2)
    run = fit(replace(base, **options, optimiser=optimiser))
    clips = ClipTable.read(run / "clips.parquet")
    tree = clips.tree
    train = clips.filter(pl.col("split") == "train").labels
    sampler = TreeBatchSampler(tree.encode(train), tree, branching=[2, 2], clips_per_leaf=4, seed=0)
    expected = []
    for epoch in (0, 1):
        served = [train[row] for batch in sampler.epoch_batches(epoch) for row in batch]
        expected.append(tree.counts(served))
    assert expected[0] != expected[1]
    # Each set of counts may be set more than once, and the last is that of the last epoch.
    assert list(dict.fromkeys(map(tuple, given))) == list(map(tuple, expected))
    assert given[-1] == expected[-1]


def test_class_weights_need_a_loss_that_takes_them(base: FitConfig) -> None:
    with pytest.raises(UsageError, match="class_weights needs a loss"):
        fit(replace(base, **{**read_losses("hybrid-t"), "class_weights": True}))


@pytest.mark.parametrize("task", ["tree", "classes"])
def test_clips_without_any_label_are_refused(base: FitConfig, task: Any) -> None:
    config = relabelled(base, dict.fromkeys(scan(base.data).labels, ()))
    with pytest.raises(DataError, match="at least two classes, found none"):
        fit(replace(config, task=task, losses={}, batches=None))


def test_one_node_below_which_all_differ_is_enough(base: FitConfig) -> None:
    # A level with one node teaches nothing by itself and must not be in the way.
    alone = {path: ("all", *path) for path in scan(base.data).labels}
    run = fit(relabelled(base, alone))
    row = rows(run)[0]
    assert float(row["level1/accuracy"]) == 1.0
    assert "level4/accuracy" in row
    metrics = evaluate_run(run, command="")
    assert metrics["tree"]["levels"][0]["accuracy"] == 1.0


def test_one_class_is_not_enough(base: FitConfig) -> None:
    same: dict[LabelPath, LabelPath] = dict.fromkeys(scan(base.data).labels, ("all", "one"))
    with pytest.raises(DataError, match="found only 'all/one'"):
        fit(relabelled(base, same))


def test_a_class_that_only_the_test_has_is_counted_as_wrong(
    base: FitConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    config = relabelled(base, {})
    clips = ClipTable.read(config.data)
    folds = [
        "test" if path == HIGH or number % 5 == 0 else "val" if number % 5 == 1 else "train"
        for number, path in enumerate(clips.labels)
    ]
    clips.with_columns(pl.Series("fold", folds)).write(config.data)
    split = SplitOptions(test_fold="test", val_fold="val")
    for preset in ("hybrid-pl+b", "hybrid-l", "supcon"):
        run = base.run_folder.with_name(preset)
        fit(replace(config, run=run, split=split, **read_losses(preset)))
        assert "1 classes have no training clip: tone/high" in capsys.readouterr().err
        metrics = evaluate_run(run, command="")
        node = next(node for node in metrics["tree"]["nodes"] if node["path"] == list(HIGH))
        assert node["recall"] == 0.0, preset
        assert metrics["tree"]["levels"][1]["clips"] > 0
