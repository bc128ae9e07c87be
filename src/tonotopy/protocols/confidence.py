"""Judging a run apart by how sure the labels of its clips are."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy.clips import ClipTable
from tonotopy.clips.windows import START
from tonotopy.embedder import AudioEmbedder
from tonotopy.extraction import EmbeddingTable
from tonotopy.metrics import confidence_scores
from tonotopy.protocols.embedding import EMBEDDINGS_FILE, embed_run, known_paths

TRUTH_VALUES = {"true": 1.0, "false": 0.0}


def evaluate_confidence(
    run: Path, *, column: str = "manually_verified", unverified: float = 0.0
) -> dict[str, dict[str, Any]]:
    """Measure a run's classifier on clips with verified and with other labels.

    Args:
        run: The run folder; its `embeddings.parquet` is made where it is missing.
        column: Column of the run's clips: booleans, or confidences from 0 to 1, as numbers or
            text; 1 is verified.
        unverified: What a confidence of 0 counts as in the weighted accuracy, such as the known
            share of right labels: 0.4 for the noisy part of FSDnoisy18k. Less than 1.

    Returns:
        Split (`train`, `val`, `test`) to the numbers of `ConfidenceScores`; without splits that
        have no clip.

    Raises:
        UsageError: The run's clips have no such column, or the model no classifier.
        DataError: A clip has no confidence, or one that is not in 0 to 1.
    """
    if not 0.0 <= unverified < 1.0:  # at 1 the clips would be counted among the verified
        raise UsageError(f"unverified is a confidence of 0 or more, below 1, got {unverified}")
    file = run / EMBEDDINGS_FILE
    table = EmbeddingTable.read(file) if file.is_file() else embed_run(run)
    embedder = AudioEmbedder.from_pretrained(run)
    if embedder.tree is None or embedder.classifier is None:
        raise UsageError(f"the model in {run} has no classifier to be judged")
    labels = embedder.tree.leaf_index(known_paths(embedder.tree, table))
    with torch.no_grad():
        probabilities = embedder.probabilities(table.embeddings.to(embedder.device)).cpu()
    sure = read_confidence(_in_order(ClipTable.read(run / "clips.parquet"), table, column), column)
    sure = sure.where(sure > 0.0, unverified)
    splits = table.frame["split"]
    found = {}
    for split in ("train", "val", "test"):
        rows = torch.from_numpy((splits == split).fill_null(False).to_numpy().copy())
        if rows.any():
            scores = confidence_scores(probabilities[rows], labels[rows], sure[rows])
            found[split] = asdict(scores)
    return found


def read_confidence(values: pl.Series, name: str) -> Tensor:
    """Read a column of confidences.

    Args:
        values: (N,) booleans, numbers, or text such as `1`, `0.4` or `true`.
        name: The column's name, for messages.

    Returns:
        (N,) float64 from 0 to 1.

    Raises:
        DataError: A value is missing, no number, or out of range.
    """
    if values.dtype == pl.String:
        lower = values.str.strip_chars().str.to_lowercase()
        values = lower.replace(TRUTH_VALUES).cast(pl.Float64, strict=False)
    elif not (values.dtype == pl.Boolean or values.dtype.is_numeric()):
        raise DataError(f"the column {name!r} holds {values.dtype}, expected 0 to 1 or booleans")
    numbers = values.cast(pl.Float64)
    wrong = ~numbers.is_between(0.0, 1.0).fill_null(False)
    if wrong.any():
        raise DataError(
            f"{wrong.sum()} of {len(numbers)} clips have no confidence from 0 to 1 in the column "
            f"{name!r}, the first in row {wrong.arg_true()[0] + 1}"
        )
    return torch.from_numpy(numbers.to_numpy().copy())


def _in_order(clips: ClipTable, table: EmbeddingTable, column: str) -> pl.Series:
    """Give a column of the clips in the order of their embeddings."""
    if column not in clips.frame.columns:
        further = ", ".join(clips.frame.columns)
        raise UsageError(f"the run's clips have no column {column!r}; they have: {further}")
    starts = clips.frame[START] if START in clips.frame.columns else [None] * len(clips)
    keys = zip(map(str, clips.paths), starts, strict=True)
    rows = {key: row for row, key in enumerate(keys)}
    return clips.frame[column][[rows[key] for key in table.frame.select("path", START).rows()]]
