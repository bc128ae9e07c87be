"""The comparison of losses over a label tree: its trials' clips, both settings, and its table."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from tonotopy import AudioEmbedder
from tonotopy._components import Component
from tonotopy._errors import UsageError
from tonotopy.audio import content_hash
from tonotopy.cli import main
from tonotopy.clips import ClipTable, scan
from tonotopy.labels import display_name
from tonotopy.protocols import hybrid_experiment
from tonotopy.protocols._hybrid_data import first_second, hidden_classes, trial_clips
from tonotopy.protocols.hybrid_experiment import (
    METHODS,
    Plan,
    Trial,
    measures,
    run_hybrid_experiment,
)
from tonotopy.training import FitConfig, OptimiserOptions, SplitOptions
from tonotopy.training.config import read_config

SPLIT = SplitOptions(test_fraction=0.2, val_fraction=0.25)
SMALL = ("wind", "rare")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipTable:
    """Two families of five instruments with five clips, and one with two."""
    folder = tmp_path_factory.mktemp("instruments") / "audio"
    random = np.random.default_rng(0)
    for at, family in enumerate(("strings", "wind")):
        names = [f"{family}{number}" for number in range(5)] + ["rare"] * at
        for number, name in enumerate(names):
            place = folder / family / name
            place.mkdir(parents=True)
            for clip in range(2 if name == "rare" else 5):
                pitch = 0.02 * (1 + number) * (1 + 3 * at)
                wave = 0.3 * np.sin(np.arange(800) * pitch) + 0.01 * random.standard_normal(800)
                soundfile.write(place / f"{clip}.wav", wave, 8000)
    return scan(folder)


@pytest.fixture
def plan(clips: ClipTable, tmp_path: Path) -> Plan:
    """An epoch of a small network."""
    base = FitConfig(
        data=tmp_path,
        task="tree",
        front_end=Component("LogMel", {"n_mels": 16, "hop_length": 640}),
        encoder=Component("ConvNet", {"width": 2, "embedding_dim": 4}),
        split=SPLIT,
        optimiser=OptimiserOptions(epochs=1, warmup_epochs=0),
        accelerator="cpu",
        threads=1,
        cache=tmp_path / "cache",
    )
    return Plan(base, "default", clips, min_clips=5)


def test_folds_part_the_large_classes_and_small_ones_are_always_hidden(clips: ClipTable) -> None:
    hidden = [hidden_classes(clips, fold, min_clips=5) for fold in range(5)]
    large = [name for name in clips.tree.leaf_names if name != display_name(SMALL)]
    assert all(display_name(SMALL) in names for names in hidden)
    shared = Counter(name for names in hidden for name in names)
    assert {name: shared[name] for name in large} == dict.fromkeys(large, 1)
    assert [len(names) for names in hidden] == [3] * 5
    assert hidden_classes(clips, -1, min_clips=5) == [display_name(SMALL)]
    assert hidden_classes(clips, 0, min_clips=6) == sorted(clips.tree.leaf_names)
    for fold in (5, -2):
        with pytest.raises(UsageError, match=f"class folds are 0 to 4.*got {fold}"):
            hidden_classes(clips, fold, min_clips=5)


@pytest.mark.parametrize("missing", [0.0, 0.3, 0.5, 0.99])
def test_only_training_clips_lose_labels_and_a_class_keeps_one(
    clips: ClipTable, missing: float
) -> None:
    hidden = hidden_classes(clips, 1, min_clips=5)
    table = trial_clips(clips, SPLIT, hidden, missing=missing, seed=3)
    folds = table.frame["fold"].to_list()
    assert set(folds) == {"train", "val", "test", "unseen"}
    assert table.frame["path"].to_list() == clips.frame["path"].to_list()
    kept, lost = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    for fold, before, after in zip(folds, clips.labels, table.labels, strict=True):
        assert (fold == "unseen") == (display_name(before) in hidden)
        if fold == "train" and after != before:
            assert after == before[:-1]
            lost[before] += 1
        else:
            assert after == before
            kept[before] += fold == "train"
    for path, number in kept.items():
        total = number + lost[path]
        if total:
            assert number >= 1
            assert lost[path] == min(round(missing * total), total - 1)


def test_a_larger_share_takes_more_from_the_same_clips(clips: ClipTable) -> None:
    def lost(missing: float, seed: int) -> set[str]:
        table = trial_clips(clips, SPLIT, [], missing=missing, seed=seed)
        gone = [len(path) == 1 for path in table.labels]
        return set(table.frame.filter(pl.Series(gone))["path"])

    assert lost(0.4, 0) < lost(0.7, 0)
    assert lost(0.4, 0) == lost(0.4, 0)
    assert lost(0.4, 0) != lost(0.4, 1)


def test_the_first_second_is_at_44100_hz_with_silence_behind(
    clips: ClipTable, tmp_path: Path
) -> None:
    copies = first_second(clips, tmp_path / "copies")
    assert copies.labels == clips.labels
    assert set(copies.frame["seconds"]) == {1.0}
    assert copies.frame["content"].to_list() == [content_hash(path) for path in copies.paths]
    wave, rate = soundfile.read(copies.paths[0])
    assert (len(wave), rate) == (44100, 44100)
    assert np.abs(wave[:4400]).max() > 0.2
    assert np.abs(wave[4600:]).max() < 1e-3
    written = copies.paths[0].stat().st_mtime_ns
    first_second(clips, tmp_path / "copies")
    assert copies.paths[0].stat().st_mtime_ns == written


def test_trials_are_trained_tabulated_and_kept(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    options = {"methods": ["pl+t", "supcon"], "folds": [0], "missing": [0.5]}
    result = run_hybrid_experiment(plan, out, **options)  # type: ignore[arg-type]  # a table of options
    assert list(result["table"]) == ["pl+t, 50% missing", "supcon, 50% missing"]
    assert set(result["table"]["pl+t, 50% missing"]) == set(measures(2))
    markdown = (out / "results.md").read_text()
    assert [line.split(" | ")[0] for line in markdown.splitlines()[2:]] == [
        "| pl+t, 50% missing", "| supcon, 50% missing"
    ]  # fmt: skip
    hidden = set(hidden_classes(plan.clips, 0, min_clips=5))
    for trial, values in zip(
        (Trial("pl+t", 0, 0, 0.5), Trial("supcon", 0, 0, 0.5)), result["trials"], strict=True
    ):
        run = out / trial.folder
        used = ClipTable.read(run / "clips.parquet")
        assert used.frame["split"].to_list() == used.frame["fold"].to_list()
        apart = {display_name(path) for path in used.filter(pl.col("split") == "unseen").labels}
        assert apart == hidden
        embedder = AudioEmbedder.from_pretrained(run)
        assert embedder.tree is not None
        assert not hidden & set(embedder.tree.leaf_names)
        for name in ("accuracy, level 1", "NDCG, pooled, dot", "LVP by centroid", "NDCG, unseen"):
            assert 0.0 <= values[name] <= 1.0, name
        assert (values["LVP by leaf head"] >= 0.0) == (trial.method == "pl+t")

    def fail(*_: object) -> None:
        raise AssertionError("a finished trial was trained again")

    monkeypatch.setattr(hybrid_experiment, "fit", fail)
    monkeypatch.setattr(hybrid_experiment, "resume", fail)
    again = run_hybrid_experiment(plan, out, **options)  # type: ignore[arg-type]  # a table of options
    assert json.dumps(again) == json.dumps(result)


def test_a_trial_that_was_stopped_while_measured_is_measured_whole(
    plan: Plan, tmp_path: Path
) -> None:
    out, trial = tmp_path / "out", Trial("supcon", 0, 0, 0.0)
    result = run_hybrid_experiment(plan, out, methods=["supcon"], folds=[0])
    # The clips are embedded; going on with the training has left a model without centroids.
    (out / trial.folder / "metrics.json").unlink()
    again = run_hybrid_experiment(plan, out, methods=["supcon"], folds=[0])
    assert json.dumps(again) == json.dumps(result)
    assert AudioEmbedder.from_pretrained(out / trial.folder).classifier is not None


def test_the_published_setting(plan: Plan, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = replace(plan, setting="published")
    # A base for flat classes: batches and losses are the experiment's own.
    flat = replace(plan.base, task="classes", losses={}, batches=None)
    assert flat.batches == Component(
        "PKBatchSampler", {"classes_per_batch": 16, "clips_per_class": 4}
    )
    result = run_hybrid_experiment(replace(plan, base=flat), out, methods=["pl+b+t"], folds=[0])
    assert 0.0 <= result["table"]["pl+b+t"]["NDCG"]["mean"] <= 1.0
    run = out / Trial("pl+b+t", 0, 0, 0.0).folder
    config = read_config(run / "config.yaml")
    assert config.encoder.class_path == "MaxPoolConvNet"
    assert config.front_end.init_args["sample_rate"] == 44100
    assert config.batches == Component("TreeTripletSampler")
    assert config.losses["triplet"].init_args == {"pairs": "drawn"}
    assert config.class_weights
    optimiser = config.optimiser
    assert (optimiser.algorithm, optimiser.schedule) == ("adam", "plateau")
    assert (optimiser.epochs, optimiser.plateau_epochs, config.patience) == (1, 250, 500)
    assert (config.keep, config.monitor) == ("last", "val/loss")
    clips = ClipTable.read(run / "clips.parquet")
    assert clips.root == out / "first-second"
    assert set(clips.frame["seconds"]) == {1.0}
    # The same clips are tested as in the default setting.
    hidden = hidden_classes(plan.clips, 0, min_clips=5)
    default = trial_clips(plan.clips, SPLIT, hidden, missing=0.0, seed=0)
    assert clips.frame["fold"].to_list() == default.frame["fold"].to_list()


def test_the_default_setting_takes_the_batches_of_a_tree(plan: Plan, tmp_path: Path) -> None:
    flat = replace(plan.base, task="classes", losses={}, batches=None)
    trial = Trial("l", 0, 0, 0.0)
    config = hybrid_experiment._config(replace(plan, base=flat), trial, tmp_path / "run", ["x"])
    assert config.batches == Component("TreeBatchSampler")
    assert config.split == SplitOptions(test_fold="test", val_fold="val", unseen=["x"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ["pl", "plt"]}, "no method 'plt'; there are: l, pl"),
        ({"folds": [0, 9]}, "class folds are 0 to 4.*got 9"),
        ({"missing": [0.0, 1.0]}, r"must be in \[0, 1\), got 1.0"),
        ({"missing": [-0.1]}, r"must be in \[0, 1\), got -0.1"),
    ],
)
def test_what_cannot_be_run_is_said_before_anything_is(
    plan: Plan, tmp_path: Path, options: dict[str, list[object]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run_hybrid_experiment(plan, tmp_path / "out", **options)  # type: ignore[arg-type]  # wrong on purpose
    assert not (tmp_path / "out").exists()


def test_the_methods_are_presets() -> None:
    from tonotopy.training.presets import preset_files

    assert set(METHODS.values()) <= set(preset_files())


def test_the_command_reads_a_file_of_options(
    clips: ClipTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "options.yaml"
    file.write_text(
        "encoder: {class_path: ConvNet, init_args: {width: 2, embedding_dim: 4}}\n"
        "optimiser: {epochs: 1}\naccelerator: cpu\n"
        "split: {test_fraction: 0.2, val_fraction: 0.25}\n"
        f"cache: {tmp_path / 'cache'}\n"
    )
    out = tmp_path / "out"
    command = ["reproduce", "hybrid", "--data", str(clips.root), "--config", str(file)]
    command += ["--out", str(out), "--min_clips", "5", "--methods", "[l]", "--threads", "1"]
    assert main([*command, "--folds", "[7]"]) != 0
    assert "class folds are 0 to 4" in capsys.readouterr().err
    assert main([*command, "--folds", "[-1]", "--json"]) == 0
    trained = read_config(out / Trial("l", -1, 0, 0.0).folder / "config.yaml")
    assert trained.encoder.init_args["width"] == 2
    assert trained.batches == Component("TreeBatchSampler")
    assert list(json.loads(capsys.readouterr().out)["table"]) == ["l"]


def test_a_split_without_test_clips_is_refused(clips: ClipTable) -> None:
    for name, shares in (("test", (0.01, 0.25)), ("val", (0.2, 0.01))):
        split = SplitOptions(test_fraction=shares[0], val_fraction=shares[1])
        with pytest.raises(UsageError, match=f"no {name} clip"):
            trial_clips(clips, split, [], missing=0.0, seed=0)
