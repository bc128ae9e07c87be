"""`tonotopy probe` on files: the folder that it leaves, models and tables of all kinds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tonotopy import AudioEmbedder
from tonotopy._errors import DataError, UsageError
from tonotopy.cli import main
from tonotopy.clips import ClipTable
from tonotopy.metrics import CLIP_ACCURACIES
from tonotopy.protocols import ProbeOptions, probe_embedder
from tonotopy.protocols.probe_run import load_probed, probe_run

QUICK = ["--patch_seconds", "0.5", "--shots", "1,2", "--draws", "3"]


@pytest.fixture
def run(tmp_path: Path, make_embedder: Callable[..., AudioEmbedder]) -> Path:
    folder = tmp_path / "runs" / "first"
    make_embedder().save_pretrained(folder)
    return folder


def test_the_verb_leaves_numbers_and_a_page(
    run: Path, sounds: ClipTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "named.parquet"
    sounds.write(table)
    assert main(["probe", str(run), str(table), *QUICK]) == 0
    shown = capsys.readouterr().out
    assert "weighted" in shown
    last = shown.strip().splitlines()[-1]
    assert last.startswith("12 test clips of 3 classes, linear ")
    folder = run / "probes" / "named"
    assert last.endswith(f"page: {folder / 'probe.html'}")
    kept = json.loads((folder / "probe.json").read_text())
    assert kept["command"].startswith("tonotopy probe ")
    assert list(kept["linear"]["accuracy"]) == list(CLIP_ACCURACIES)
    assert kept["few_shot"]["linear"][0]["accuracy"]["accuracy_clip_macro"]["sd"] is not None

    page = (folder / "probe.html").read_text()
    assert "https://" not in page.split("<script", 1)[0]
    assert "patch weighted" in page
    assert "nearest centroid" in page

    # Once more, as JSON and by one method: nothing is embedded again, the files are replaced.
    before = {
        path.name: path.stat().st_mtime_ns for path in (folder / "patches").rglob("*.parquet")
    }
    assert main(["probe", str(run), str(table), *QUICK, "--methods", "knn", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["knn"] == kept["knn"]
    assert again["linear"] is None
    after = {path.name: path.stat().st_mtime_ns for path in (folder / "patches").rglob("*.parquet")}
    assert after == before
    assert json.loads((folder / "probe.json").read_text())["few_shot"] is None


def test_folders_of_labels_and_folds(
    run: Path, sounds: ClipTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["probe", str(run), str(sounds.root), "--methods", "few-shot", *QUICK]) == 0
    assert "2 clips a class" in capsys.readouterr().out
    lines = ["path,label,fold"]
    for number, (path, label) in enumerate(zip(sounds.paths, sounds.labels, strict=True)):
        lines.append(f"{path},{label[0]},{number % 3}")
    table = tmp_path / "folds.csv"
    table.write_text("\n".join(lines))
    out = tmp_path / "elsewhere"
    asked = ["--test_fold", "0", "--val_fold", "1", "--methods", "knn", "--out", str(out)]
    assert main(["probe", str(run), str(table), *QUICK, *asked]) == 0
    assert json.loads((out / "probe.json").read_text())["split_by"] == "folds: test 0, val 1"


def test_wrong_use_is_told(
    run: Path, sounds: ClipTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "labels.csv"
    rows = [f"{path},{label[0]}" for path, label in zip(sounds.paths, sounds.labels, strict=True)]
    table.write_text("\n".join(["path,label", *rows, "gone.wav,low", "lost.wav,low"]))
    assert main(["probe", str(run), str(table)]) == 1
    assert "2 of the files that it names are not in" in capsys.readouterr().err
    bare = tmp_path / "bare.csv"
    bare.write_text("\n".join(["path", *(row.partition(",")[0] for row in rows)]))
    assert main(["probe", str(run), str(bare)]) == 2
    assert "label" in capsys.readouterr().err
    assert main(["probe", str(tmp_path / "nothing"), str(sounds.root)]) == 2
    assert "no model in" in capsys.readouterr().err
    assert main(["probe", str(run), str(sounds.root), "--methods", "linear,forest"]) == 2
    assert "forest" in capsys.readouterr().err
    assert main(["probe", str(run), str(sounds.root), "--shots", "one"]) == 2
    assert "--shots" in capsys.readouterr().err
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate(sounds.paths[:3]):
        (flat / f"{number}.wav").write_bytes(path.read_bytes())
    assert main(["probe", str(run), str(flat)]) == 1
    assert "no clip has a label" in capsys.readouterr().err
    assert not (run / "probes").exists()


def test_a_released_encoder_is_found_by_its_folder(shared_data: Path) -> None:
    folder = shared_data / "encoders" / "uclser20"
    assert load_probed(str(folder / "CRNN_best.safetensors")).embedding_dim == 64
    with pytest.raises(UsageError, match="name the file"):
        load_probed(str(folder))


def test_unusable_files_of_a_folder_are_told(
    run: Path, make_sounds: Callable[..., ClipTable], tmp_path: Path
) -> None:
    folder = make_sounds(tmp_path / "broken", clips=6).root
    (folder / "low" / "bad.wav").write_bytes(b"RIFF....")
    options = ProbeOptions(methods=("knn",), patch_seconds=0.5, bootstrap=10)
    found = probe_run(str(run), folder, options, command="")
    assert found["cautions"] == ["Unusable files: 1; `tonotopy scan` lists them."]


def test_a_damaged_cache_is_named(run: Path, sounds: ClipTable, tmp_path: Path) -> None:
    options = ProbeOptions(methods=("knn",), patch_seconds=0.5, bootstrap=10)
    embedder = AudioEmbedder.from_pretrained(run)
    probe_embedder(embedder, sounds, options, folder=tmp_path / "probe")
    (shard, *_) = (tmp_path / "probe").rglob("*.parquet")
    shard.write_bytes(b"damaged")
    with pytest.raises(DataError, match=shard.name):
        probe_embedder(embedder, sounds, options, folder=tmp_path / "probe")


def test_fine_tuning_deletes_nothing_but_its_own(
    run: Path, sounds: ClipTable, tmp_path: Path
) -> None:
    options = ProbeOptions(methods=("finetune",), patch_seconds=0.5, bootstrap=20, epochs=1)
    other = tmp_path / "finetuned" / "thesis.txt"
    other.parent.mkdir()
    other.write_text("mine")
    with pytest.raises(UsageError, match="--out"):
        probe_embedder(AudioEmbedder.from_pretrained(run), sounds, options, folder=tmp_path)
    assert other.read_text() == "mine"


def test_fine_tuning_learns_goes_on_and_is_judged(
    run: Path, sounds: ClipTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TONOTOPY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tonotopy.protocols._probe_finetune.LEARNING_RATE", 0.02)
    options = ProbeOptions(methods=("finetune",), patch_seconds=0.5, bootstrap=20, epochs=15)
    embedder = AudioEmbedder.from_pretrained(run)
    with pytest.raises(UsageError, match="folder"):
        probe_embedder(embedder, sounds, options)
    found = probe_embedder(embedder, sounds, options, folder=tmp_path / "probe")["finetune"]
    assert found["accuracy"]["accuracy_clip_micro"]["value"] > 0.7
    tuned = AudioEmbedder.from_pretrained(found["run"])
    assert tuned.fingerprint != embedder.fingerprint
    table = ClipTable.read(Path(found["run"]) / "clips.parquet")
    assert (
        table.frame.sort("path")["split"].to_list() == sounds.frame.sort("path")["split"].to_list()
    )

    # A finished run is judged again; other clips start another one.
    weights = Path(found["run"]) / "checkpoints" / "last.safetensors"
    written = weights.stat().st_mtime_ns
    again = probe_embedder(embedder, sounds, options, folder=tmp_path / "probe")["finetune"]
    assert again == found
    assert weights.stat().st_mtime_ns == written
    fewer = sounds.filter(pl.col("split") != "val")
    other = probe_embedder(embedder, fewer, options, folder=tmp_path / "probe")["finetune"]
    assert len(ClipTable.read(Path(other["run"]) / "clips.parquet")) == 30
