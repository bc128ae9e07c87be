"""The comparison of losses: resumable, and its table right."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tonotopy._components import Component
from tonotopy._errors import UsageError
from tonotopy.clips import scan_files
from tonotopy.protocols.add_experiment import MEASURES, METHODS, Trial, run_add_experiment
from tonotopy.training import FitConfig, OptimiserOptions


@pytest.fixture
def base(tmp_path: Path, write_tone: Callable[..., Path]) -> FitConfig:
    """Two classes of tones in two folds."""
    rows = []
    for number in range(12):
        name, frequency = ("low", 300.0) if number % 2 else ("high", 3000.0)
        file = f"{number}.wav"
        write_tone(tmp_path / "audio" / file, seconds=0.2, frequency=frequency + 5 * number)
        rows.append((file, (name,), str(1 + number // 6), None))
    clips = tmp_path / "clips.parquet"
    scan_files(tmp_path / "audio", rows).write(clips)
    return FitConfig(
        data=clips,
        encoder=Component("ConvNet", {"width": 2, "embedding_dim": 4}),
        batches=Component("PKBatchSampler", {"classes_per_batch": 2, "clips_per_class": 3}),
        optimiser=OptimiserOptions(epochs=1, warmup_epochs=0),
        accelerator="cpu",
        threads=1,
        cache=tmp_path / "cache",
    )


def test_every_method_trains_and_is_tabulated(base: FitConfig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run_add_experiment(base, out, folds=["2"], seeds=[0])
    assert [trial["method"] for trial in result["trials"]] == list(METHODS)
    for row in result["table"].values():
        assert set(row) == set(MEASURES)
        assert row["accuracy"]["n"] == 1
        assert math.isnan(row["accuracy"]["sd"])
    assert json.loads((out / "results.json").read_text())["table"].keys() == METHODS.keys()
    assert (out / "results.md").read_text().count("\n") == 2 + len(METHODS)


def test_finished_trials_are_kept_and_the_rest_is_run(base: FitConfig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_add_experiment(base, out, methods=["ce"], folds=["1"], seeds=[0])
    model = out / Trial("ce", "1", 0).folder / "model.safetensors"
    before = model.stat().st_mtime_ns
    result = run_add_experiment(base, out, methods=["ce"], folds=["1", "2"], seeds=[0])
    assert model.stat().st_mtime_ns == before
    assert result["table"]["ce"]["accuracy"]["n"] == 2
    values = [trial["accuracy"] for trial in result["trials"]]
    assert result["table"]["ce"]["accuracy"]["mean"] == pytest.approx(sum(values) / 2)


def test_the_tested_fold_has_no_part_in_training(base: FitConfig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_add_experiment(base, out, methods=["ce"], folds=["1"], seeds=[0])
    metrics = json.loads((out / Trial("ce", "1", 0).folder / "metrics.json").read_text())
    assert metrics["split"] == "test"
    assert metrics["num_clips"] == 6
    log = (out / Trial("ce", "1", 0).folder / "logs" / "metrics.csv").read_text()
    assert "val/" not in log


def test_an_unknown_method_is_named(base: FitConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'arc'"):
        run_add_experiment(replace(base), tmp_path / "out", methods=["arc"])
