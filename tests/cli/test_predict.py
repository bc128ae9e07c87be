"""`tonotopy predict`: paths through the label tree for recordings, and where they stop."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile

from tonotopy import AudioEmbedder
from tonotopy._components import Component
from tonotopy.audio import LogMel
from tonotopy.cli import main
from tonotopy.encoders import ConvNet
from tonotopy.protocols.embedding import embed_run
from tonotopy.training import FitConfig, OptimiserOptions, fit

LABELS = ("tone/low [sic]", "tone/high", "noise")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tones and noise, labelled to two levels and to one."""
    folder = tmp_path_factory.mktemp("corpus") / "sounds"
    random = np.random.default_rng(0)
    for at, label in enumerate(LABELS):
        (folder / label).mkdir(parents=True)
        for number in range(8):
            wave = 0.3 * np.sin(np.arange(3200) * 0.06 * (1 + 10 * at)) * (label != "noise")
            wave += (0.2 if label == "noise" else 0.01) * random.standard_normal(len(wave))
            soundfile.write(folder / label / f"{at}{number}.wav", wave, 16000)
    return folder


@pytest.fixture(scope="module")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs, with a trained classifier and centroids."""
    folder = tmp_path_factory.mktemp("runs")
    config = FitConfig(
        data=corpus,
        run=folder / "run",
        task="tree",
        front_end=Component("LogMel", {"n_mels": 16, "hop_length": 640}),
        encoder=Component("ConvNet", {"width": 2, "embedding_dim": 4}),
        augmentations=[],
        optimiser=OptimiserOptions(epochs=2, learning_rate=0.03, warmup_epochs=0),
        accelerator="cpu",
        threads=1,
        cache=folder / "cache",
    )
    made = fit(config)
    embed_run(made)
    return made


def as_json(capsys: pytest.CaptureFixture[str], *command: object) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["predict", *map(str, command), "--json"]) == 0
    parsed = json.loads(capsys.readouterr().out)
    assert isinstance(parsed, dict)
    return parsed


def error(capsys: pytest.CaptureFixture[str], *command: object) -> str:
    capsys.readouterr()
    assert main(["predict", *map(str, command)]) != 0
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    return shown.err


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8, 1.0])
def test_paths_are_coherent(
    run: Path, corpus: Path, capsys: pytest.CaptureFixture[str], threshold: float
) -> None:
    clips = as_json(capsys, run, corpus, "--threshold", threshold)["clips"]
    assert len(clips) == 24
    for clip in clips:
        names = [clip[f"level{level}"] for level in (1, 2)]
        probabilities = [clip[f"level{level}_probability"] for level in (1, 2)]
        path = [name for name in names if name is not None]
        assert clip["label"] == "/".join(path)
        assert clip["label"] in LABELS
        assert (probabilities[1] is None) == (names[1] is None)
        known = [value for value in probabilities if value is not None]
        assert all(0.0 <= value <= 1.0 for value in known)
        assert known == sorted(known, reverse=True)
        assert clip["probability"] == known[-1]
        # It stops at the last node that is likely enough: an upper part of the path.
        depth = sum(value >= threshold for value in known)
        assert clip["stop"] == "/".join(path[:depth])
        assert clip["stop_probability"] == (known[depth - 1] if depth else 1.0)
        assert clip["nearest"] in LABELS
        stop = clip["nearest_stop"]
        assert not stop or f"{clip['nearest']}/".startswith(f"{stop}/")


def test_files_folders_and_tables_together(
    run: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = corpus / "noise" / "20.wav"
    table = tmp_path / "list.csv"
    table.write_text(f"path,label\n{corpus / 'tone' / 'high' / '10.wav'},whatever\n")
    clips = as_json(capsys, run, file, corpus / "tone" / "low [sic]", table)["clips"]
    assert sorted(Path(clip["path"]).name for clip in clips) == [
        *(f"0{number}.wav" for number in range(8)), "10.wav", "20.wav"
    ]  # fmt: skip
    alone = as_json(capsys, run, file)["clips"]
    [same] = [clip for clip in clips if clip["path"] == alone[0]["path"]]
    assert same["label"] == alone[0]["label"]
    assert same["probability"] == pytest.approx(alone[0]["probability"], abs=1e-4)


def test_people_see_a_table(run: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["predict", str(run), str(corpus)]) == 0
    shown = capsys.readouterr().out
    assert "stops at" in shown
    assert "... and 4 more" in shown
    assert "24 clips" in shown.splitlines()[-1]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json", ".CSV"])
def test_everything_is_written(
    run: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    out = tmp_path / "made" / f"names{suffix}"
    found = as_json(capsys, run, corpus / "noise", "--out", out)["clips"]
    if suffix == ".json":
        written = json.loads(out.read_text())
    else:
        read = pl.read_parquet if suffix == ".parquet" else pl.read_csv
        written = read(out).to_dicts()
    assert [row["path"] for row in written] == [row["path"] for row in found]
    assert [row["label"] for row in written] == [row["label"] for row in found]
    assert [row["probability"] for row in written] == pytest.approx(
        [row["probability"] for row in found]
    )
    assert [path.name for path in out.parent.iterdir()] == [out.name]


@pytest.mark.parametrize("threshold", ["0", "-0.1", "1.01"])
def test_a_threshold_out_of_range_is_refused(
    run: Path, corpus: Path, capsys: pytest.CaptureFixture[str], threshold: str
) -> None:
    message = error(capsys, run, corpus, f"--threshold={threshold}")
    assert "--threshold must be above 0 and at most 1" in message


def test_a_name_that_cannot_be_written_is_refused(
    run: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = error(capsys, run, corpus, "--out", tmp_path / "names.xlsx")
    assert "expected a name that ends in .csv, .parquet, .json" in message
    assert not list(tmp_path.iterdir())


def test_a_missing_file_is_named(
    run: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone.wav"
    assert str(gone) in error(capsys, run, corpus / "noise" / "20.wav", gone)


def test_broken_files_are_listed_and_the_others_classified(
    run: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, broken = corpus / "noise" / "20.wav", tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF....")
    folder = tmp_path / "folder"
    shutil.copytree(good.parent, folder)
    (folder / "empty.wav").touch()
    found = as_json(capsys, run, good, broken, folder)
    assert len(found["clips"]) == 9
    assert {Path(row["path"]).name: row["reason"] for row in found["quarantined"]} == {
        "broken.wav": "corrupt",
        "empty.wav": "empty",
    }
    assert main(["predict", str(run), str(good), str(broken)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "could not be used" in shown
    assert "broken.wav" in shown.replace(" ", "")  # a narrow terminal breaks the path
    assert "1 clips" in shown
    assert "1 files could not be used" in shown
    assert "broken.wav" in error(capsys, run, broken)


def test_a_folder_without_usable_audio_stops_no_other(
    run: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "empty.wav").touch()
    found = as_json(capsys, run, corpus / "noise", tmp_path / "bad")
    assert len(found["clips"]) == 8
    [failed] = found["quarantined"]
    assert failed["path"] == str(tmp_path / "bad")
    assert "empty.wav" in failed["detail"]
    assert "empty.wav" in error(capsys, run, tmp_path / "bad", tmp_path / "bad" / "empty.wav")


def test_a_model_without_classes_is_refused(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    embedder = AudioEmbedder(LogMel(n_mels=16), ConvNet(16, width=2, embedding_dim=4))
    embedder.save_pretrained(tmp_path)
    assert "knows no classes" in error(capsys, tmp_path, corpus)
    assert "no model" in error(capsys, tmp_path / "nothing", corpus)
