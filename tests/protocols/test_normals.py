"""New normal clips without training: scores fall, thresholds follow, and undo is exact."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tonotopy._components import Component
from tonotopy._errors import DataError, UsageError
from tonotopy.audio import decode
from tonotopy.cli import main
from tonotopy.clips import ClipTable
from tonotopy.detection import Detector
from tonotopy.protocols import complete_run
from tonotopy.protocols.normals import add_normals, list_changes, undo_normals
from tonotopy.training import FitConfig, OptimiserOptions, SplitOptions, fit
from tonotopy.training.anomaly_options import AnomalyOptions

RATE = 16000


def hum(path: Path, frequency: float, seed: int) -> Path:
    random = np.random.default_rng(seed)
    time = np.arange(round(0.2 * RATE)) / RATE
    wave = 0.2 * np.sin(2 * np.pi * frequency * time) + 0.03 * random.standard_normal(len(time))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave.astype(np.float32), RATE)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("plant")
    for kind, tone in (("fan", 400.0), ("pump", 1800.0)):
        for number in range(16):
            hum(folder / "data" / kind / f"{number:03d}.wav", tone, seed=number)
    for number in range(4):
        hum(folder / "serviced" / f"{number}.wav", 5000.0, seed=100 + number)
    config = FitConfig(
        data=folder / "data",
        run=folder / "run",
        task="anomaly",
        front_end=Component("LogMel", {"n_mels": 32}),
        encoder=Component("ConvNet", {"width": 4, "embedding_dim": 8, "dropout": 0.0}),
        augmentations=[],
        batches=Component("ShuffledBatchSampler", {"batch_size": 8}),
        split=SplitOptions(test_fraction=0.0, val_fraction=0.0),
        optimiser=OptimiserOptions(epochs=15, learning_rate=1e-2),
        anomaly=AnomalyOptions(false_alarm_rate=0.2, scorer=Component("KMeansScorer")),
        keep="last",
        accelerator="cpu",
        threads=1,
        cache=folder / "cache",
    )
    complete_run(fit(config), command="tonotopy fit data --task anomaly")
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished / "run", tmp_path / "run"))


def serviced(finished: Path) -> list[Path]:
    return sorted((finished / "serviced").glob("*.wav"))


def scores(run: Path, clips: list[Path]) -> torch.Tensor:
    detector = Detector.load(run)
    embeddings = detector.embed([torch.from_numpy(decode(path, RATE)) for path in clips])
    return detector.machine("fan").score(embeddings)


def test_what_was_registered_is_normal_until_it_is_undone(finished: Path, run: Path) -> None:
    clips = serviced(finished)
    weights = (run / "model.safetensors").read_bytes()
    before = scores(run, clips)
    done = add_normals(run, clips[:3], command="x", machine="fan", note="new bearing")
    assert done.change.machines == {"fan": 3}
    after = scores(run, clips)
    assert (after[:3] < 1e-6).all()  # each is its own reference
    assert after[3] < before[3]
    assert (run / "model.safetensors").read_bytes() == weights
    assert [change.note for change in list_changes(run)] == ["new bearing"]

    undone = undo_normals(run, command="x", note="wrong machine")
    assert undone.change.action == "undo"
    assert torch.equal(scores(run, clips), before)
    assert undone.after == done.before
    with pytest.raises(UsageError, match="nothing to undo"):
        undo_normals(run, command="x")


def test_thresholds_and_report_follow(finished: Path, run: Path) -> None:
    add_normals(run, serviced(finished), command="x", machine="fan")
    found = json.loads((run / "metrics.json").read_text())["anomaly"]["machines"]["fan"]
    assert found["references"] == 20
    assert found["thresholds"]["all"]["calibration_clips"] == 20
    assert 'fan</th><td class="number">20</td>' in (run / "report.html").read_text()


def test_the_same_clip_counts_once(finished: Path, run: Path) -> None:
    clips = serviced(finished)
    add_normals(run, clips[:2], command="x", machine="fan")
    done = add_normals(run, clips, command="x", machine="fan")
    assert done.change.machines == {"fan": 2}
    assert done.change.skipped == {"fan": 2}
    with pytest.raises(UsageError, match="references already"):
        add_normals(run, clips, command="x", machine="fan")


def test_the_machine_must_be_known(finished: Path, run: Path) -> None:
    with pytest.raises(UsageError, match="--machine"):
        add_normals(run, serviced(finished), command="x")
    with pytest.raises(UsageError, match="no machine 'valve'"):
        add_normals(run, serviced(finished), command="x", machine="valve")


def test_silence_is_never_normal(finished: Path, run: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE // 5, np.float32), RATE)
    before = (run / "detector" / "references.parquet").read_bytes()
    with pytest.raises(DataError, match="nothing can be normal"):
        add_normals(run, [tmp_path / "silent.wav"], command="x", machine="fan")
    assert (run / "detector" / "references.parquet").read_bytes() == before
    both = [tmp_path / "silent.wav", serviced(finished)[0]]
    done = add_normals(run, both, command="x", machine="fan")
    assert done.change.machines == {"fan": 1}
    assert len(done.quarantine) == 1


def test_a_dead_sensor_in_the_training_data_is_no_reference(
    finished: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = ClipTable.read(run / "clips.parquet")
    dead = clips.paths[0]
    before = dead.read_bytes()
    soundfile.write(dead, np.zeros(RATE // 5, np.float32), RATE)
    try:
        assert main(["calibrate", str(run), "--rebuild", "true"]) == 0
    finally:
        dead.write_bytes(before)
    assert "1 of 32 normal windows cannot be judged" in capsys.readouterr().err
    assert str(dead) not in Detector.load(run).references.frame["path"].to_list()


def test_an_interruption_before_the_thresholds_heals(finished: Path, run: Path) -> None:
    before = (run / "detector" / "detector.json").read_bytes()
    add_normals(run, serviced(finished), command="x", machine="fan")
    whole = Detector.load(run).machine("fan").threshold()
    # The references were written, and the thresholds were not.
    (run / "detector" / "detector.json").write_bytes(before)
    assert Detector.load(run).machine("fan").threshold() == whole


def test_the_verb(finished: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(finished / "serviced")
    assert main(["normals", str(run), folder, "--machine", "fan", "--note", "service"]) == 0
    assert "4 windows added to the normal ones of fan" in capsys.readouterr().out
    assert main(["normals", str(run)]) == 0
    said = capsys.readouterr().out
    assert "service" in said
    assert "1 changes since the training" in said
    assert main(["normals", str(run), "--undo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["machines"] == {"fan": 4}
    assert main(["normals", str(run), folder, "--undo"]) == 2
