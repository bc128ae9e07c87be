"""`tonotopy drift`: figures for every machine, in words and as JSON."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cli.conftest import RATE, TONES, broken_sound, machine_sound, make_detector, write_wave

from tonotopy.cli import main

FAN, PUMP = TONES


def as_json(capsys: pytest.CaptureFixture[str], *command: object) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["drift", *map(str, command), "--json"]) == 0
    parsed = json.loads(capsys.readouterr().out)
    assert isinstance(parsed, dict)
    return parsed


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A week of normal operation of the fan, in files of five windows, and of a pump that moved."""
    folder = tmp_path_factory.mktemp("week")
    for number in range(16):
        parts = [machine_sound(FAN, seed=800 + 5 * number + part) for part in range(5)]
        write_wave(folder / FAN / f"{number}.wav", np.concatenate(parts))
        parts = [
            machine_sound(PUMP, seed=800 + 5 * number + part)
            + broken_sound(seed=part) / np.float32(12)
            for part in range(5)
        ]
        write_wave(folder / PUMP / f"{number}.wav", np.concatenate(parts))
    return folder


def test_what_has_moved_is_told_from_what_has_not(
    watched: Path, week: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = as_json(capsys, watched, week)
    fan, pump = found["machines"][FAN], found["machines"][PUMP]
    assert list(found["machines"]) == [FAN, PUMP]
    for about in (fan, pump):
        assert (about["windows"], about["unusable"]) == (80, 0)
        assert about["drift"]["accepted"] + about["drift"]["rejected"] == 80
    assert fan["drift"]["verdict"] == "stable"
    assert fan["drift"]["reasons"] == []
    assert pump["drift"]["verdict"] in ("moderate drift", "strong drift")
    assert any("mean embedding has turned" in reason for reason in pump["drift"]["reasons"])


def test_sensitivity_is_that_of_the_accepted_windows(
    watched: Path, week: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = as_json(capsys, watched, week / FAN, "--machine", FAN)["machines"][FAN]["sensitivity"]
    assert [row["change"] for row in table] == [
        "none",
        "+6 dB",
        "-6 dB",
        "+1 % speed",
        "-1 % speed",
    ]
    assert {row["clips"] for row in table} == {20}
    none, louder = table[0], table[1]
    assert none["median_shift"] == none["newly_rejected"] == 0
    # The front end standardises every clip, so a gain is hardly heard.
    assert abs(louder["median_shift"]) < 0.2 * none["median_score"]


def test_the_console_shows_tables(
    watched: Path, week: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["drift", str(watched), str(week)]) == 0
    shown = capsys.readouterr().out
    for text in ("score distribution (PSI)", "mean embedding", "chance alone", "+6 dB", "-1 %"):
        assert text in shown
    assert f"{FAN}: stable; {PUMP}: " in shown
    assert "drift: the mean embedding has turned by" in shown.replace("\n", " ")


def test_what_cannot_be_heard_does_not_count(
    watched: Path, week: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(week, tmp_path / "week")
    write_wave(folder / FAN / "dead.wav", np.zeros(5 * RATE, np.float32))
    (folder / FAN / "empty.wav").write_bytes(b"")
    write_wave(folder / "mill" / "x.wav", broken_sound())
    found = as_json(capsys, watched, folder)
    fan = found["machines"][FAN]
    assert (fan["windows"], fan["unusable"]) == (85, 5)
    assert fan["drift"]["verdict"] == "stable"
    assert [row["reason"] for row in found["quarantined"]] == ["empty"]
    assert found["notes"] == ["1 clips are of no machine that the run knows, and were left out"]


def test_a_few_windows_are_too_few(
    watched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_wave(tmp_path / "a.wav", machine_sound(FAN, 5.0))
    found = as_json(capsys, watched, path, "--machine", FAN)
    assert found["machines"][FAN]["drift"]["verdict"] == "too few windows"

    run = shutil.copytree(watched, tmp_path / "run")
    make_detector(run, [FAN], references=5, threshold="conformal")
    found = as_json(capsys, run, path)
    assert found["machines"][FAN]["drift"] is None
    assert "too few calibration scores" in found["notes"][-1]
    assert main(["drift", str(run), str(path)]) == 0
    assert f"{FAN}: not measured" in capsys.readouterr().out


def test_no_accepted_window_leaves_nothing_to_change(
    watched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_wave(tmp_path / "a.wav", broken_sound(40.0))
    about = as_json(capsys, watched, path, "--machine", FAN)["machines"][FAN]
    assert about["sensitivity"] is None
    assert about["drift"]["verdict"] == "strong drift"
    assert about["drift"]["reasons"] == ["100% of the windows were rejected"]


def test_unknown_machines_are_refused(
    watched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_wave(tmp_path / "mill" / "a.wav", broken_sound())
    assert main(["drift", str(watched), str(path)]) == 2
    assert "name it with --machine, one of fan/id_00, pump/id_02" in capsys.readouterr().err
