"""`tonotopy detect` on recordings: whose they are, what is said of them, and what cannot be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
from tests.cli.conftest import (
    RATE,
    RATE_OF_ALARMS,
    TONES,
    broken_sound,
    machine_sound,
    make_detector,
    write_wave,
)

from tonotopy._errors import AudioError
from tonotopy.cli import main
from tonotopy.protocols._file_summary import summarise_files
from tonotopy.protocols._window_reading import read_windows

FAN, PUMP = TONES
READ = "tonotopy.protocols.detection.read_windows"
COLUMNS = ["path", "machine", "condition", "start", "decision", "score", "p_value", "nearest_1"]


def as_json(capsys: pytest.CaptureFixture[str], *command: object) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["detect", *map(str, command), "--json"]) == 0
    parsed = json.loads(capsys.readouterr().out)
    assert isinstance(parsed, dict)
    return parsed


def error(capsys: pytest.CaptureFixture[str], *command: object) -> str:
    capsys.readouterr()
    assert main(["detect", *map(str, command)]) != 0
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    return shown.err


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    """Recordings of today: in MIMII's folders, two of them of a screeching fan."""
    folder = tmp_path / "today"
    for name in TONES:
        for number in range(3):
            wave = machine_sound(name, seed=500 + number)
            write_wave(folder / name / "normal" / f"{number}.wav", wave)
    for number in range(2):
        write_wave(folder / FAN / "abnormal" / f"{number}.wav", broken_sound(seed=number))
    return folder


def test_each_clip_is_compared_with_its_own_machine(
    watched: Path, plant: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = as_json(capsys, watched, plant)
    assert found["notes"] == []
    assert found["quarantined"] == []
    assert len(found["windows"]) == 8
    for row in found["windows"]:
        path = Path(row["path"])
        assert row["machine"] == "/".join(path.parts[-4:-2])
        assert row["machine_known"]
        assert row["condition"] == "usable"
        assert row["decision"] == ("anomaly" if "abnormal" in path.parts else "normal")
        assert (row["score"] > row["threshold"]) == (row["decision"] == "anomaly")
        assert (row["p_value"] <= RATE_OF_ALARMS) == (row["decision"] == "anomaly")
        assert row["nearest_1"].startswith(row["machine"])
        cosines = [row[f"nearest_{rank}_cosine"] for rank in (1, 2, 3)]
        assert cosines == sorted(cosines, reverse=True)
        assert 0.9 < cosines[0] <= 1 + 1e-9
        assert row["score"] == pytest.approx((1 - cosines[0]) / 2, abs=1e-9)
    assert [clip["decision"] for clip in found["clips"]] == [
        row["decision"] for row in found["windows"]
    ]


def test_the_console_shows_the_worst_first(
    watched: Path, plant: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["detect", str(watched), str(plant)]) == 0
    shown = capsys.readouterr().out
    assert shown.index("anomaly") < shown.index("normal ")
    assert "8 windows of 8 clips, 2 anomalous, 0 unusable" in shown


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json"])
def test_everything_is_written(
    watched: Path, plant: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    out = tmp_path / "new" / f"scores.{suffix}"
    found = as_json(capsys, watched, plant, "--out", out, "--nearest", 1)
    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        "csv": pl.read_csv,
        "parquet": pl.read_parquet,
        "json": pl.read_json,
    }
    read = readers[suffix](out)
    assert read["score"].to_list() == pytest.approx([row["score"] for row in found["windows"]])
    assert set(read.columns) == set(found["windows"][0])
    assert "nearest_2" not in read.columns
    assert list(out.parent.iterdir()) == [out]


def test_a_long_recording_is_judged_window_by_window(
    watched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [
        machine_sound(FAN, 3.0, seed=501),
        broken_sound(2.0),
        machine_sound(FAN, 3.4, seed=512),
    ]
    path = write_wave(tmp_path / "long.wav", np.concatenate(parts))
    found = as_json(capsys, watched, path, "--machine", FAN)
    assert [row["start"] for row in found["windows"]] == [0, 1, 2, 3, 4, 5, 6, 7]
    anomalous = [row["start"] for row in found["windows"] if row["decision"] == "anomaly"]
    assert anomalous == [3, 4]
    (clip,) = found["clips"]
    assert (clip["windows"], clip["anomalous"], clip["unusable"]) == (8, 2, 0)
    assert clip["worst_start"] in (3, 4)

    fine = as_json(capsys, watched, path, "--machine", FAN, "--hop", 0.25)
    starts = [row["start"] for row in fine["windows"]]
    assert starts == [0.25 * number for number in range(30)]
    score = {row["start"]: row["score"] for row in fine["windows"]}
    assert {row["start"]: row["score"] for row in found["windows"]} == pytest.approx(
        {start: score[start] for start in range(8)}, abs=1e-6
    )


def test_bad_input_has_a_state_of_its_own(
    watched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "bad"
    silence = 1e-6 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    waves = {
        "silent": silence,
        "missing": np.zeros(RATE, np.float32),
        "too short": machine_sound(FAN, 0.3),
        "clipped": (100 * machine_sound(FAN)).clip(-1, 1),
        "usable": machine_sound(FAN, seed=503),
    }
    for name, wave in waves.items():
        write_wave(folder / f"{name}.wav", wave)
    write_wave(folder / "low rate.wav", machine_sound(FAN, rate=4000), 4000)
    (folder / "empty.wav").write_bytes(b"")
    write_wave(folder / "nan.wav", np.full(RATE, np.nan, np.float32))

    found = as_json(capsys, watched, folder, "--machine", FAN)
    assert len(found["windows"]) == 6
    for row in found["windows"]:
        assert row["condition"] == Path(row["path"]).stem
        scored = row["condition"] in ("usable", "clipped", "low rate")
        assert (row["decision"] == "normal") == (row["condition"] == "usable")
        assert (row["score"] is None) == (not scored)
        assert (row["nearest_1"] is None) == (not scored)
        if scored and row["decision"] == "unknown":
            assert row["score"] <= row["threshold"]
    reasons = {Path(row["path"]).name: row["reason"] for row in found["quarantined"]}
    assert reasons == {"empty.wav": "empty", "nan.wav": "NaN"}
    decisions = {Path(clip["path"]).stem: clip["decision"] for clip in found["clips"]}
    assert decisions["usable"] == "normal"
    assert decisions["missing"] == "unknown"

    assert main(["detect", str(watched), str(folder), "--machine", FAN]) == 0
    shown = capsys.readouterr().out
    assert "6 windows of 6 clips" in shown
    assert "unusable; 2 files could not be used" in shown
    assert "could not be used: empty.wav" in shown


def test_another_sample_rate_is_resampled(
    watched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_wave(tmp_path / "a.wav", machine_sound(FAN, seed=504, rate=48000), 48000)
    soundfile.write(
        tmp_path / "b.wav",
        np.stack([machine_sound(FAN, seed=504, rate=48000)] * 2, axis=1),
        48000,
        subtype="FLOAT",
    )
    found = as_json(capsys, watched, path, tmp_path / "b.wav", "--machine", FAN)
    first, second = found["windows"]
    assert (first["condition"], first["decision"]) == ("usable", "normal")
    assert second["score"] == pytest.approx(first["score"], abs=1e-6)


def test_a_clip_of_an_unknown_machine_is_compared_with_all_and_marked(
    watched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_wave(tmp_path / "x" / "mill" / "a.wav", machine_sound(PUMP, seed=505))
    found = as_json(capsys, watched, tmp_path / "x")
    (row,) = found["windows"]
    assert (row["machine"], row["machine_known"]) == ("any", False)
    assert row["decision"] == "normal"
    assert row["nearest_1"].startswith(PUMP)
    (note,) = found["notes"]
    assert "1 clips are of no machine that the run knows (fan/id_00, pump/id_02)" in note
    named = as_json(capsys, watched, tmp_path / "x", "--machine", FAN)["windows"][0]
    assert (named["machine"], named["machine_known"], named["decision"]) == (FAN, True, "anomaly")


def test_folders_called_like_a_machine_name_it(
    watched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [
        write_wave(tmp_path / "pump" / "x" / "fan" / "id_00" / "day1" / "a.wav", broken_sound()),
        write_wave(tmp_path / "fan" / "id_00" / "pump" / "id_02" / "b.wav", broken_sound()),
    ]
    found = as_json(capsys, watched, *paths)
    machines = {Path(row["path"]).name: row["machine"] for row in found["windows"]}
    assert machines == {"a.wav": FAN, "b.wav": PUMP}


def test_a_table_names_the_machines(
    watched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "abc":
        write_wave(tmp_path / f"{name}.wav", machine_sound(FAN, seed=506))
    (tmp_path / "clips.csv").write_text(
        "path,machine_type,section\na.wav,fan,id_00\nb.wav,pump,id_02\nc.wav,mill,\n"
    )
    found = as_json(capsys, watched, tmp_path / "clips.csv")
    assert [row["machine"] for row in found["windows"]] == [FAN, PUMP, "any"]


def test_a_single_machine_needs_no_name(
    watched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(watched, tmp_path / "run")
    make_detector(run, [FAN])
    path = write_wave(tmp_path / "anything" / "a.wav", machine_sound(FAN, seed=507))
    found = as_json(capsys, run, path)
    assert (found["windows"][0]["machine"], found["windows"][0]["decision"]) == (FAN, "normal")
    assert found["notes"] == []


def test_a_threshold_that_never_alarms_is_told(
    watched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(watched, tmp_path / "run")
    make_detector(run, [FAN], references=5, threshold="conformal")
    path = write_wave(tmp_path / "a.wav", broken_sound())
    found = as_json(capsys, run, path, "--domain", "target")
    row = found["windows"][0]
    assert (row["decision"], row["threshold"]) == ("normal", None)
    assert "no threshold for the domain 'target'" in found["notes"][0]
    assert "never alarms" in found["notes"][1]


def test_the_threshold_of_a_domain_is_taken(
    watched: Path, plant: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(watched, tmp_path / "run")
    make_detector(run, [FAN, PUMP], threshold="conformal", rate=0.05)
    found = as_json(capsys, run, plant, "--domain", "source")
    assert found["notes"] == []
    other = as_json(capsys, run, plant, "--domain", "target")
    assert "fan/id_00 has no threshold for the domain 'target'" in other["notes"][0]
    assert len(other["notes"]) == 2  # one for each machine


def test_an_interrupted_job_goes_on(
    watched: Path,
    plant: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "scores.csv"
    whole = as_json(capsys, watched, plant)["windows"]
    monkeypatch.setattr("tonotopy.protocols.detection.SHARD", 3)
    real, calls = read_windows, []

    def interrupted(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(READ, interrupted)
    assert "goes on where it stopped" in error(capsys, watched, plant, "--out", out)
    assert not out.exists()
    resumed = as_json(capsys, watched, plant, "--out", out)["windows"]
    for one, other in zip(resumed, whole, strict=True):
        assert one == pytest.approx(other, abs=1e-6)
    assert len(calls) == 4  # two parts before, and only the third after
    assert not list(tmp_path.glob(".scores*"))


def test_parts_of_another_job_are_not_taken(
    watched: Path,
    plant: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "scores.csv"
    real = read_windows
    monkeypatch.setattr("tonotopy.protocols.detection.SHARD", 4)
    stop = [False, True]

    def interrupted(*arguments: Any) -> Any:
        if stop.pop(0):
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(READ, interrupted)
    error(capsys, watched, plant, "--out", out, "--machine", FAN)
    monkeypatch.setattr(READ, real)
    found = as_json(capsys, watched, plant, "--out", out, "--machine", PUMP)
    assert {row["machine"] for row in found["windows"]} == {PUMP}


def test_a_file_that_fails_in_the_middle_of_the_job_is_listed(
    watched: Path,
    plant: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = read_windows

    def failing(*arguments: Any) -> Any:
        broken = AudioError("gone.wav", "unreadable", "No such file")
        return [broken, *real(*arguments)[1:]]

    monkeypatch.setattr(READ, failing)
    found = as_json(capsys, watched, plant)
    assert len(found["windows"]) == 7
    assert [row["reason"] for row in found["quarantined"]] == ["unreadable"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--machine", "mill"], "no machine 'mill' is known: choose one of fan/id_00, pump/id_02"),
        (["--hop", "0"], "--hop must be positive"),
        (["--nearest", "0"], "--nearest must be at least 1"),
        (["--out", "scores.xlsx"], "ends in .csv, .parquet, .json"),
        (["--state", "state.json"], "--state is for a live stream"),
        (["--votes", "2/3"], "--votes is for a live stream"),
    ],
)
def test_wrong_use_is_explained(
    watched: Path, plant: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert message in error(capsys, watched, plant, *options)


def test_a_run_without_a_detector_is_explained(
    watched: Path, plant: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "there is no detector" in error(capsys, tmp_path, plant)
    assert "no such file or folder" in error(capsys, watched, tmp_path / "nowhere")


def test_the_decision_on_a_long_recording_allows_for_false_alarms() -> None:
    def clip(anomalous: int, windows: int, unusable: int = 0) -> dict[str, Any]:
        judged = [
            ("anomaly" if window < anomalous else "normal", float(windows - window), 0.01)
            for window in range(windows)
        ]
        rows = [*judged, *[("unknown", None, None)] * unusable]
        frame = pl.DataFrame(
            [("a.wav", FAN, "usable", float(at), *row, "n.wav") for at, row in enumerate(rows)],
            schema=COLUMNS,
            orient="row",
            infer_schema_length=None,
        )
        return summarise_files(frame, false_alarm_rate=0.05).row(0, named=True)

    assert clip(1, 1)["decision"] == "anomaly"
    assert clip(0, 1)["decision"] == "normal"
    assert clip(5, 100)["decision"] == "normal"  # as many as are to be expected
    assert clip(12, 100)["decision"] == "anomaly"
    assert clip(0, 0, unusable=3)["decision"] == "unknown"
    two_of_three = clip(2, 3, unusable=1)
    assert two_of_three["p_value"] == pytest.approx(3 * 0.05**2 * 0.95 + 0.05**3)
    assert (two_of_three["worst_start"], two_of_three["unusable"]) == (0.0, 1)
