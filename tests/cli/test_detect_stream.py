"""`tonotopy detect RUN -`: raw samples as they come, through pipes into processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from tests.cli.conftest import RATE, TONES, broken_sound, machine_sound, write_wave

from tonotopy._errors import UsageError
from tonotopy.cli import main
from tonotopy.protocols.detection import detect_clips
from tonotopy.protocols.live_detection import StreamOptions, detect_stream

FAN, PUMP = TONES
PATIENCE = 300.0
"""Seconds after which a process that does not answer has failed; nothing is timed."""


def command(run: Path, *options: object) -> list[str]:
    usual = ["--rate", RATE, "--machine", FAN, "--hop", 0.5, "--smoothing", 0]
    given = [run, "-", *usual, *options, "--json"]
    return [sys.executable, "-m", "tonotopy", "detect", *map(str, given)]


def raw(wave: NDArray[np.float32]) -> bytes:
    return (wave * 2**15).clip(-(2**15), 2**15 - 1).astype("<i2").tobytes()


def detect(run: Path, data: bytes, *options: object) -> tuple[dict[str, Any], str]:
    """Pipe bytes into the process; give what it prints, and what it tells meanwhile."""
    done = subprocess.run(
        command(run, *options), input=data, capture_output=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    parsed = json.loads(done.stdout)
    assert isinstance(parsed, dict)
    return parsed, done.stderr.decode()


class Pipe:
    """A stream of bytes without a process."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int, /) -> bytes:
        data, self._data = self._data[:size], self._data[size:]
        return data


def hear(run: Path, data: bytes, log: Path, **options: Any) -> tuple[dict[str, Any], list[str]]:
    """Judge bytes in this process; give what it returns, and what it tells meanwhile."""
    told: list[str] = []
    given = StreamOptions(**{"rate": RATE, "hop": 0.5, "smoothing": 0.0, **options})
    found = detect_stream(run, Pipe(data), given, machine=FAN, out=log, tell=told.append)
    return found, told


@pytest.fixture(scope="module")
def recording() -> NDArray[np.float32]:
    """A fan that screeches from second 4 to 7, and falls silent for the last two of 13."""
    return np.concatenate(
        [
            machine_sound(FAN, 4.0, seed=601),
            broken_sound(3.0),
            machine_sound(FAN, 4.0, seed=602),
            np.zeros(2 * RATE, np.float32),
        ]
    )


def test_a_stream_is_judged_and_alarms(
    watched: Path, recording: NDArray[np.float32], tmp_path: Path
) -> None:
    out = tmp_path / "log.csv"
    found, told = detect(watched, raw(recording), "--out", out, "--nearest", 2)
    log = pl.read_csv(out)
    assert len(log) == found["windows"] == 25
    assert log["start"].to_list() == [0.5 * number for number in range(25)]
    anomalous = log.filter(pl.col("decision") == "anomaly")["start"].to_list()
    # Windows that screech half of the time may be either.
    assert {4.0, 4.5, 5.0, 5.5, 6.0} <= set(anomalous) <= {3.5 + 0.5 * at for at in range(7)}
    missing = log.filter(pl.col("condition") == "missing")
    assert missing["start"].to_list() == [10.5, 11.0, 11.5, 12.0][-len(missing) :]
    assert missing["decision"].unique().to_list() == ["unknown"]
    assert missing["score"].null_count() == len(missing) >= 3
    assert log["event"].drop_nulls().to_list() == ["raised", "cleared"]
    assert (log["nearest_2_cosine"].drop_nulls() <= 1 + 1e-9).all()
    assert (found["anomalous"], found["alarms"], found["alarm"]) == (len(anomalous), 1, False)
    assert found["seconds"] == pytest.approx(13.0)
    assert "ALARM, score" in told
    assert f"most like {FAN}/normal_" in told
    assert "alarm cleared" in told
    assert "the signal is missing" in told


def test_every_format_and_rate_says_the_same(watched: Path, tmp_path: Path) -> None:
    wave = machine_sound(FAN, 3.0, seed=603, rate=48000)
    stereo = np.stack([wave, wave], axis=1)
    inputs = {
        "f32le": stereo.astype("<f4").tobytes(),
        "s32le": (stereo.astype(np.float64) * 2**31).astype("<i4").tobytes(),
        "s16le": raw(stereo),
    }
    scores = {}
    for name, data in inputs.items():
        out = tmp_path / f"{name}.jsonl"
        hear(watched, data, out, rate=48000, channels=2, format=name)
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        assert {row["decision"] for row in rows} == {"normal"}
        scores[name] = [row["score"] for row in rows]
    assert scores["s32le"] == pytest.approx(scores["f32le"], rel=1e-3)
    assert scores["s16le"] == pytest.approx(scores["f32le"], rel=0.05)


def test_a_stream_scores_as_its_recording_does(
    watched: Path, recording: NDArray[np.float32], tmp_path: Path
) -> None:
    data = raw(recording)
    write_wave(
        tmp_path / "a.wav", np.frombuffer(data, "<i2").astype(np.float32) / np.float32(2**15)
    )
    hear(watched, data, tmp_path / "log.csv", hop=1.0)
    live = pl.read_csv(tmp_path / "log.csv")
    whole = detect_clips(watched, [tmp_path / "a.wav"], machine=FAN).windows
    for column in ("start", "condition", "decision", "nearest_1"):
        assert live[column].to_list() == whole[column].to_list()
    for column in ("score", "p_value", "nearest_3_cosine"):
        # Rounding of a batch of windows differs from that of one.
        assert live[column].is_null().to_list() == whole[column].is_null().to_list()
        expected = whole[column].drop_nulls().to_list()
        assert live[column].drop_nulls().to_list() == pytest.approx(expected, abs=1e-6, rel=1e-3)


def test_nan_in_a_stream_spoils_its_windows_only(watched: Path, tmp_path: Path) -> None:
    wave = machine_sound(FAN, 4.0, seed=604).astype("<f4")
    wave[round(1.7 * RATE)] = np.nan
    out = tmp_path / "log.csv"
    hear(watched, wave.tobytes(), out, format="f32le")
    log = pl.read_csv(out)
    bad = log.filter(pl.col("condition") == "not finite")["start"].to_list()
    assert bad == [1.0, 1.5]
    assert set(log.filter(~pl.col("start").is_in(bad))["decision"]) == {"normal"}


def wait_for(path: Path, text: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not (path.is_file() and text in path.read_text()):
        assert time.monotonic() < deadline, f"{text!r} never came to {path}"
        time.sleep(0.02)


def start(run: Path, log: Path, *options: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(run, "--out", log, *options),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def feed(process: subprocess.Popen[bytes], wave: NDArray[np.float32]) -> None:
    assert process.stdin is not None
    process.stdin.write(raw(wave))
    process.stdin.flush()


def finish(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err.decode()
    parsed = json.loads(out)
    assert isinstance(parsed, dict)
    return parsed


def test_a_sensor_that_stops_is_missing_until_it_is_back(watched: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    process = start(watched, log, "--gap", 0.2)
    feed(process, machine_sound(FAN, 2.0, seed=605))
    wait_for(log, "missing")
    feed(process, machine_sound(FAN, 2.0, seed=606))
    found = finish(process)
    rows = pl.read_csv(log)
    conditions = rows["condition"].to_list()
    first, last = conditions.index("missing"), len(conditions) - conditions[::-1].index("missing")
    assert conditions[:first] == ["usable"] * 3
    assert set(conditions[first:last]) == {"missing"}
    assert conditions[last:] == ["usable"] * 3
    assert rows.filter(pl.col("condition") == "missing")["decision"].unique().to_list() == [
        "unknown"
    ]
    assert found["unusable"] == last - first
    assert rows["start"].is_sorted()


@pytest.mark.parametrize("way", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_process_is_continued(watched: Path, tmp_path: Path, way: signal.Signals) -> None:
    log, state = tmp_path / "log.csv", tmp_path / "state.json"
    process = start(watched, log, "--state", state)
    feed(process, np.concatenate([machine_sound(FAN, 2.0, seed=607), broken_sound(5.0)]))
    wait_for(log, "raised")
    wait_for(log, "\n6.0,")
    os.kill(process.pid, way)
    process.communicate(timeout=PATIENCE)
    before = pl.read_csv(log)
    assert before["alarm"][-1]

    data = raw(np.concatenate([broken_sound(2.0), machine_sound(FAN, 4.0, seed=608)]))
    found, _ = hear(watched, data, log, state=state)
    after = pl.read_csv(log)[len(before) :]
    assert after["condition"][0] == "missing"
    assert after["alarm"][0]
    assert after["event"].drop_nulls().to_list() == ["cleared"]  # the same alarm, not another
    assert after["start"].is_sorted()
    assert after["start"][0] >= 5.0
    assert found["alarms"] == 1
    if way == signal.SIGKILL:  # a power cut costs at most the windows since the last state
        assert found["windows"] <= len(before) + len(after)
    else:
        assert process.returncode == 0
        assert found["windows"] == len(before) + len(after)


def test_a_state_belongs_to_its_detector(
    watched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state.json"
    data = raw(machine_sound(FAN, 2.0))
    hear(watched, data, tmp_path / "log.csv", state=state)
    for change in ({"hop": 0.25}, {"votes": "2/5"}, {"smoothing": 1.0}, {"gap": 9.0}):
        if "gap" in change:  # is no part of what the state means
            hear(watched, data, tmp_path / "log.csv", state=state, **change)
            continue
        with pytest.raises(UsageError, match="the state of a detector with other settings"):
            hear(watched, data, tmp_path / "log.csv", state=state, **change)
    options = StreamOptions(rate=RATE, hop=0.5, smoothing=0.0, state=state)
    with pytest.raises(UsageError, match="the state of a detector with other settings"):
        detect_stream(watched, Pipe(data), options, machine=PUMP)


def test_an_empty_stream_is_told(watched: Path, tmp_path: Path) -> None:
    found, _ = hear(watched, b"", tmp_path / "log.csv")
    assert (found["windows"], found["seconds"]) == (0, 0)
    found, told = hear(watched, raw(machine_sound(FAN, 0.4)), tmp_path / "log.csv")
    assert (found["windows"], found["unusable"]) == (1, 1)
    assert any("the signal is too short" in line for line in told)


def test_drift_is_watched_in_a_stream(watched: Path) -> None:
    wave = np.concatenate([machine_sound(FAN, 1.0, seed=700 + number) for number in range(60)])
    options = StreamOptions(rate=RATE, hop=1.0)
    calm = detect_stream(watched, Pipe(raw(wave)), options, machine=FAN)["drift"]
    assert calm["accepted"] + calm["rejected"] == 60
    assert calm["verdict"] in ("stable", "moderate drift")
    moved = detect_stream(watched, Pipe(raw(2 * wave[: 40 * RATE])), options, machine=PUMP)["drift"]
    assert moved["verdict"] == "strong drift"
    assert moved["rejected"] == 40


def error(capsys: pytest.CaptureFixture[str], arguments: Sequence[object]) -> str:
    assert main(["detect", *map(str, arguments)]) == 2
    return capsys.readouterr().err


def test_wrong_use_is_explained(watched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "must be the only AUDIO" in error(capsys, [watched, "-", "a.wav", "--rate", 8000])

    def attempt(**options: Any) -> str:
        shared = {name: options.pop(name, None) for name in ("machine", "out")}
        nearest = options.pop("nearest", 3)
        with pytest.raises(UsageError) as caught:
            detect_stream(watched, Pipe(b""), StreamOptions(**options), nearest=nearest, **shared)
        return str(caught.value)

    assert "--rate is needed" in attempt(machine=FAN)
    assert "none was named: choose one of fan/id_00, pump/id_02" in attempt(rate=RATE)
    assert "--votes 3: expected M/N" in attempt(rate=RATE, machine=FAN, votes="3")
    assert "1 <= m <= n" in attempt(rate=RATE, machine=FAN, votes="4/3")
    assert "below m" in attempt(rate=RATE, machine=FAN, votes="1/3")
    assert ".csv or .jsonl" in attempt(rate=RATE, machine=FAN, out=Path("log.parquet"))
    assert "--nearest" in attempt(rate=RATE, machine=FAN, nearest=0)
