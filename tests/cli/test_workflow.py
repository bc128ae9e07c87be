"""The whole way on a small corpus, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from tonotopy.cli import main

SMALL = [
    "--encoder", "{class_path: ConvNet, init_args: {width: 4, embedding_dim: 8}}",
    "--optimiser", '{"epochs": 3, "warmup_epochs": 0}',
    "--batches",
    "{class_path: PKBatchSampler, init_args: {classes_per_batch: 3, clips_per_class: 3}}",
    "--threads", "1", "--accelerator", "cpu",
]  # fmt: skip


def write_corpus(folder: Path, clips: int = 12) -> Path:
    """Three classes in two families: tones and noise."""
    random = np.random.default_rng(0)
    time = np.arange(4000) / 16000
    for label, frequency in (("tone/low", 220.0), ("tone/high [sic]", 2500.0), ("noise", 0.0)):
        (folder / label).mkdir(parents=True)
        for number in range(clips):
            wave = 0.3 * np.sin(2 * np.pi * frequency * random.uniform(0.9, 1.1) * time)
            wave += (0.01 if frequency else 0.2) * random.standard_normal(len(time))
            soundfile.write(folder / label / f"{number}.wav", wave, 16000)
    (folder / "noise" / "broken.wav").write_bytes(b"RIFF....")
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of labelled clips, one of them broken."""
    return write_corpus(tmp_path_factory.mktemp("corpus") / "sounds")


@pytest.fixture(scope="module")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the corpus."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    cache = tmp_path_factory.mktemp("cache")
    assert main(["fit", str(corpus), "--run", str(folder), "--cache", str(cache), *SMALL]) == 0
    return folder


def _json(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    parsed = json.loads(capsys.readouterr().out)
    assert isinstance(parsed, dict)
    return parsed


def test_scan_lists_and_sets_aside(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "clips.parquet"
    assert main(["scan", str(corpus), "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "high [sic]  12" in shown
    assert "noise/broken.wav" in shown
    assert "36 clips" in shown.splitlines()[-1]
    assert main(["scan", str(corpus), "--out", str(out), "--json"]) == 0
    assert _json(capsys)["clips"] == 36


def test_fit_leaves_the_artefact(run: Path) -> None:
    for name in (
        "model.safetensors", "config.yaml", "labels.json", "metrics.json", "report.html",
        "README.md", "clips.parquet", "embeddings.parquet", "logs/metrics.csv",
        "checkpoints/last.safetensors", "checkpoints/best.safetensors",
    ):  # fmt: skip
        assert (run / name).is_file(), name
    assert list((run / "logs").glob("events*"))
    card = (run / "README.md").read_text()
    assert "tonotopy fit" in card
    assert "CrossEntropyLoss" in card
    embeddings = pl.read_parquet(run / "embeddings.parquet")
    assert len(embeddings) == 36
    assert set(embeddings["split"]) == {"train", "val", "test"}
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["split"] == "test"
    assert metrics["classes"] == ["noise", "tone/high [sic]", "tone/low"]
    assert 0 <= metrics["classification"]["accuracy"] <= 1


def test_evaluate_its_own_and_other_clips(
    run: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = json.loads((run / "metrics.json").read_text())
    assert main(["evaluate", str(run), "--json"]) == 0
    assert _json(capsys)["classification"] == before["classification"]
    assert main(["evaluate", str(run), str(corpus)]) == 0
    assert "36 data clips" in capsys.readouterr().out
    assert (run / "evaluations" / "sounds" / "metrics.json").is_file()


def test_embed_then_search(
    run: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "more.parquet"
    assert main(["embed", str(run), str(corpus), "--out", str(out)]) == 0
    query = corpus / "tone" / "low" / "3.wav"
    command = ["search", str(query), "--in", str(run), "--embeddings", str(out), "--k", "3"]
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    hits = _json(capsys)["hits"]
    assert isinstance(hits, list)
    assert len(hits) == 3
    assert hits[0]["path"] == str(query)
    assert hits[0]["score"] == pytest.approx(1.0, abs=1e-4)
    assert main(command) == 0
    assert "tone/low" in capsys.readouterr().out


def test_report_again(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "again.html"
    assert main(["report", str(run), "--out", str(out)]) == 0
    assert "tonotopy fit" in out.read_text()


def test_resume_of_a_finished_run_keeps_its_weights(run: Path) -> None:
    before = (run / "model.safetensors").read_bytes()
    assert main(["fit", "--resume", str(run)]) == 0
    assert (run / "model.safetensors").read_bytes() == before


def test_the_written_configuration_makes_the_same_run(run: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert main(["fit", "--config", str(run / "config.yaml"), "--run", str(again)]) == 0
    assert (again / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_demo_on_a_folder_of_the_users(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TONOTOPY_CACHE", str(tmp_path / "cache"))
    assert main(["demo", str(corpus), "--folder", str(tmp_path / "demo")]) == 0
    assert (tmp_path / "demo" / "run" / "report.html").is_file()
    assert json.loads((tmp_path / "demo" / "run" / "metrics.json").read_text())["num_clips"] > 0
