"""What a run over a label tree is measured by, whatever is known of its clips."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile

from tonotopy import AudioEmbedder
from tonotopy._components import Component
from tonotopy.clips import ClipTable, scan
from tonotopy.extraction import EmbeddingTable
from tonotopy.labels import LabelPath
from tonotopy.protocols.completion import complete_run
from tonotopy.protocols.evaluation import evaluate_run
from tonotopy.training import FitConfig, OptimiserOptions, SplitOptions, fit
from tonotopy.training.presets import read_losses

LABELS = (
    ("tone", "low", "pure"), ("tone", "low", "rough"), ("tone", "high"), ("noise",)
)  # fmt: skip

Trained = Callable[..., Path]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipTable:
    """Ten clips of each leaf: two to validate, three to test, five to train."""
    folder = tmp_path_factory.mktemp("tree") / "data"
    random = np.random.default_rng(0)
    for at, label in enumerate(LABELS):
        (folder / Path(*label)).mkdir(parents=True)
        for number in range(10):
            wave = 0.3 * np.sin(np.arange(1600) * 0.1 * (1 + 2 * at)) * (label != ("noise",))
            wave += 0.02 * (1 + 4 * at) * random.standard_normal(len(wave))
            soundfile.write(folder / Path(*label) / f"{number}.wav", wave, 16000)
    table = scan(folder)
    folds = ["val"] * 2 + ["test"] * 3 + ["train"] * 5
    return table.with_columns(pl.Series("fold", folds * len(LABELS)))


@pytest.fixture
def trained(clips: ClipTable, tmp_path: Path) -> Trained:
    """A function that trains for an epoch; its first argument gives the label of each clip."""

    def train(label: Callable[[int, str, LabelPath], LabelPath], preset: str, **split: Any) -> Path:
        rows = zip(clips.frame["fold"], clips.labels, strict=True)
        labels = [list(label(at % 10, fold, path)) for at, (fold, path) in enumerate(rows)]
        table = tmp_path / "clips.parquet"
        clips.with_columns(pl.Series("label", labels, dtype=pl.List(pl.String))).write(table)
        config = FitConfig(
            data=table,
            run=tmp_path / "run",
            front_end=Component("LogMel", {"n_mels": 16, "hop_length": 640}),
            encoder=Component("ConvNet", {"width": 2, "embedding_dim": 4}),
            augmentations=[],
            split=SplitOptions(test_fold="test", val_fold="val", **split),
            optimiser=OptimiserOptions(epochs=1, learning_rate=0.02, warmup_epochs=0),
            accelerator="cpu",
            threads=1,
            cache=clips.root.parent / "cache",
        )
        return fit(replace(config, **read_losses(preset)))

    return train


def measured(run: Path) -> dict[str, Any]:
    """Everything that follows training, and the numbers as they were written."""
    complete_run(run, command="tonotopy fit tones")
    assert (run / "report.html").stat().st_size > 10_000
    assert "tonotopy fit tones" in (run / "README.md").read_text()
    text = (run / "metrics.json").read_text()
    assert "NaN" not in text
    metrics = json.loads(text)
    assert isinstance(metrics, dict)
    # Measured again by the command of its own, the same comes out.
    evaluate_run(run, command="tonotopy evaluate run")
    assert (run / "metrics.json").read_text() == text
    return metrics


def test_partial_labels_and_unseen_classes_are_measured(trained: Trained) -> None:
    def label(number: int, fold: str, path: LabelPath) -> LabelPath:
        if path == ("tone", "low", "pure") and number == 4:
            return path[:1]
        return () if path == ("tone", "high") and number == 4 else path

    run = trained(label, "hybrid-pl+t", unseen=["tone/low/rough"])
    metrics = measured(run)
    assert metrics["split"] == "test"
    tree = metrics["tree"]
    # Nine clips are tested; one is known to the first level alone, one not at all.
    assert [level["clips"] for level in tree["levels"]] == [8, 4, 2]
    assert all(0.0 <= level["accuracy"] <= 1.0 for level in tree["levels"])
    assert [(n["path"], n["clips"]) for n in tree["nodes"]] == [
        (["noise"], 3), (["tone"], 5), (["tone", "high"], 2), (["tone", "low"], 2),
        (["tone", "low", "pure"], 2),
    ]  # fmt: skip
    unseen = tree["unseen"]
    assert (unseen["clips"], unseen["classes"], unseen["excluded"]) == (10, 1, 0)
    assert all(0.0 <= unseen["lvp"][by] <= 1.0 for by in ("level_head", "centroid", "knn"))
    [entry] = unseen["lvp_by_class"]
    assert (entry["path"], entry["parent"]) == (["tone", "low", "rough"], ["tone", "low"])


def test_without_hidden_classes_nothing_is_said_of_them(trained: Trained) -> None:
    metrics = measured(trained(lambda number, fold, path: path, "hybrid-l"))
    assert metrics["tree"]["unseen"] is None
    assert [level["clips"] for level in metrics["tree"]["levels"]] == [12, 9, 6]


@pytest.mark.parametrize("preset", ["hybrid-pl+t", "rbl-unc"])
def test_test_clips_with_coarse_labels_alone(trained: Trained, preset: str) -> None:
    run = trained(lambda number, fold, path: path[:1] if fold == "test" else path, preset)
    metrics = measured(run)
    first, *finer = metrics["tree"]["levels"]
    assert first["clips"] == 12
    assert 0.0 <= first["accuracy"] <= 1.0
    assert 0.0 <= first["knn"]["accuracy"] <= 1.0
    for level in finer:
        assert level["clips"] == 0
        assert level["accuracy"] is None
    # Noise is a leaf of its own: the only class that flat measures can judge.
    assert metrics["num_clips"] == 3


def test_a_run_without_classifier_predicts_by_centroids(trained: Trained) -> None:
    run = trained(lambda number, fold, path: path, "rbl")
    metrics = measured(run)
    assert metrics["classification"] is None
    assert all(0.0 <= level["accuracy"] <= 1.0 for level in metrics["tree"]["levels"])
    embedder = AudioEmbedder.from_pretrained(run)
    assert embedder.head is None
    assert embedder.centroid_classifier is not None
    table = EmbeddingTable.read(run / "embeddings.parquet")
    test = table.of_split("test")
    assert embedder.tree is not None
    predicted = embedder.centroid_classifier.paths(test.embeddings)
    known = embedder.tree.encode(test.labels)
    for at, level in enumerate(metrics["tree"]["levels"]):
        judged = known[:, at] >= 0
        right = (predicted == known)[judged, at].double().mean().item()
        assert level["accuracy"] == pytest.approx(right)
    assert set(table.frame["predicted"].drop_nulls()) <= {"/".join(label) for label in LABELS}
    found = metrics["tree"]["mistakes"]
    expected = {
        "name": "nearest centroid",
        "accuracy": pytest.approx(1 - found["count"] / max(found["judged"], 1)),
        "severity": pytest.approx(found["severity"], nan_ok=True),
    }
    assert metrics["tree"]["ways"] == ([expected] if found["count"] else [])


def test_a_hidden_family_has_no_visible_parent(trained: Trained) -> None:
    run = trained(lambda number, fold, path: path, "hybrid-l", unseen=["noise", "tone/high"])
    unseen = measured(run)["tree"]["unseen"]
    assert (unseen["clips"], unseen["classes"], unseen["excluded"]) == (20, 2, 10)
    assert unseen["lvp"]["level_head"] is None or 0.0 <= unseen["lvp"]["level_head"] <= 1.0
    parents = {tuple(entry["path"]): entry["parent"] for entry in unseen["lvp_by_class"]}
    assert parents == {("noise",): [], ("tone", "high"): ["tone"]}
