"""Runs whose model was trained without labels: what they are measured by, and their card."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import torch

from tonotopy import AudioEmbedder, evaluate_run
from tonotopy._components import Component
from tonotopy._errors import UsageError
from tonotopy.audio import LogMel
from tonotopy.cli import main
from tonotopy.clips import ClipTable, scan
from tonotopy.encoders import ConvNet
from tonotopy.extraction import EmbeddingTable
from tonotopy.metrics import analyse_features, knn_accuracy
from tonotopy.protocols import complete_run, evaluation
from tonotopy.training import FitConfig
from tonotopy.training.config import write_config

MakeRun = Callable[..., Path]
FEATURES = {"uniformity", "effective_rank", "hubness"}
SPLITS = ["train"] * 3 + ["val"] * 2 + ["test"] * 3
COMMAND = "tonotopy fit sounds --task self-supervised"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipTable:
    """Eight clips of each of three sounds."""
    folder = tmp_path_factory.mktemp("sounds") / "audio"
    random = np.random.default_rng(0)
    for at, name in enumerate(("low", "middle", "high")):
        (folder / name).mkdir(parents=True)
        for number in range(8):
            wave = 0.3 * np.sin(np.arange(1600) * 0.1 * (1 + 2 * at))
            wave += 0.02 * random.standard_normal(len(wave))
            soundfile.write(folder / name / f"{number}.wav", wave, 8000)
    return scan(folder)


@pytest.fixture
def make_run(clips: ClipTable, tmp_path: Path) -> MakeRun:
    """A function that writes a run whose model has no label tree.

    Its arguments: `labelled` (whether the clips have labels) and `splits` (of each eight clips).
    """

    def make(*, labelled: bool, splits: list[str] | None = None) -> Path:
        run = tmp_path / "run"
        split = pl.Series("split", (splits or SPLITS) * 3)
        label = clips.frame["label"]
        if not labelled:
            label = pl.Series("label", [[]] * len(clips), dtype=pl.List(pl.String))
        clips.with_columns(split, label).write(run / "clips.parquet")
        write_config(
            FitConfig(data=tmp_path, losses={"acl": Component("AngularContrastiveLoss")}),
            run / "config.yaml",
        )
        torch.manual_seed(0)
        front_end = LogMel(8000, n_fft=256, hop_length=128, n_mels=16)
        embedder = AudioEmbedder(front_end, ConvNet(16, embedding_dim=8, width=2))
        embedder.save_pretrained(run)
        return run

    return make


def written(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "metrics.json").read_text(encoding="utf-8")))


def test_without_labels_the_embeddings_alone_are_measured(make_run: MakeRun) -> None:
    run = make_run(labelled=False)
    returned = evaluate_run(run, command=COMMAND)
    metrics = written(run)
    assert metrics == returned
    nothing = dict.fromkeys(("classification", "knn", "retrieval", "structure"))
    assert metrics.items() >= nothing.items()
    assert (metrics["classes"], metrics["matrices"], metrics["num_classes"]) == ([], {}, 0)
    assert (metrics["split"], metrics["num_clips"], metrics["embedding_dim"]) == ("test", 9, 8)
    judged = EmbeddingTable.read(run / "embeddings.parquet").of_split("test")
    assert metrics["features"] == pytest.approx(analyse_features(judged.embeddings))
    assert set(metrics["features"]) == FEATURES


def test_labels_of_the_clips_judge_a_model_that_knows_none(make_run: MakeRun) -> None:
    run = make_run(labelled=True)
    metrics = evaluate_run(run, command=COMMAND)
    assert metrics["classes"] == ["high", "low", "middle"]
    assert metrics["classification"] is None
    assert metrics["matrices"]["confusion"] is None
    clips = EmbeddingTable.read(run / "embeddings.parquet")
    codes = {name: code for code, name in enumerate(metrics["classes"])}

    def of(split: str) -> tuple[torch.Tensor, torch.Tensor]:
        part = clips.of_split(split)
        return part.embeddings, torch.tensor([codes[label[0]] for label in part.labels])

    assert metrics["knn"]["accuracy"] == knn_accuracy(*of("test"), gallery=of("train"))
    assert set(metrics["features"]) == {*FEATURES, "tolerance", "tolerance_literal"}


@pytest.mark.parametrize(
    ("splits", "judged", "count"),
    [(["train"] * 6 + ["val"] * 2, "val", 6), (["train"] * 8, "train", 24)],
)
def test_without_test_clips_others_are_measured(
    make_run: MakeRun, splits: list[str], judged: str, count: int
) -> None:
    metrics = evaluate_run(make_run(labelled=False, splits=splits), command=COMMAND)
    assert (metrics["split"], metrics["num_clips"]) == (judged, count)


def test_a_single_clip_leaves_null(make_run: MakeRun) -> None:
    run = make_run(labelled=False, splits=["train"] * 8)
    clips = ClipTable.read(run / "clips.parquet")
    only = pl.Series("split", ["test"] + ["train"] * (len(clips) - 1))
    clips.with_columns(only).write(run / "clips.parquet")
    evaluate_run(run, command=COMMAND)
    assert written(run)["features"] == {
        "uniformity": None, "hubness": None, "effective_rank": pytest.approx(1.0)
    }  # fmt: skip
    complete_run(run, command=COMMAND)
    assert "not defined" in (run / "README.md").read_text(encoding="utf-8")


def test_of_very_many_clips_a_sample_is_analysed(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(labelled=True)
    monkeypatch.setattr(evaluation, "MAX_ANALYSED", 5)
    features = evaluate_run(run, command=COMMAND)["features"]
    assert features["sampled_clips"] == 5
    assert features == evaluate_run(run, command=COMMAND)["features"]


def test_embeddings_that_are_not_finite_are_left_out(make_run: MakeRun) -> None:
    run = make_run(labelled=False)
    evaluate_run(run, command=COMMAND)
    table = EmbeddingTable.read(run / "embeddings.parquet")
    broken = table.embeddings
    first = table.frame["split"].to_list().index("test")
    broken[first] = torch.nan
    frame = table.frame.with_columns(
        pl.Series("embedding", broken.numpy(), dtype=pl.Array(pl.Float32, 8))
    )
    EmbeddingTable(frame).write(run / "embeddings.parquet")
    rest = EmbeddingTable(frame).of_split("test").embeddings
    rest = rest[rest.isfinite().all(dim=1)]
    assert len(rest) == 8
    found = evaluate_run(run, command=COMMAND)["features"]
    assert found == pytest.approx(analyse_features(rest))


def test_other_clips_with_labels_are_a_matter_of_probing(
    make_run: MakeRun, clips: ClipTable
) -> None:
    run = make_run(labelled=False)
    with pytest.raises(UsageError, match="tonotopy probe"):
        evaluate_run(run, clips.root, command=COMMAND)


def test_other_clips_without_labels_are_measured_like_the_own(
    make_run: MakeRun, clips: ClipTable, tmp_path: Path
) -> None:
    run = make_run(labelled=True)
    others = tmp_path / "others.parquet"
    none = pl.Series("label", [[]] * len(clips), dtype=pl.List(pl.String))
    clips.with_columns(none).write(others)
    metrics = evaluate_run(run, others, command=COMMAND)
    assert metrics["classes"] == []
    assert set(metrics["features"]) == FEATURES
    assert written(run / "evaluations" / "others") == metrics


@pytest.mark.parametrize("labelled", [False, True])
def test_card_report_and_summary_of_a_run(
    make_run: MakeRun, labelled: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(labelled=labelled)
    metrics = complete_run(run, command=COMMAND)
    card = (run / "README.md").read_text(encoding="utf-8")
    assert COMMAND in card
    assert "uniformity (low is even, 0 is collapse)" in card
    assert ("Angular structure" in card) == labelled
    assert ("without labels, from" in card) != labelled
    assert "\n\n\n" not in card
    assert (run / "report.html").stat().st_size > 10_000
    assert ("uniformity" in metrics["summary"]) != labelled

    assert main(["evaluate", str(run)]) == 0
    out = capsys.readouterr().out
    assert "effective rank" in out
    assert ("clips without labels" in out) != labelled
