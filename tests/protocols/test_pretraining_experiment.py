"""The pre-training experiment: what trains, what is judged, and how differences are tabulated."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
from rich.console import Console
from scipy import stats

from tonotopy import AudioEmbedder
from tonotopy._components import Component
from tonotopy._errors import DataError, UsageError
from tonotopy.cli import main
from tonotopy.cli._reproduce_pretraining import _show
from tonotopy.clips import ClipTable, scan, window_clips
from tonotopy.protocols import evaluate_run
from tonotopy.protocols._pretraining_models import losses_of
from tonotopy.protocols._pretraining_tables import correlations, paired_differences
from tonotopy.protocols.pretraining_experiment import (
    Trial,
    make_trials,
    run_pretraining_experiment,
)
from tonotopy.training import FitConfig, OptimiserOptions
from tonotopy.training.config import read_config
from tonotopy.training.self_supervised_options import SelfSupervisedOptions

RATE = 16000


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, ClipTable]:
    """Two classes in four folds, and a third class that lies in one fold."""
    random = np.random.default_rng(0)
    rows = ["path,label,fold"]
    for label, frequency, folds in (
        ("low", 300.0, "1234"),
        ("high", 2500.0, "1234"),
        ("x", 9, "1"),
    ):
        for fold in folds:
            for number in range(5):
                name = f"{label}-{fold}-{number}.wav"
                time = np.arange(RATE // 4) / RATE
                wave = np.sin(2 * np.pi * frequency * time) + 0.1 * random.standard_normal(
                    len(time)
                )
                soundfile.write(tmp_path / name, 0.3 * wave, RATE)
                rows.append(f"{name},{label},{fold}")
    (tmp_path / "clips.csv").write_text("\n".join(rows) + "\n")
    return {"tones": scan(tmp_path / "clips.csv")}


@pytest.fixture
def base(tmp_path: Path) -> FitConfig:
    return FitConfig(
        data=tmp_path,
        task="self-supervised",
        front_end=Component("LogMel", {"n_mels": 16}),
        encoder=Component("ConvNet", {"width": 4, "embedding_dim": 8}),
        augmentations=[Component("FeatureNoise")],
        self_supervised=SelfSupervisedOptions(view_seconds=0.1, projection=[8, 8]),
        optimiser=OptimiserOptions(epochs=1, warmup_epochs=0.0),
        threads=1,
        accelerator="cpu",
        cache=tmp_path / "cache",
    )


def test_trains_on_all_folds_but_one_and_judges_that(
    sources: dict[str, ClipTable], base: FitConfig, tmp_path: Path
) -> None:
    trials = make_trials(["random", "ntxent", "acl-0.5", "ntxent-h"], [0.2], [0, 1])
    out = tmp_path / "out"
    result = run_pretraining_experiment(base, sources, out, trials=trials)
    assert [trial["row"] for trial in result["trials"]] == [
        "random",
        "ntxent, τ 0.2",
        "acl-0.5, τ 0.2",
        "ntxent-h, τ 0.2",
    ] * 2
    trained = ClipTable.read(out / "ntxent-tau0.2" / "seed1" / "clips.parquet")
    assert set(trained.frame["fold"]) == {"1", "2", "3"}
    assert set(trained.frame["split"]) == {"train"}
    assert not any(trained.labels)
    metrics = json.loads((out / "random" / "seed0" / "metrics.json").read_text())
    found = metrics["sources"]["tones"]
    assert found["classes"] == ["high", "low"]  # the class of one fold cannot be judged
    assert found["clips"] == {"train": 20, "val": 10, "test": 10}
    assert "acl-0.5" in (out / "findings.md").read_text()
    assert read_config(out / "ntxent-h-tau0.2" / "seed0" / "config.yaml").losses == {
        "ntxent": Component("NTXentLoss", {"temperature": 0.2})
    }
    projections = [
        read_config(out / name / "seed0" / "config.yaml").self_supervised.projection
        for name in ("ntxent-tau0.2", "ntxent-h-tau0.2")
    ]
    assert projections == [[8, 8], []]
    one, other = (
        AudioEmbedder.from_pretrained(out / "ntxent-tau0.2" / f"seed{seed}") for seed in (0, 1)
    )
    assert one.fingerprint != other.fingerprint

    weights = out / "ntxent-tau0.2" / "seed0" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    (out / "ntxent-tau0.2" / "seed0" / "metrics.json").unlink()
    again = run_pretraining_experiment(base, sources, out, trials=trials)
    assert weights.stat().st_mtime_ns == before  # probed again, not trained again
    assert again["table"] == result["table"]

    # Whoever evaluates a trial's model writes over what the trial has left.
    evaluate_run(out / "ntxent-tau0.2" / "seed0", command="")
    with pytest.raises(DataError, match=r"lacks 'sources'.*delete it"):
        run_pretraining_experiment(base, sources, out, trials=trials)

    with pytest.raises(UsageError, match="another experiment"):
        run_pretraining_experiment(
            replace(base, optimiser=OptimiserOptions(epochs=2)), sources, out, trials=trials
        )


def test_trials_without_temperature_run_once() -> None:
    trials = make_trials(["yamnet", "random", "amc", "ntxent"], [0.1, 0.5], [0, 1])
    assert [(t.method, t.temperature, t.seed) for t in trials] == [
        ("yamnet", 0.0, 0),
        ("random", 0.0, 0),
        ("amc", 0.0, 0),
        ("ntxent", 0.1, 0),
        ("ntxent", 0.5, 0),
        ("random", 0.0, 1),
        ("amc", 0.0, 1),
        ("ntxent", 0.1, 1),
        ("ntxent", 0.5, 1),
    ]
    assert Trial("ntxent", 0.1, 3).folder == "ntxent-tau0.1/seed3"


@pytest.mark.parametrize("method", ["acl", "acl-1.5", "acl-x", "byol"])
def test_unknown_methods_are_refused(method: str) -> None:
    with pytest.raises(UsageError, match="no method"):
        losses_of(method, 0.2)


def test_what_cannot_be_probed_is_refused_before_training(
    sources: dict[str, ClipTable], base: FitConfig, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    trials = make_trials(["ntxent", "vgg"], [0.2], [0])
    with pytest.raises(UsageError, match="needs VGG_best"):
        run_pretraining_experiment(base, sources, out, trials=trials, encoders=tmp_path)
    with pytest.raises(UsageError, match="test_fold '9' does not exist"):
        run_pretraining_experiment(base, sources, out, trials=trials[:1], test_fold="9")
    with pytest.raises(UsageError, match="both '3'"):
        run_pretraining_experiment(base, sources, out, trials=trials[:1], test_fold="3")
    low = sources["tones"].filter(pl.col("label").list.first() != "high")
    with pytest.raises(DataError, match="few cannot be probed: 1 of its classes"):
        run_pretraining_experiment(base, {"few": low}, out, trials=trials[:1])
    assert not out.exists()


def test_differences_are_paired_by_seed_and_temperature() -> None:
    def row(method: str, temperature: float, seed: int, value: float) -> dict[str, float | str]:
        name = f"{method}, τ {temperature:g}" if temperature else method
        return {
            "method": method,
            "temperature": temperature,
            "seed": seed,
            "row": name,
            "m": value,
        }

    trials = [
        *(row("ntxent", 0.2, seed, value) for seed, value in enumerate((0.50, 0.60, 0.70))),
        *(row("acl-0.3", 0.2, seed, value) for seed, value in enumerate((0.53, 0.61, 0.72))),
        row("amc", 0.0, 0, 0.40),
        row("ntxent", 0.5, 0, 0.10),
        row("acl-0.3", 0.5, 0, 0.30),
    ]
    by_row = {found["row"]: found for found in paired_differences(trials, "m")}
    acl = by_row["acl-0.3, τ 0.2"]
    differences = [0.03, 0.01, 0.02]
    low, high = stats.t.interval(0.95, 2, np.mean(differences), stats.sem(differences))
    assert acl["mean"] == pytest.approx(0.02)
    assert acl["half_width"] == pytest.approx((high - low) / 2)
    assert acl["seeds"] == 3
    assert by_row["amc"]["mean"] == pytest.approx(-0.1)
    assert math.isnan(float(by_row["amc"]["half_width"]))
    assert by_row["acl-0.3, τ 0.5"]["mean"] == pytest.approx(0.2)


def test_correlations_are_over_models_with_a_temperature() -> None:
    features = ("uniformity", "tolerance", "rank", "hubness")
    trials = [
        {
            "method": "ntxent",
            "temperature": 0.1 * (1 + i),
            "a linear": float(i),
            **{f"a {name}": float(-i) for name in features},
        }
        for i in range(4)
    ]
    trials.append({"method": "random", "temperature": 0.0, "a linear": 9.0, "a uniformity": 9.0})
    assert correlations(trials, "a")["uniformity"][0] == pytest.approx(-1.0)
    assert correlations(trials, "a")["uniformity"][2] == 4


def test_data_are_named_and_have_folds(
    sources: dict[str, ClipTable], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources["tones"].with_columns(
        pl.Series("fold", [None] * len(sources["tones"]), dtype=pl.String)
    ).write(tmp_path / "bare.parquet")
    window_clips(sources["tones"], 0.1).write(tmp_path / "cut.parquet")
    whole = f"x={tmp_path}/clips.csv"
    for given, message in (
        ("[x]", "NAME=PATH"),
        (f"[x={tmp_path}/bare.parquet]", "no folds"),
        (f"[x={tmp_path}/cut.parquet]", "windows"),
        (f"[{whole}, {whole}]", "names x twice"),
    ):
        assert main(["reproduce", "pretraining", "--data", given]) == 2
        assert message in capsys.readouterr().err
    assert main(["reproduce", "pretraining", "--data", f"[{whole}]", "--seeds", "0"]) == 2
    assert "--seeds" in capsys.readouterr().err


def test_accuracies_are_shown_on_a_terminal_of_80_columns() -> None:
    spread = {"mean": 0.612, "sd": 0.034, "n": 3}
    measures = ("linear", "kNN", "uniformity", "tolerance", "rank", "hubness")
    row = {f"{source} {name}": spread for source in ("esc50", "[bold]") for name in measures}
    printed = StringIO()
    console = Console(width=80, file=printed)
    _show(console, {"acl-0.75, τ 0.05": row, "random": row}, ["esc50", "[bold]"])
    lines = printed.getvalue().splitlines()
    shown = [line.replace("│", " ").split() for line in lines if "acl-0.75, τ 0.05" in line]
    accuracy = ["0.612", "±", "0.034"]
    assert shown == [["acl-0.75,", "τ", "0.05", "3", *accuracy, *accuracy]] * 2  # on one line each
    assert sum("[bold]" in line for line in lines) == 1
