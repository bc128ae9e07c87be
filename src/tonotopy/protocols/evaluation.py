"""Measure a run on its own held-out clips, or on other labelled clips."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy._files import write_json
from tonotopy.clips import load_clips
from tonotopy.embedder import AudioEmbedder
from tonotopy.extraction import EmbeddingTable, embed_clips
from tonotopy.labels import LabelTree
from tonotopy.metrics import evaluate_embeddings
from tonotopy.protocols.embedding import EMBEDDINGS_FILE, embed_run, known_paths
from tonotopy.protocols.tree_evaluation import tree_metrics

FORMAT = 1
METRICS_FILE = "metrics.json"


def evaluate_run(
    run: Path,
    data: Path | None = None,
    *,
    command: str,
    further: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Embed and measure; write the numbers beside the embeddings.

    A run's own clips are judged on the test split, or on the validation split where there is no
    test, or on all clips where there is neither; nearest neighbours are looked up in the training
    clips. Other clips (`data`) are judged whole, and the results lie in `evaluations/<name>/`.

    Args:
        run: The run folder.
        data: Other labelled clips, of the same classes; None for the run's own.
        command: What the user typed, kept in the result.
        further: Other numbers that are kept beside these. Default: none.

    Returns:
        The content of `metrics.json`.

    Raises:
        UsageError: There is no model in `run`, or `data` shares no class with it.
        DataError: Audio or disk failed.
    """
    if data is None and not (run / EMBEDDINGS_FILE).is_file():
        embed_run(run)
    embedder = AudioEmbedder.from_pretrained(run)
    tree = embedder.tree
    if tree is None:
        raise UsageError(f"the model in {run} has no labels to be evaluated against")
    unseen = None
    if data is None:
        folder, clips = run, EmbeddingTable.read(run / EMBEDDINGS_FILE)
        split, judged, gallery, val = _own_clips(clips)
        unseen = clips.of_split("unseen")
    else:
        folder, split, gallery, val = run / "evaluations" / data.stem, "data", None, None
        judged = embed_clips(embedder, load_clips(data), folder / EMBEDDINGS_FILE)
    labels = tree.leaf_index(known_paths(tree, judged))
    if not any(known_paths(tree, judged)):
        raise UsageError(
            "no clip to evaluate has a class of the model "
            f"({', '.join(tree.leaf_names[:5])}, ...): check the label columns or folders"
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
        "classes": list(tree.leaf_names),
        **evaluate_embeddings(
            judged.embeddings,
            labels,
            num_classes=tree.num_leaves,
            logits=_logits(embedder, judged.embeddings),
            gallery=_with_leaves(tree, gallery),
        ),
    }
    if tree.num_levels > 1:
        metrics["tree"] = tree_metrics(embedder, judged, train=gallery, val=val, unseen=unseen)
    metrics |= further or {}
    write_json(folder / METRICS_FILE, metrics)
    return metrics


def _own_clips(
    clips: EmbeddingTable,
) -> tuple[str, EmbeddingTable, EmbeddingTable | None, EmbeddingTable | None]:
    """Give the split to judge, the first with a label, its clips, training and validation clips."""
    if not len(clips):
        raise DataError(f"{EMBEDDINGS_FILE} holds no clip: embed the run's clips again")
    train, val, test = (clips.of_split(name) for name in ("train", "val", "test"))
    gallery = train if len(train) else None
    # The test clips of an anomaly detector may all be anomalies, which are of no class.
    if any(test.labels):
        return "test", test, gallery, val if len(val) else None
    if any(val.labels):
        return "val", val, gallery, None
    return "train", clips, None, None


def _with_leaves(tree: LabelTree, table: EmbeddingTable | None) -> tuple[Tensor, Tensor] | None:
    if table is None:
        return None
    return table.embeddings, tree.leaf_index(known_paths(tree, table))


@torch.no_grad()
def _logits(embedder: AudioEmbedder, embeddings: Tensor) -> Tensor | None:
    """Give logits of the leaves, whose softmax is what the model says of them."""
    if embedder.head is None:
        return None
    return embedder.probabilities(embeddings.to(embedder.device)).clamp_min(1e-30).log().cpu()
