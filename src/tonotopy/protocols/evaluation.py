"""Measure a run on its own held-out clips, or on other clips."""

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
from tonotopy.metrics import analyse_features, evaluate_embeddings
from tonotopy.protocols.embedding import EMBEDDINGS_FILE, embed_run, known_paths
from tonotopy.protocols.tree_evaluation import tree_metrics

FORMAT = 1
METRICS_FILE = "metrics.json"

MAX_ANALYSED = 20_000
"""Clips up to which all pairs are analysed; it takes 20 s on one core, and four times that for
twice as many."""


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

    A model that was trained without labels is judged by the labels of its run's clips. Where they
    have none either, `classification`, `knn`, `retrieval` and `structure` are None, `classes` and
    `matrices` are empty, and only `features` speaks of the embeddings (see `analyse_features`; of
    more than 20,000 clips that many are drawn, and `sampled_clips` says so).

    Args:
        run: The run folder.
        data: Other clips, labelled with the classes of the model, or without labels where it has
            none; None for the run's own.
        command: What the user typed, kept in the result.
        further: Other numbers that are kept beside these. Default: none.

    Returns:
        The content of `metrics.json`.

    Raises:
        UsageError: There is no model in `run`, `data` shares no class with it, or `data` has labels
            and the model none.
        DataError: Audio or disk failed.
    """
    if data is None and not (run / EMBEDDINGS_FILE).is_file():
        embed_run(run)
    embedder = AudioEmbedder.from_pretrained(run)
    unseen = None
    if data is None:
        folder, clips = run, EmbeddingTable.read(run / EMBEDDINGS_FILE)
        split, judged, gallery, val = _own_clips(clips)
        unseen = clips.of_split("unseen")
        tree = embedder.tree or LabelTree.from_paths(clips.labels)
    else:
        folder, split, gallery, val = run / "evaluations" / data.stem, "data", None, None
        others = load_clips(data, labelled=embedder.tree is not None)
        if embedder.tree is None and any(others.labels):
            raise UsageError(
                f"the model in {run} knows no classes that the labels of {data} could be held "
                f"against: `tonotopy probe {run} {data}` says what can be learnt from it"
            )
        judged = embed_clips(embedder, others, folder / EMBEDDINGS_FILE)
        tree = embedder.tree or LabelTree([])
    labels = tree.leaf_index(known_paths(tree, judged))
    if embedder.tree is not None and not any(known_paths(tree, judged)):
        raise UsageError(
            "no clip to evaluate has a class of the model "
            f"({', '.join(tree.leaf_names[:5])}, ...): check the label columns or folders"
        )
    earlier = folder / METRICS_FILE
    if data is None and earlier.is_file():
        # The run was made by the command that it names, not by the one that measures it again.
        command = json.loads(earlier.read_text(encoding="utf-8")).get("command", command)
    metrics = {
        "format": FORMAT,
        "tonotopy": version("tonotopy"),
        "command": command,
        "split": split,
        "classes": list(tree.leaf_names),
        **_scores(embedder, tree, judged, labels, gallery),
        "features": _features(judged.embeddings, labels),
    }
    if embedder.tree is not None and tree.num_levels > 1:
        metrics["tree"] = tree_metrics(embedder, judged, train=gallery, val=val, unseen=unseen)
    metrics |= further or {}
    write_json(folder / METRICS_FILE, metrics)
    return metrics


def _scores(
    embedder: AudioEmbedder,
    tree: LabelTree,
    judged: EmbeddingTable,
    labels: Tensor,
    gallery: EmbeddingTable | None,
) -> dict[str, Any]:
    """Give what labels say of the embeddings; None and empty where there are none."""
    if not tree.num_leaves:
        return {
            "num_clips": len(judged),
            "num_classes": 0,
            "embedding_dim": embedder.embedding_dim,
            **dict.fromkeys(("classification", "knn", "retrieval", "structure")),
            "matrices": {},
        }
    return evaluate_embeddings(
        judged.embeddings,
        labels,
        num_classes=tree.num_leaves,
        logits=_logits(embedder, judged.embeddings),
        gallery=_with_leaves(tree, gallery),
    )


def _features(embeddings: Tensor, labels: Tensor) -> dict[str, float]:
    usable = embeddings.isfinite().all(dim=1).nonzero().squeeze(1)
    sampled = {}
    if len(usable) > MAX_ANALYSED:
        generator = torch.Generator().manual_seed(0)
        usable = usable[torch.randperm(len(usable), generator=generator)[:MAX_ANALYSED]]
        sampled = {"sampled_clips": MAX_ANALYSED}
    return analyse_features(embeddings[usable], labels=labels[usable]) | sampled


def _own_clips(
    clips: EmbeddingTable,
) -> tuple[str, EmbeddingTable, EmbeddingTable | None, EmbeddingTable | None]:
    """Give the split to judge, the first with a label, its clips, training and validation clips.

    Where no clip has a label, the first split with clips is judged.
    """
    if not len(clips):
        raise DataError(f"{EMBEDDINGS_FILE} holds no clip: embed the run's clips again")
    train, val, test = (clips.of_split(name) for name in ("train", "val", "test"))
    gallery = train if len(train) else None
    # The test clips of an anomaly detector may all be anomalies, which are of no class.
    labelled = any(clips.labels)
    if any(test.labels) or (len(test) and not labelled):
        return "test", test, gallery, val if len(val) else None
    if any(val.labels) or (len(val) and not labelled):
        return "val", val, gallery, None
    return "train", clips, None, None


def _with_leaves(tree: LabelTree, table: EmbeddingTable | None) -> tuple[Tensor, Tensor] | None:
    if table is None:
        return None
    return table.embeddings, tree.leaf_index(known_paths(tree, table))


@torch.no_grad()
def _logits(embedder: AudioEmbedder, embeddings: Tensor) -> Tensor | None:
    """Give logits of the leaves, whose softmax is what the model says of them."""
    if embedder.tree is None or embedder.head is None:
        return None
    return embedder.probabilities(embeddings.to(embedder.device)).clamp_min(1e-30).log().cpu()
