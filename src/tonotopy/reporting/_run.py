"""What a run folder says, read once and checked at the door."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tonotopy._errors import DataError, UsageError
from tonotopy.labels import display_name

if TYPE_CHECKING:
    import polars as pl

UNLABELLED = "unlabelled"
COLUMNS = ("path", "label", "split", "predicted", "confidence", "embedding")


@dataclass(frozen=True)
class Clip:
    """One embedded clip.

    Attributes:
        path: Where its audio lay when the run was made.
        start: Seconds into the file; 0 where the clip is all of it.
        name: File name, with its folder where the file name alone is ambiguous.
        label: Label path, coarse to fine; empty where unknown.
        split: `"train"`, `"val"`, `"test"` or `None`.
        predicted: Predicted leaf, written `"Strings/Violin"`; `None` without a classifier.
        confidence: Probability of the prediction.
    """

    path: Path
    start: float
    name: str
    label: tuple[str, ...]
    split: str | None
    predicted: str | None
    confidence: float | None

    @property
    def label_name(self) -> str:
        """The label as one string, `"Strings/Violin"`."""
        return display_name(self.label) or UNLABELLED

    @property
    def right(self) -> bool | None:
        """Whether the prediction lies at or under the label; `None` where either is missing."""
        if self.predicted is None or not self.label:
            return None
        return f"{self.predicted}/".startswith(f"{self.label_name}/")


@dataclass(frozen=True)
class Run:
    """The files of a run folder that the report shows.

    Attributes:
        folder: The run folder.
        metrics: `metrics.json`.
        config: Text of `config.yaml`, or `None` where there is none.
        history: Columns of `logs/metrics.csv`; `None` marks what was not measured.
        clips: The N embedded clips, without those whose embedding is not finite.
        units: Their embeddings as unit vectors, (N, D).
        evaluated: Which clips the metrics speak about, (N,).
        dropped: Number of clips left out because their embedding is not finite.
        table: Rows of `clips.parquet` counted by split: split, clips, labelled clips, hours.
    """

    folder: Path
    metrics: dict[str, Any]
    config: str | None
    history: dict[str, list[float | None]]
    clips: list[Clip]
    units: NDArray[np.float32]
    evaluated: NDArray[np.bool_]
    dropped: int
    table: list[tuple[str, int, int, float]]


def read_run(folder: Path) -> Run:
    """Read the run folder that `tonotopy fit` left.

    Raises:
        DataError: A file that every run has is missing or damaged; the message names it.
    """
    metrics = _read_metrics(folder / "metrics.json")
    frame, units, dropped = _read_embeddings(folder / "embeddings.parquet")
    clips = _clips(frame)
    evaluated = np.array([clip.split == metrics.get("split") for clip in clips])
    config = folder / "config.yaml"
    return Run(
        folder=folder,
        metrics=metrics,
        config=config.read_text(encoding="utf-8") if config.exists() else None,
        history=_read_history(folder / "logs" / "metrics.csv"),
        clips=clips,
        units=units,
        evaluated=evaluated if evaluated.any() else np.ones(len(clips), dtype=np.bool_),
        dropped=dropped,
        table=_count_splits(folder / "clips.parquet"),
    )


def _read_metrics(path: Path) -> dict[str, Any]:
    _require(path)
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}): make it again with `fit`") from error
    expected = ("classes", "structure", "matrices")
    missing = [key for key in expected if not isinstance(metrics, dict) or key not in metrics]
    if missing:
        raise DataError(
            f"{path} holds no {', '.join(missing)}: expected the metrics that `fit` writes"
        )
    tree = metrics.get("tree")
    missing = [key for key in ("levels", "nodes") if tree and key not in tree]
    if missing:
        raise DataError(
            f"{path}: `tree` holds no {', '.join(missing)}: make it again with `evaluate`"
        )
    return dict(metrics)


def _read_embeddings(path: Path) -> tuple[pl.DataFrame, NDArray[np.float32], int]:
    import polars as pl

    _require(path)
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} cannot be read ({error}): make it again with `fit`") from error
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise DataError(f"{path} has no column {', '.join(missing)}; it has {frame.columns}")
    if not isinstance(frame.schema["embedding"], pl.Array):
        raise DataError(
            f"{path}: expected `embedding` to be an array column, got {frame.schema['embedding']}"
        )
    vectors = frame["embedding"].to_numpy().astype(np.float32)
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.any():
        raise DataError(f"{path} holds no clip with a finite embedding: there is nothing to show")
    vectors = vectors[finite]
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return frame.filter(pl.Series(finite)), vectors / np.maximum(norms, 1e-6), int((~finite).sum())


def _require(path: Path) -> None:
    if not path.is_file():
        raise UsageError(
            f"{path} is missing: expected a run folder that `tonotopy fit` has finished"
        )


def _clips(frame: pl.DataFrame) -> list[Clip]:
    paths = [Path(path) for path in frame["path"].to_list()]
    starts = frame["start"].to_list() if "start" in frame.columns else [None] * len(paths)
    uses = Counter(path.name for path in dict.fromkeys(paths))
    columns = (frame[name].to_list() for name in ("label", "split", "predicted", "confidence"))
    return [
        Clip(
            path=path,
            start=start or 0.0,
            name=_name(path, start, alone=uses[path.name] == 1),
            label=tuple(label or ()),
            split=split,
            predicted=predicted,
            confidence=confidence,
        )
        for path, start, label, split, predicted, confidence in zip(
            paths, starts, *columns, strict=True
        )
    ]


def _name(path: Path, start: float | None, *, alone: bool) -> str:
    name = path.name if alone else f"{path.parent.name}/{path.name}"
    return name if start is None else f"{name} at {start:g} s"


def _read_history(path: Path) -> dict[str, list[float | None]]:
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: [_number(row[name]) for row in rows] for name in (rows[0] if rows else ())}


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _count_splits(path: Path) -> list[tuple[str, int, int, float]]:
    import polars as pl

    if not path.exists():
        return []
    frame = pl.read_parquet(path, columns=["split", "label", "seconds"])
    counted = frame.group_by(pl.col("split").fill_null("no split")).agg(
        clips=pl.len(),
        labelled=(pl.col("label").list.len() > 0).sum(),
        hours=pl.col("seconds").sum() / 3600,
    )
    order = {"train": 0, "val": 1, "test": 2}
    rows = [(row[0], row[1], row[2], row[3]) for row in counted.iter_rows()]
    return sorted(rows, key=lambda row: (order.get(row[0], 3), row[0]))
