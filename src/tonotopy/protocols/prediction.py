"""Where in the label tree clips belong, and how far down that is sure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from tonotopy._errors import UsageError
from tonotopy.clips import ClipTable
from tonotopy.embedder import AudioEmbedder, PathPrediction, TreeClassifier
from tonotopy.extraction import EmbeddingTable, embed_clips
from tonotopy.labels import display_name
from tonotopy.protocols._gathering import gather_clips
from tonotopy.protocols._row_files import check_writable, write_frame


def predict_clips(
    model: str | Path, audio: Sequence[Path], *, threshold: float = 0.5, out: Path | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Classify recordings at every level of the model's label tree.

    Two answers are given for each clip: by the trained classifier, where the model has one, and by
    the nearest centroid, which also knows classes added after training. Probabilities never rise
    on the way down. A clip stops at the deepest node that is at least as likely as `threshold`,
    which for a sound of an unknown class is the group that it belongs to, or nothing.

    Args:
        model: A run folder, or a model's id on the Hugging Face hub.
        audio: Files, or anything that `tonotopy scan` reads.
        threshold: Least probability of the node to stop at, in (0, 1]. Default 0.5.
        out: A `.csv`, `.parquet` or `.json` file to write, whole or not at all. An interrupted job
            with the same `out` goes on where it stopped.

    Returns:
        A row a clip: `path`; `label`, the likeliest leaf; `stop`, where it stops; `probability`
        and `stop_probability`; `level1`, `level1_probability` and so on for the nodes on the way;
        `nearest`, `nearest_probability`, `nearest_stop` by centroid. And the files that could not
        be used: `path`, `reason`, `detail`.

    Raises:
        UsageError: The model knows no classes, or an option is out of range.
        DataError: No file can be used.
    """
    if not 0.0 < threshold <= 1.0:
        raise UsageError(f"--threshold must be above 0 and at most 1, got {threshold}")
    check_writable(out)
    embedder = AudioEmbedder.from_pretrained(model)
    if embedder.classifier is None:
        raise UsageError(f"the model in {model} knows no classes: it has no classifier")
    clips = gather_clips(audio)
    table = _embed(embedder, clips, out)
    frame = _predictions(embedder, embedder.classifier, table, threshold)
    if out is not None:
        write_frame(frame, out)
    return frame, clips.quarantine


def _embed(embedder: AudioEmbedder, clips: ClipTable, out: Path | None) -> EmbeddingTable:
    if out is None:
        with TemporaryDirectory() as folder:
            return embed_clips(embedder, clips, Path(folder) / "embeddings.parquet")
    kept = out.with_name(f".{out.stem}.embeddings.parquet")
    table = embed_clips(embedder, clips, kept)
    kept.unlink()
    return table


def _predictions(
    embedder: AudioEmbedder, classifier: TreeClassifier, table: EmbeddingTable, threshold: float
) -> pl.DataFrame:
    embeddings = table.embeddings.to(embedder.device)
    near = embedder.centroid_classifier
    nearest = near.predict(embeddings, threshold) if near else [None] * len(table)
    rows = [
        {"path": path, **_row(found, classifier.tree.num_levels), **_nearest(other)}
        for path, found, other in zip(
            table.frame["path"], classifier.predict(embeddings, threshold), nearest, strict=True
        )
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _row(found: PathPrediction, levels: int) -> dict[str, Any]:
    stop = found.stop
    row: dict[str, Any] = {
        "label": display_name(found.path),
        "probability": found.probabilities[-1],
        "stop": display_name(stop),
        "stop_probability": found.probabilities[len(stop) - 1] if stop else 1.0,
    }
    for level in range(levels):
        on_path = level < len(found.path)
        row[f"level{level + 1}"] = found.path[level] if on_path else None
        row[f"level{level + 1}_probability"] = found.probabilities[level] if on_path else None
    return row


def _nearest(found: PathPrediction | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {
        "nearest": display_name(found.path),
        "nearest_probability": found.probabilities[-1],
        "nearest_stop": display_name(found.stop),
    }
