"""The detector of a run: kept, loaded, calibrated anew, and true to what it says of itself."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
import torch

from tonotopy._components import Component
from tonotopy._errors import DataError, UsageError
from tonotopy.audio import decode
from tonotopy.cli import main
from tonotopy.detection import ANY_MACHINE, Detector, References
from tonotopy.protocols import complete_run
from tonotopy.protocols.machine_scores import calibrate_run
from tonotopy.training import FitConfig, OptimiserOptions, SplitOptions, fit
from tonotopy.training.anomaly_options import AnomalyOptions

RATE = 16000
SCORERS = [
    "NearestNeighbourScorer",
    "KMeansScorer",
    "GaussianMixtureScorer",
    "MahalanobisScorer",
    "LocalOutlierFactorScorer",
    "SubcentreScorer",
]


def hum(path: Path, frequencies: list[float], seed: int) -> Path:
    random = np.random.default_rng(seed)
    time = np.arange(round(0.3 * RATE)) / RATE
    wave = 0.03 * random.standard_normal(len(time))
    for frequency in frequencies:
        wave += 0.2 * np.sin(2 * np.pi * (frequency * time + random.uniform()))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave.astype(np.float32), RATE)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over a fan and a pump, with anomalies of the fan in the test."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("plant")
    for kind, tone in (("fan", 400.0), ("pump", 1800.0)):
        for number in range(40):
            name = folder / "data" / kind / "id_00" / "normal" / f"{number:03d}.wav"
            hum(name, [tone], seed=number + int(tone))
    for number in range(8):
        name = folder / "data" / "fan" / "id_00" / "abnormal" / f"{number:03d}.wav"
        hum(name, [400.0, 3000.0], seed=9000 + number)
    config = FitConfig(
        data=folder / "data",
        run=folder / "run",
        task="anomaly",
        front_end=Component("LogMel", {"n_mels": 32}),
        encoder=Component("ConvNet", {"width": 4, "embedding_dim": 16, "dropout": 0.0}),
        augmentations=[],
        batches=Component("ShuffledBatchSampler", {"batch_size": 16}),
        split=SplitOptions(test_fraction=0.25, val_fraction=0.5),
        optimiser=OptimiserOptions(epochs=15, learning_rate=1e-2),
        anomaly=AnomalyOptions(false_alarm_rate=0.1),
        keep="last",
        accelerator="cpu",
        threads=1,
        cache=folder / "cache",
    )
    complete_run(fit(config), command="tonotopy fit data --task anomaly")
    return folder / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_what_is_measured_follows_from_the_scores(finished: Path) -> None:
    found = json.loads((finished / "metrics.json").read_text())["anomaly"]
    scores = pl.read_parquet(finished / "detector" / "scores.parquet")
    assert set(found["machines"]) == {"fan/id_00", "pump/id_00"}
    fan = found["machines"]["fan/id_00"]
    test = scores.filter(pl.col("machine") == "fan/id_00", pl.col("split") == "test")
    normal = test.filter(pl.col("condition") == "normal")["score"].to_numpy()
    anomalous = test.filter(pl.col("condition") == "anomaly")["score"].to_numpy()
    assert (fan["test_normals"], fan["test_anomalies"]) == (len(normal), len(anomalous)) == (10, 8)
    auc = np.mean([(a > n) + 0.5 * (a == n) for a in anomalous for n in normal])
    assert fan["scores"]["auc"] == pytest.approx(auc)
    threshold = fan["thresholds"]["all"]["value"]
    assert fan["false_alarms"] == (normal > threshold).sum()
    assert fan["detected"] == (anomalous > threshold).sum()
    assert fan["calibrated_on"] == "held-out"
    assert found["machines"]["pump/id_00"]["scores"] is None
    assert (scores["anomalous"] == (scores["p_value"] <= 0.1)).all()


def test_references_are_scored_as_if_they_were_none(finished: Path) -> None:
    scores = pl.read_parquet(finished / "detector" / "scores.parquet")
    assert (scores.filter(pl.col("split") == "train")["score"] > 1e-9).all()


def test_a_loaded_detector_gives_the_scores_of_the_run(finished: Path) -> None:
    detector = Detector.load(finished)
    assert detector.names == ["fan/id_00", "pump/id_00"]
    scores = pl.read_parquet(finished / "detector" / "scores.parquet")
    test = scores.filter(pl.col("machine") == "fan/id_00", pl.col("split") == "test")
    waves = [torch.from_numpy(decode(path, RATE)) for path in test["path"]]
    judged = detector.judge(detector.embed(waves), detector.machine("fan/id_00"))
    np.testing.assert_allclose(judged["score"], test["score"], rtol=1e-4, atol=1e-7)
    assert judged["anomalous"].to_list() == test["anomalous"].to_list()
    near = judged["nearest"].to_list()
    assert all(len(paths) == 3 and all("fan/id_00/normal" in p for p in paths) for paths in near)
    cosines = np.array(judged["nearest_cosine"].to_list())
    assert (np.diff(cosines, axis=1) <= 0).all()


def test_another_machine_is_told(finished: Path) -> None:
    detector = Detector.load(finished)
    pump = sorted((finished.parent / "data" / "pump").rglob("*.wav"))[:5]
    waves = [torch.from_numpy(decode(path, RATE)) for path in pump]
    judged = detector.judge(detector.embed(waves), detector.machine("fan/id_00"))
    assert judged["other_machine"].all()
    assert set(judged["sounds_like"]) == {"pump, id_00"}
    right = detector.judge(detector.embed(waves), detector.machine("pump/id_00"))
    assert not right["other_machine"].any()
    assert (judged["score"] > right["score"]).all()


def test_machines_are_named_where_there_are_several(finished: Path) -> None:
    detector = Detector.load(finished)
    with pytest.raises(UsageError, match="fan/id_00, pump/id_00"):
        detector.machine()
    with pytest.raises(UsageError, match="no machine 'valve' is known"):
        detector.machine("valve")
    everything = detector.machine(ANY_MACHINE)
    assert len(everything.references) == len(detector.references)


@pytest.mark.parametrize("scorer", SCORERS)
def test_every_scorer_calibrates_without_training(run: Path, scorer: str) -> None:
    before = (run / "model.safetensors").read_bytes()
    metrics = calibrate_run(run, command="x", scorer=Component(scorer))
    assert metrics["anomaly"]["scorer"]["class_path"].endswith(scorer)
    assert (run / "model.safetensors").read_bytes() == before
    assert Detector.load(run).options.scorer.class_path.endswith(scorer)
    assert metrics["anomaly"]["machines"]["fan/id_00"]["scores"]["auc"] > 0.7


def test_a_rate_that_the_clips_are_too_few_for_never_alarms(run: Path) -> None:
    metrics = calibrate_run(run, command="x", false_alarm_rate=0.001)
    fan = metrics["anomaly"]["machines"]["fan/id_00"]
    assert fan["thresholds"]["all"]["value"] == math.inf
    assert "999" in fan["thresholds"]["all"]["guarantee"]
    assert fan["false_alarms"] == fan["detected"] == 0
    # Written as null, and read again.
    assert Detector.load(run).machine("fan/id_00").threshold().value == math.inf
    assert "never alarms" in (run / "report.html").read_text()


def test_leave_one_out_uses_the_references(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = calibrate_run(run, command="x", calibrate_on="leave-one-out")
    fan = metrics["anomaly"]["machines"]["fan/id_00"]
    assert fan["calibrated_on"] == "leave-one-out"
    assert fan["thresholds"]["all"]["calibration_clips"] == fan["references"]
    # What is promised is not kept for clips that trained the model, and that is said.
    assert "trained the model" in fan["thresholds"]["all"]["guarantee"]
    assert "fan/id_00, pump/id_00) have too few held-out clips" in capsys.readouterr().err


def test_what_a_threshold_needs_is_said_with_the_machine(run: Path) -> None:
    with pytest.raises(UsageError, match="no pareto threshold for fan/id_00"):
        calibrate_run(run, command="x", threshold="pareto")
    # The detector is as it was.
    assert Detector.load(run).options.threshold == "conformal"


def test_a_rebuilt_detector_is_the_first_one(run: Path) -> None:
    first = (run / "detector" / "detector.json").read_text()
    calibrate_run(run, command="x", scorer=Component("KMeansScorer"))
    assert (run / "detector" / "detector.json").read_text() != first
    calibrate_run(run, command="x", rebuild=True)
    assert (run / "detector" / "detector.json").read_text() == first


def test_references_of_another_model_are_refused(run: Path) -> None:
    path = run / "detector" / "references.parquet"
    known = References.read(path)
    replace(known, model="0" * 32).write(path)
    with pytest.raises(DataError, match="00000000"):
        Detector.load(run)


def test_a_damaged_detector_names_the_remedy(run: Path) -> None:
    (run / "detector" / "detector.json").write_text("{")
    with pytest.raises(DataError, match="tonotopy calibrate"):
        Detector.load(run)
    shutil.rmtree(run / "detector")
    with pytest.raises(UsageError, match="--task anomaly"):
        Detector.load(run)


def test_the_verb_says_what_it_did(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    scorer = "{class_path: NearestNeighbourScorer, init_args: {density: ratio}}"
    assert main(["calibrate", str(run), "--scorer", scorer, "--false_alarm_rate", "0.2"]) == 0
    said = capsys.readouterr().out
    assert "fan/id_00" in said
    assert "2 machines, NearestNeighbourScorer, 20.00% of normal windows may alarm" in said
    for rate in ("2", "0"):
        assert main(["calibrate", str(run), "--false_alarm_rate", rate]) == 2
        assert "between 0 and 1" in capsys.readouterr().err
    assert main(["calibrate", str(run), "--false_alarm_rate", "0.001"]) == 0
    assert "2 of them NEVER ALARM" in capsys.readouterr().out


def test_evaluating_again_keeps_what_was_measured(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    before = json.loads((run / "metrics.json").read_text())
    assert main(["evaluate", str(run)]) == 0
    assert json.loads((run / "metrics.json").read_text()) == before
    assert f"AUC {before['anomaly']['hmean']['auc']:.3f}" in capsys.readouterr().out
    assert main(["evaluate", str(run), str(run)]) == 2
    assert "tonotopy detect" in capsys.readouterr().err


def test_a_run_of_another_task_is_refused(
    tmp_path: Path, write_tone: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text("data: x\n")
    assert main(["calibrate", str(tmp_path)]) == 2
    assert "--task anomaly" in capsys.readouterr().err
