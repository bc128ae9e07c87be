"""Measure a run on its own held-out clips, or on other labelled clips."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy._files import write_json
from tonotopy.clips import ClipTable, load_clips
from tonotopy.embedder import AudioEmbedder
from tonotopy.extraction import EmbeddingTable, embed_clips
from tonotopy.labels import LabelTree
from tonotopy.metrics import evaluate_embeddings

FORMAT = 1
EMBEDDINGS_FILE = "embeddings.parquet"
METRICS_FILE = "metrics.json"


def evaluate_run(run: Path, data: Path | None = None, *, command: str) -> dict[str, Any]:
    """Embed and measure; write the numbers beside the embeddings.

    A run's own clips are judged on the test split, or on the validation split where there is no
    test, or on all clips where there is neither; nearest neighbours are looked up in the training
    clips. Other clips (`data`) are judged whole, and the results lie in `evaluations/<name>/`.

    Args:
        run: The run folder.
        data: Other labelled clips, of the same classes; None for the run's own.
        command: What the user typed, kept in the result.

    Returns:
        The content of `metrics.json`.

    Raises:
        UsageError: There is no model in `run`, or `data` shares no class with it.
        DataError: Audio or disk failed.
    """
    embedder = AudioEmbedder.from_pretrained(run)
    if embedder.tree is None:
        raise UsageError(f"the model in {run} has no labels to be evaluated against")
    if data is None:
        folder, split, judged, gallery = _own_clips(embedder, run)
    else:
        folder, split, gallery = run / "evaluations" / data.stem, "data", None
        judged = embed_clips(embedder, load_clips(data), folder / EMBEDDINGS_FILE)
    labels = class_ids(embedder.tree, judged)
    if not (labels >= 0).any():
        raise UsageError(
            "no clip to evaluate has a class of the model "
            f"({', '.join(embedder.tree.leaf_names[:5])}, ...): check the label columns or folders"
        )
    earlier = folder / METRICS_FILE
    if data is None and earlier.is_file():
        # The run was made by the command that it names, not by the one that measures it again.
        command = json.loads(earlier.read_text(encoding="utf-8"))["command"]
    metrics = {
        "format": FORMAT,
        "tonotopy": version("tonotopy"),
        "command": command,
        "split": split,
        "classes": list(embedder.tree.leaf_names),
        **evaluate_embeddings(
            judged.embeddings,
            labels,
            num_classes=embedder.tree.num_leaves,
            logits=_logits(embedder, judged.embeddings),
            gallery=gallery,
        ),
    }
    write_json(folder / METRICS_FILE, metrics)
    return metrics


def class_ids(tree: LabelTree, table: EmbeddingTable) -> Tensor:
    """Give the leaf index of each row; -1 where the label is missing or unknown to the tree."""
    known = [path if path in tree else () for path in table.labels]
    return tree.leaf_index(known)


def _own_clips(
    embedder: AudioEmbedder, run: Path
) -> tuple[Path, str, EmbeddingTable, tuple[Tensor, Tensor] | None]:
    assert embedder.tree is not None
    target = run / EMBEDDINGS_FILE
    if target.is_file():
        table = EmbeddingTable.read(target)
    else:
        table = embed_clips(embedder, ClipTable.read(run / "clips.parquet"), target)
    if not len(table):
        raise DataError(f"{target} holds no clip")
    train = table.of_split("train")
    gallery = (train.embeddings, class_ids(embedder.tree, train)) if len(train) else None
    for split in ("test", "val"):
        judged = table.of_split(split)
        if len(judged):
            return run, split, judged, gallery
    return run, "train", table, None


@torch.no_grad()
def _logits(embedder: AudioEmbedder, embeddings: Tensor) -> Tensor | None:
    if embedder.head is None:
        return None
    logits: Tensor = embedder.head(embeddings.to(embedder.device))
    return logits.cpu()
