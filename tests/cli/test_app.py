"""Verbs, help, exit codes and messages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from tonotopy.cli import main
from tonotopy.cli._app import VERBS
from tonotopy.training.presets import preset_files


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert f"tonotopy {verb}" in shown
    assert "--json" in shown


def test_top_level_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in VERBS)
    assert main(["--version"]) == 0
    assert main([]) == 2


def test_unknown_verbs_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fti"]) == 2
    assert "no verb 'fti'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["scan", ".", "--label_colums", "[a]"])
    assert stop.value.code == 2


def test_the_installed_command_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tonotopy", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("tonotopy ")


@pytest.mark.parametrize("name", list(preset_files()))
def test_every_preset_is_a_configuration(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["fit", "somewhere", "--preset", name, "--print_config"])
    assert stop.value.code == 0
    assert "losses:" in capsys.readouterr().out


def test_presets_lie_over_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "somewhere", "--preset", "accurate,add-gram", "--print_config"])
    shown = capsys.readouterr().out
    assert "width: 32" in shown
    assert "form: gram" in shown
    assert main(["fit", "somewhere", "--preset", "acurate"]) == 2


def test_components_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--components"]) == 0
    shown = capsys.readouterr().out
    for name in ("LogMel", "ResNet18", "AngularDistanceDistributionLoss", "SpecAugment"):
        assert name in shown


def test_datasets_are_listed_and_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets"]) == 0
    assert "urbansound8k" in capsys.readouterr().out
    assert main(["datasets", "ESC50"]) == 0
    assert "meta/esc50.csv" in capsys.readouterr().out
    assert main(["datasets", "esc51"]) == 2
    assert "did you mean 'esc-50'" in capsys.readouterr().err


def _fails(capsys: pytest.CaptureFixture[str], command: list[str], code: int, *parts: str) -> None:
    assert main(command) == code
    message = capsys.readouterr().err
    for part in parts:
        assert part in message, message


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in (["scan"], ["fit", "--run", str(tmp_path / "run")]):
        _fails(capsys, [*verb, str(tmp_path)], 1, "no usable audio", "WAV, FLAC, OGG or MP3")
    assert not (tmp_path / "run").exists()


def test_one_class(
    tmp_path: Path, write_tone: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        write_tone(tmp_path / "data" / "a" / f"{number}.wav", frequency=300.0 + number)
    command = ["fit", str(tmp_path / "data"), "--run", str(tmp_path / "run")]
    _fails(capsys, command, 1, "at least two classes", "only 'a'")
    assert not (tmp_path / "run").exists()


def test_an_existing_run_is_never_overwritten(
    tmp_path: Path, write_tone: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write_tone(tmp_path / "data" / "a" / "x.wav")
    keep = tmp_path / "run" / "mine.txt"
    keep.parent.mkdir()
    keep.write_text("mine")
    command = ["fit", str(tmp_path / "data"), "--run", str(tmp_path / "run")]
    _fails(capsys, command, 2, "exists already", "--resume")
    assert keep.read_text() == "mine"


def test_a_misspelt_key_in_a_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("data: sounds\noptimiser: {epoch: 3}\n")
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(file)])
    assert stop.value.code == 2
    assert "epoch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--encoder", "ResNet81"], ("no Encoder named 'ResNet81'", "ResNet18")),
        (["--encoder", "{class_path: ConvNet, init_args: {widht: 3}}"], ("widht", "'width'")),
        (["--losses", "{ce: CrossEntropyLos}"], ("did you mean 'CrossEntropyLoss'",)),
        (["--split.test_fold", "7"], ("test_fold '7' does not exist",)),
        (["--optimiser.epochs", "0"], ("optimiser.epochs must be positive",)),
        (["--monitor", "val/acuracy"], ("val/acuracy", "val/accuracy")),
    ],
)
def test_wrong_options_name_the_right_ones(
    tmp_path: Path,
    write_tone: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    parts: tuple[str, ...],
) -> None:
    for label, frequency in (("a", 300.0), ("b", 900.0)):
        for number in range(4):
            write_tone(
                tmp_path / "data" / label / f"{number}.wav",
                seconds=0.2,
                frequency=frequency + number,
            )
    command = ["fit", str(tmp_path / "data"), "--run", str(tmp_path / "run"), *options]
    _fails(capsys, command, 2, *parts)
    assert not (tmp_path / "run").exists()


def test_nothing_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "none")
    _fails(capsys, ["scan", missing], 2, "none")
    _fails(capsys, ["fit"], 2, "tonotopy fit DATA")
    _fails(capsys, ["fit", "--resume", missing], 2, "no run in")
    _fails(capsys, ["evaluate", missing], 2, "no model in")
    _fails(capsys, ["report", missing], 2, "none")
    _fails(capsys, ["search", missing, "--in", missing], 2, "no model in")


def test_odd_durations_and_one_clip_a_class(
    tmp_path: Path, write_tone: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write_tone(tmp_path / "data" / "10 ms" / "x.wav", seconds=0.01)
    write_tone(tmp_path / "data" / "a minute" / "x.wav", seconds=60.0, sample_rate=8000)
    nan = tmp_path / "data" / "NaN" / "x.wav"
    nan.parent.mkdir()
    soundfile.write(nan, [float("nan")] * 100, 16000, subtype="FLOAT")
    small = "{class_path: ConvNet, init_args: {width: 2, embedding_dim: 4}}"
    command = ["fit", str(tmp_path / "data"), "--run", str(tmp_path / "run"), "--encoder", small]
    options = ["--optimiser.epochs", "1", "--accelerator", "cpu", "--threads", "1"]
    cache = ["--cache", str(tmp_path / "cache")]
    assert main([*command, *options, *cache]) == 0
    message = capsys.readouterr().err
    assert "every class has one training clip" in message
