"""The sweep over alpha and temperature: its trials, its choice, its tables and its page."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import torch
from tests.reporting.test_report import Page

from tonotopy._components import Component
from tonotopy._errors import UsageError
from tonotopy._files import write_json
from tonotopy.cli import main
from tonotopy.cli.sweep import number_list
from tonotopy.clips import ClipTable, scan
from tonotopy.extraction import EmbeddingTable
from tonotopy.metrics import analyse_features, knn_accuracy
from tonotopy.protocols import contrast_sweep
from tonotopy.protocols.contrast_sweep import Trial, run_contrast_sweep
from tonotopy.training import FitConfig, OptimiserOptions, SplitOptions
from tonotopy.training.config import read_config, write_config
from tonotopy.training.self_supervised_options import SelfSupervisedOptions

Sweep = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipTable:
    """Twelve clips of each of three sounds."""
    folder = tmp_path_factory.mktemp("sounds") / "audio"
    random = np.random.default_rng(0)
    for at, name in enumerate(("low", "middle", "high")):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            wave = 0.3 * np.sin(np.arange(1600) * 0.1 * (1 + 2 * at) + random.uniform())
            wave += 0.02 * random.standard_normal(len(wave))
            soundfile.write(folder / name / f"{number}.wav", wave, 8000)
    return scan(folder)


@pytest.fixture
def base(clips: ClipTable, tmp_path: Path) -> FitConfig:
    """An epoch of a small network."""
    table = tmp_path / "clips.parquet"
    folds = ["val"] * 3 + ["test"] * 3 + ["train"] * 6
    clips.with_columns(pl.Series("fold", folds * 3)).write(table)
    return FitConfig(
        data=table,
        task="self-supervised",
        losses={"acl": Component("AngularContrastiveLoss", {"margin": 0.4, "alpha": 0.9})},
        front_end=Component("LogMel", {"sample_rate": 8000, "n_fft": 256, "n_mels": 16}),
        encoder=Component("ConvNet", {"width": 2, "embedding_dim": 4}),
        augmentations=[],
        self_supervised=SelfSupervisedOptions(view_seconds=0.1, projection=[8, 8]),
        split=SplitOptions(test_fold="test", val_fold="val"),
        optimiser=OptimiserOptions(epochs=1, learning_rate=0.01, warmup_epochs=0),
        accelerator="cpu",
        threads=1,
        cache=tmp_path / "cache",
    )


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch, base: FitConfig) -> Sweep:
    """A function that sweeps without training: `score(trial)` gives each trial its numbers."""

    def sweep(out: Path, score: Callable[[Trial], dict[str, Any]], **grid: Any) -> dict[str, Any]:
        def run_trial(
            base: FitConfig, out: Path, trials: list[Trial], trial: Trial, run: Path
        ) -> None:
            numbers = {"val_knn": None, "test_knn": None, **score(trial)}
            features = {"uniformity": -1 - trial.alpha, "tolerance": 0.5 + trial.temperature / 2}
            features |= {"effective_rank": 3.0, "hubness": 0.1}
            write_json(run / "metrics.json", {"sweep": {"features": features, **numbers}})

        monkeypatch.setattr(contrast_sweep, "_run_trial", run_trial)
        return run_contrast_sweep(base, out, **grid)

    return sweep


def test_trains_measures_and_goes_on(base: FitConfig, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    result = run_contrast_sweep(base, out, alphas=[0.0, 1.0], temperatures=[0.2], seeds=[0])
    assert [(t["alpha"], t["temperature"], t["seed"]) for t in result["trials"]] == [
        (0.0, 0.2, 0),
        (1.0, 0.2, 0),
    ]
    run = out / "temperature0.2" / "alpha1-seed0"
    config = read_config(run / "config.yaml")
    assert config.losses["acl"].init_args == {"margin": 0.4, "alpha": 1.0, "temperature": 0.2}

    table = EmbeddingTable.read(run / "embeddings.parquet")
    names = sorted({label[0] for label in table.labels})

    def of(split: str) -> tuple[torch.Tensor, torch.Tensor]:
        part = table.of_split(split)
        return part.embeddings, torch.tensor([names.index(label[0]) for label in part.labels])

    measured = result["trials"][1]
    assert measured["val_knn"] == knn_accuracy(*of("val"), gallery=of("train"))
    assert measured["test_knn"] == knn_accuracy(*of("test"), gallery=of("train"))
    vectors, labels = of("val")
    expected = analyse_features(vectors, labels=labels)
    for name in ("uniformity", "tolerance", "effective_rank", "hubness"):
        assert measured[name] == pytest.approx(expected[name], rel=1e-6)
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["split"] == "test"

    times = {file: file.stat().st_mtime_ns for file in out.rglob("model.safetensors")}
    assert len(times) == 2
    more = run_contrast_sweep(base, out, alphas=[0.0, 0.5, 1.0], temperatures=[0.2], seeds=[0])
    assert len(more["trials"]) == 3
    assert all(file.stat().st_mtime_ns == time for file, time in times.items())
    assert Page(out / "sweep.html").data["figures"]["val_knn"]


def test_without_labels_features_are_compared_and_nothing_is_chosen(
    base: FitConfig, tmp_path: Path
) -> None:
    table = ClipTable.read(base.data)
    none = pl.Series("label", [[]] * len(table), dtype=pl.List(pl.String))
    table.with_columns(none).write(base.data)
    out = tmp_path / "sweep"
    result = run_contrast_sweep(base, out, alphas=[0.3], seeds=[0])
    assert result["chosen"] is None
    assert math.isnan(result["trials"][0]["val_knn"])
    assert math.isnan(result["trials"][0]["tolerance"])
    assert math.isfinite(result["trials"][0]["uniformity"])
    assert "Nothing is chosen" in (out / "results.md").read_text(encoding="utf-8")
    page = Page(out / "sweep.html")
    assert set(page.data["figures"]) == {"uniformity"}
    assert "No validation clip has a label" in page.words


def test_validation_chooses_and_the_test_has_no_part(made_up: Sweep, tmp_path: Path) -> None:
    def score(trial: Trial) -> dict[str, float]:
        # The best on validation is the worst on the test.
        best = trial.alpha == 0.5 and trial.temperature == 0.2
        return {"val_knn": 0.8 if best else 0.6, "test_knn": 0.3 if best else 0.9}

    grid = {"alphas": [0.0, 0.5, 1.0], "temperatures": [0.1, 0.2], "seeds": [0, 1]}
    result = made_up(tmp_path / "sweep", score, **grid)
    chosen = result["chosen"]
    assert (chosen["alpha"], chosen["temperature"]) == (0.5, 0.2)
    assert chosen["test_knn"] == {"mean": 0.3, "sd": 0.0, "n": 2}
    assert (result["baseline"]["alpha"], result["baseline"]["temperature"]) == (1.0, 0.1)
    text = (tmp_path / "sweep" / "results.md").read_text(encoding="utf-8")
    assert text.count("| **0.5** | **0.2** |") == 1
    assert "validation 0.800 ± 0.000, test 0.300 ± 0.000" in text
    saved = json.loads((tmp_path / "sweep" / "results.json").read_text(encoding="utf-8"))
    assert saved == result


def test_without_nt_xent_one_training_serves_all_temperatures(
    made_up: Sweep, tmp_path: Path
) -> None:
    trained: list[Trial] = []

    def score(trial: Trial) -> dict[str, float]:
        trained.append(trial)
        return {"val_knn": 0.5 + trial.temperature}

    grid = {"alphas": [0.0, 1.0], "temperatures": [0.1, 0.2], "seeds": [0, 1]}
    result = made_up(tmp_path / "sweep", score, **grid)
    assert len(trained) == 6
    assert len(result["trials"]) == 8
    alone = [place["val_knn"]["mean"] for place in result["grid"] if place["alpha"] == 0.0]
    assert alone == [0.6, 0.6]


def test_means_and_spreads_are_over_seeds(made_up: Sweep, tmp_path: Path) -> None:
    def score(trial: Trial) -> dict[str, float]:
        return {"val_knn": 0.5 + 0.1 * trial.seed}

    result = made_up(tmp_path / "sweep", score, alphas=[0.2], seeds=[0, 1, 2])
    value = result["grid"][0]["val_knn"]
    assert value == {"mean": pytest.approx(0.6), "sd": pytest.approx(0.1), "n": 3}
    assert math.isnan(result["grid"][0]["test_knn"]["mean"])


def test_a_place_with_fewer_runs_is_not_chosen_before_its_time(
    made_up: Sweep, tmp_path: Path
) -> None:
    out = tmp_path / "sweep"

    def score(trial: Trial) -> dict[str, float]:
        return {"val_knn": 1.0 if trial.alpha == 1.0 else 0.5}

    made_up(out, score, alphas=[0.0], seeds=[0, 1])
    made_up(out, score, alphas=[1.0], seeds=[0])
    trials = [Trial(alpha, 0.2, seed) for alpha in (0.0, 1.0) for seed in (0, 1)]
    partial = contrast_sweep._tabulate(out, trials)
    assert partial["chosen"]["alpha"] == 0.0
    assert "3 of 4 trials have finished" in Page(out / "sweep.html").words


def test_the_page_shows_the_sweep(made_up: Sweep, tmp_path: Path) -> None:
    def score(trial: Trial) -> dict[str, float]:
        value = 0.7 + 0.2 * trial.alpha * trial.temperature + 0.01 * trial.seed
        return {"val_knn": value, "test_knn": value - 0.05}

    grid = {"alphas": [0.0, 0.5, 1.0], "temperatures": [0.1, 0.4], "seeds": [0, 1]}
    made_up(tmp_path / "sweep", score, **grid)
    page = Page(tmp_path / "sweep" / "sweep.html")
    figures = page.data["figures"]
    assert set(figures) == {"val_knn", "test_knn", "uniformity", "tolerance", "plane"}
    first, second, ring = figures["val_knn"]["data"]
    assert (first["name"], second["name"]) == ("temperature 0.1", "temperature 0.4")
    assert second["x"] == [0.0, 0.5, 1.0]
    assert second["y"] == pytest.approx([0.705, 0.745, 0.785])
    assert second["error_y"]["array"] == pytest.approx([0.01 / math.sqrt(2)] * 3)
    assert (ring["x"], ring["y"]) == ([1.0], pytest.approx([0.785]))
    assert [trace["marker"]["color"] for trace in figures["uniformity"]["data"]] == [
        [0.0, 0.0],
        [0.5, 0.5],
        [1.0, 1.0],
    ]
    assert figures["plane"]["data"][0]["marker"]["color"][0] == pytest.approx(0.705)
    assert {str(a["id"]) for a in page.all("div") if "chart" in str(a.get("class"))} == set(figures)
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert {str(link["href"])[1:] for link in page.all("a")} <= ids
    assert page.words.count("✓") == 0
    assert "70.5 % ± 0.7 %" in page.words.replace("\u00a0", " ")


def test_a_folder_of_another_sweep_is_refused(
    made_up: Sweep, base: FitConfig, tmp_path: Path
) -> None:
    out = tmp_path / "sweep"
    made_up(out, lambda trial: {}, alphas=[0.5], seeds=[0])
    # Where it runs, and what is swept, are no difference.
    acl = Component("AngularContrastiveLoss", {"margin": 0.4, "alpha": 0.1})
    run_contrast_sweep(replace(base, threads=2, losses={"acl": acl}), out, alphas=[0.5], seeds=[0])
    other = replace(base, optimiser=replace(base.optimiser, epochs=2))
    with pytest.raises(UsageError, match="another experiment, whose optimiser differ"):
        run_contrast_sweep(other, out, alphas=[0.5], seeds=[0])


@pytest.mark.parametrize(
    ("change", "grid", "message"),
    [
        ({"task": "classes"}, {}, "expected task self-supervised, got classes"),
        ({"losses": {"nt": Component("NTXentLoss")}}, {}, "0 of them among its losses, nt"),
        ({}, {"alphas": []}, "at least one alpha"),
        ({}, {"alphas": [0.5, 1.5]}, r"alphas lie in \[0, 1\].*got 1.5"),
        ({}, {"temperatures": [0.0]}, "temperatures above 0, got 0.0"),
    ],
)
def test_wrong_use(
    base: FitConfig, tmp_path: Path, change: dict[str, Any], grid: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run_contrast_sweep(replace(base, **change), tmp_path / "out", **{"alphas": [0.5], **grid})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0.3", [0.3]),
        ("0, 0.1, ..., 1", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        ("1,0.5,...,0,0.05", [1.0, 0.5, 0.0, 0.05]),
    ],
)
def test_lists_of_numbers(text: str, numbers: list[float]) -> None:
    assert number_list("--alphas", text) == numbers


@pytest.mark.parametrize(
    "text",
    ["", "a", "0,...,1", "0,0.3,...,1", "0,0,...,1", "0,0.1,...", "1,2,...,0", "nan", "0,,1"],
)
def test_lists_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="--alphas: expected numbers"):
        number_list("--alphas", text)


def test_the_verb_sweeps(
    base: FitConfig, clips: ClipTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_config(replace(base, data=tmp_path / "gone"), tmp_path / "my.yaml")
    out = tmp_path / "out"
    command = ["sweep", str(base.data), "--alphas", "0.5", "--temperatures", "0.1,0.2"]
    command += ["--seeds", "1", "--out", str(out), "--config", str(tmp_path / "my.yaml")]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "2 trials; best on validation: alpha 0.5" in shown
    assert (out / "temperature0.1" / "alpha0.5-seed0" / "metrics.json").is_file()
    assert main([*command, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["grid"]) == 2
    assert main([*command[:-4], "--seeds", "0"]) == 2
