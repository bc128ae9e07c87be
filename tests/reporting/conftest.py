"""A run folder with the files and shapes that `fit` leaves, made of tones and random vectors."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from tonotopy._files import write_json

LABELS = [
    ("Strings", "Violin"),
    ("Strings", "Cello"),
    ("Wind", "Flute"),
    ("Wind", "Oboe"),
    ("Bell",),
]
COMMAND = "tonotopy fit sounds --out 'my run' --loss \"add\""

NAN = float("nan")
UNSEEN = ["Strings", "Erhu"]

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path, write_tone: Callable[..., Path]) -> MakeRun:
    """A function that writes a run folder and returns its path.

    Its arguments: `labels` (label paths), `clips_per_class`, `classify` (False: a run without
    classifier), `log` (False: no training log), `audio` (False: no audio files), `spread`
    (noise around the class centres; 0 collapses every class), `dim`.
    """

    def make(
        *,
        labels: Sequence[tuple[str, ...]] = LABELS,
        clips_per_class: int = 6,
        classify: bool = True,
        log: bool = True,
        audio: bool = True,
        spread: float = 0.25,
        dim: int = 16,
    ) -> Path:
        run = tmp_path / "run <1>"
        rng = np.random.default_rng(0)
        names = ["/".join(label) for label in labels]
        truth = np.repeat(np.arange(len(labels)), clips_per_class)
        centres = rng.normal(size=(len(labels), dim))
        vectors = centres[truth] + spread * rng.normal(size=(len(truth), dim)) * np.sqrt(dim)
        predicted = np.where(rng.random(len(truth)) < 0.3, (truth + 1) % len(labels), truth)
        folder = tmp_path / "audio"
        paths = [folder / f"clip {index:03d}.wav" for index in range(len(truth))]
        if audio:
            for path, label in zip(paths, truth, strict=True):
                write_tone(path, seconds=0.3, frequency=200.0 * (1 + label))
        split = [("test", "train", "val")[index % 3] for index in range(len(truth))]
        clips = pl.DataFrame(
            {
                "path": [str(path) for path in paths],
                "content": [f"{index:032x}" for index in range(len(truth))],
                "label": [list(labels[label]) for label in truth.tolist()],
                "split": split,
            },
            schema_overrides={"label": pl.List(pl.String)},
        )
        run.mkdir()
        clips.with_columns(
            predicted=pl.Series(
                [names[p] if classify else None for p in predicted], dtype=pl.String
            ),
            confidence=pl.Series(
                rng.uniform(0.3, 1, len(truth)) if classify else [None] * len(truth),
                dtype=pl.Float32,
            ),
            embedding=pl.Series(vectors.astype(np.float32), dtype=pl.Array(pl.Float32, dim)),
        ).write_parquet(run / "embeddings.parquet")
        clips.with_columns(seconds=pl.lit(0.3)).write_parquet(run / "clips.parquet")
        (run / "config.yaml").write_text("seed: 0\nname: <b>&\n", encoding="utf-8")
        write_json(run / "metrics.json", _metrics(names, vectors, truth, predicted, classify))
        if log:
            _write_log(run / "logs" / "metrics.csv")
        return run

    return make


def _metrics(
    names: list[str],
    vectors: NDArray[np.float64],
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    classify: bool,
) -> dict[str, Any]:
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    distance = 1 - units @ units.T
    distance[np.diag_indices(len(units))] = np.nan
    size = len(names)
    cells = [[distance[np.ix_(truth == a, truth == b)] for b in range(size)] for a in range(size)]
    mean = [[_moment(cell, np.mean) for cell in row] for row in cells]
    deviation = np.array([[_moment(cell, np.std) for cell in row] for row in cells])
    with np.errstate(divide="ignore", invalid="ignore"):
        cv = np.where(np.array(mean) > 1e-9, deviation / np.array(mean), np.nan).tolist()
    confusion = np.zeros((size, size), dtype=int)
    np.add.at(confusion, (truth, predicted), 1)
    structure = {"compactness": 0.12, "separation": 0.97, "intra_cv": 0.31, "inter_cv": 0.2}
    return {
        "num_clips": len(truth) // 3,
        "num_classes": size,
        "embedding_dim": vectors.shape[1],
        "classification": {"accuracy": 0.875, "macro_f1": 0.8, "ece": 0.042} if classify else None,
        "knn": {"k": 5, "accuracy": 0.9},
        "retrieval": {"map": 0.812, "r_precision": 0.7, "precision_at_k": {"1": 0.9}},
        "structure": {"cosine": {"pooled": structure}},
        "matrices": {
            "confusion": confusion.tolist() if classify else None,
            "distance_mean": mean,
            "distance_cv": cv,
        },
        "format": 1,
        "command": COMMAND,
        "split": "test",
        "classes": names,
        "tonotopy": "0.1.0",
        "history": {"best_epoch": 7, "monitor": "val/loss"},
    }


def _moment(cell: NDArray[np.float64], moment: Callable[..., Any]) -> float:
    values = cell[np.isfinite(cell)]
    return float(moment(values)) if values.size else float("nan")


def _write_log(path: Path) -> None:
    path.parent.mkdir()
    columns = ["epoch", "step", "train/loss", "train/compactness", "val/loss", "val/accuracy"]
    columns += ["val/knn_accuracy", "monitor/effective_rank", "monitor/mean_cosine", "lr"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for epoch in range(10):
            fall = 2 * 0.7**epoch
            score = "" if epoch % 2 else 1 - fall / 2.2
            row = [epoch, epoch * 40, fall, fall / 3, fall * 1.2, score, score]
            writer.writerow([*row, 3 + epoch, 0.4 - 0.03 * epoch, 1e-3])


@pytest.fixture
def make_tree_run(make_run: MakeRun, tree_scores: dict[str, Any]) -> MakeRun:
    """A function that writes a run folder with scores of its label tree and returns its path.

    Its arguments: `tree` (other scores than `tree_scores`), and those of `make_run`. The clips of
    the class Oboe become clips of an unseen class.
    """

    def make(*, tree: dict[str, Any] | None = None, **settings: Any) -> Path:
        run = make_run(**settings)
        metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        # Not `write_json`: readers must bear a NaN that others wrote.
        text = json.dumps(metrics | {"tree": tree_scores if tree is None else tree})
        (run / "metrics.json").write_text(text, encoding="utf-8")
        unseen = pl.col("label") == pl.lit(["Wind", "Oboe"], dtype=pl.List(pl.String))
        pl.read_parquet(run / "embeddings.parquet").with_columns(
            label=pl.when(unseen).then(pl.lit(UNSEEN)).otherwise("label"),
            split=pl.when(unseen).then(pl.lit("unseen")).otherwise("split"),
        ).write_parquet(run / "embeddings.parquet")
        return run

    return make


@pytest.fixture
def make_feature_run(make_run: MakeRun) -> MakeRun:
    """A function that writes a run folder with an analysis of its features and returns its path.

    Its arguments: `labelled` (False: as a model leaves it that was trained on unlabelled clips),
    `features` (other numbers), `epochs` (of the log), and those of `make_run`.
    """

    def make(
        *,
        labelled: bool = True,
        features: dict[str, float | None] | None = None,
        epochs: int = 12,
        **settings: Any,
    ) -> Path:
        run = make_run(classify=False, **settings)
        metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        metrics["features"] = {
            "uniformity": -2.125,
            "tolerance": 0.625,
            "tolerance_literal": 0.119,
            "alignment": 0.331,
            "effective_rank": 7.5,
            "hubness": 0.875,
        }
        if not labelled:
            _forget_labels(run)
            metrics |= dict.fromkeys(("classification", "knn", "retrieval", "structure"))
            metrics |= {"classes": [], "num_classes": 0, "matrices": {}}
            del metrics["features"]["tolerance"], metrics["features"]["tolerance_literal"]
        if features is not None:
            metrics["features"] = features
        write_json(run / "metrics.json", metrics)
        if (run / "logs").is_dir():
            _write_feature_log(run / "logs" / "metrics.csv", epochs, labelled)
        return run

    return make


def _forget_labels(run: Path) -> None:
    for name in ("embeddings.parquet", "clips.parquet"):
        frame = pl.read_parquet(run / name)
        none = pl.Series("label", [[]] * len(frame), dtype=pl.List(pl.String))
        frame.with_columns(none).write_parquet(run / name)


def _write_feature_log(path: Path, epochs: int, labelled: bool) -> None:
    rows = []
    for epoch in range(epochs):
        fall = 0.7**epoch
        row = {
            "epoch": epoch,
            "train/loss": 1 + 4 * fall,
            "val/loss": 1.2 + 4 * fall,
            "train/acl/positive_angle": 0.2 + fall,
            "train/acl/negative_angle": 1.5 - fall,
            "train/acl/active": fall,
            "acl/projected_uniformity": -0.1 - 3 * (1 - fall),
            "features/uniformity": -0.2 - 2 * (1 - fall),
            "features/alignment": 0.3 + 0.5 * fall,
            "features/effective_rank": 8 - 6 * fall,
            "features/hubness": 0.8 + fall * (-1) ** epoch,
        }
        if labelled:
            row |= {
                "features/tolerance": 0.6 + 0.35 * fall - 0.1 * fall**4,
                "features/tolerance_literal": 0.1 + 0.1 * fall,
                "val/knn_accuracy": 0.85 - 0.5 * fall,
            }
        rows.append(row)
    pl.DataFrame(rows).write_csv(path)


@pytest.fixture
def tree_scores() -> dict[str, Any]:
    """Scores with the keys of `evaluate_tree`, for the five classes of the test runs."""
    level = {"map": 0.61, "r_precision": 0.52, "knn": {"k": 5, "accuracy": 0.9}}
    return {
        "levels": [
            {"level": 1, "classes": 3, "clips": 10, "accuracy": 0.9, "macro_f1": 0.85}
            | {**level, "silhouette": 0.42},
            {"level": 2, "classes": 4, "clips": 8, "accuracy": 0.75, "macro_f1": 0.7}
            | {**level, "silhouette": -0.125},
        ],
        "silhouette": 0.1475,
        "ndcg": 0.931,
        "mnr": 0.162,
        "mnr_floor": 0.091,
        "precision_at_5": 0.66,
        "adaptive_precision_at_5": 0.71,
        "hierarchical_precision_at_5": 0.86,
        "hierarchical": {"precision": 0.87, "recall": 0.83, "f1": 0.85},
        "mistakes": {"count": 3, "judged": 10, "severity": 1.333, "mean_lca_height": 0.4},
        "triplet_accuracy": 0.912,
        "cpcc": 0.74,
        "misplaced_pairs": 0.183,
        "queries": 10,
        "pairs": "exact",
        "nodes": [
            _node(["Bell"], 2, 1.0, 0.667, []),
            _node(["Strings"], 4, 0.75, 1.0, [["Bell", 1]]),
            _node(["Strings", "Cello"], 2, 0.5, 0.5, [["Strings/Violin", 1]]),
            _node(["Strings", "Violin"], 2, 0.5, 0.5, [["Wind/Oboe", 1]]),
            _node(["Wind"], 4, 1.0, 1.0, []),
            _node(["Wind", "Flute"], 4, 1.0, 1.0, []),
            _node(["Wind", "Oboe"], 0, NAN, NAN, []),
        ],
        "confusion": [
            {
                "level": 1,
                "names": ["Bell", "Strings", "Wind"],
                "counts": [[2, 0, 0], [1, 3, 0], [0, 0, 4]],
            },
            {
                "level": 2,
                "names": ["Strings/Cello", "Strings/Violin", "Wind/Flute", "Wind/Oboe"],
                "counts": [[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 4, 0], [0, 0, 0, 0]],
            },
        ],
        "unseen": {
            "clips": 6,
            "classes": 1,
            "lvp": {"level_head": None, "leaf_head": 0.667, "centroid": 0.5, "knn": NAN},
            "lvp_by_class": [
                {
                    "path": UNSEEN,
                    "parent": ["Strings"],
                    "clips": 6,
                    "landed": [["Strings/Violin", 4], ["Wind/Flute", 2]],
                    "accuracy": {"level_head": None, "leaf_head": 0.667, "centroid": 0.5}
                    | {"knn": NAN},
                }
            ],
            "ndcg": 0.88,
        },
    }


def _node(
    path: list[str], clips: int, recall: float, precision: float, mistakes: list[list[Any]]
) -> dict[str, Any]:
    return {
        "path": path,
        "clips": clips,
        "recall": recall,
        "precision": precision,
        "mistakes": mistakes,
    }
