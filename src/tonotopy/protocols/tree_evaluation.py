"""How well a model follows its label tree, on clips of its classes and of classes it never saw."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tonotopy.embedder import AudioEmbedder, TreeClassifier
from tonotopy.extraction import EmbeddingTable
from tonotopy.labels import LabelTree
from tonotopy.metrics.tree import evaluate_tree, mistakes, unseen_class_scores
from tonotopy.protocols.embedding import known_paths


def tree_metrics(
    embedder: AudioEmbedder,
    judged: EmbeddingTable,
    *,
    train: EmbeddingTable | None,
    val: EmbeddingTable | None,
    unseen: EmbeddingTable | None,
) -> dict[str, Any]:
    """Measure embeddings and predictions against the model's tree.

    Args:
        embedder: The model.
        judged: Clips to judge, labelled as far as is known.
        train: Clips among which neighbours are looked up, or None.
        val: Clips that choose the number of neighbours, or None.
        unseen: Clips of classes that are not in the tree, or None.

    Returns:
        What `evaluate_tree` gives, with `unseen` filled in where there are such clips; and `ways`,
        the `name`, `accuracy` and `severity` of each way to classify, where both are defined.
    """
    tree, classifier = embedder.tree, embedder.classifier
    assert tree is not None, "a run's model has labels"
    predicted = None
    if classifier is not None and classifier.tree == tree:
        predicted = classifier.paths(judged.embeddings.to(embedder.device)).cpu()
    gallery = None if train is None else _coded(train, tree)
    codes = tree.encode(known_paths(tree, judged))
    metrics: dict[str, Any] = evaluate_tree(
        judged.embeddings,
        codes,
        tree,
        predicted=predicted,
        gallery=gallery,
        validation=None if val is None else _coded(val, tree),
    )
    metrics["ways"] = _ways(embedder, judged.embeddings, codes)
    if unseen is not None and len(unseen) and gallery is not None:
        nodes, leaves = _head_scores(embedder, unseen.embeddings)
        metrics["unseen"] = unseen_class_scores(
            unseen.embeddings,
            unseen.labels,
            tree,
            gallery=gallery,
            node_probabilities=nodes,
            leaf_probabilities=leaves,
        )
    return metrics


def _ways(embedder: AudioEmbedder, embeddings: Tensor, codes: Tensor) -> list[dict[str, Any]]:
    """Weigh the mistakes of the trained classifier and of the nearest centroid."""
    ways = []
    for name, classifier in (
        ("trained classifier", embedder.classifier if embedder.head is not None else None),
        ("nearest centroid", embedder.centroid_classifier),
    ):
        if classifier is None or classifier.tree != embedder.tree:
            continue
        predicted = classifier.paths(embeddings.to(embedder.device)).cpu()
        found = mistakes(predicted, codes, classifier.tree)
        if found.count:
            accuracy = 1.0 - found.count / found.judged
            ways.append({"name": name, "accuracy": accuracy, "severity": found.severity})
    return ways


def _coded(table: EmbeddingTable, tree: LabelTree) -> tuple[Tensor, Tensor]:
    return table.embeddings, tree.encode(known_paths(tree, table))


@torch.no_grad()
def _head_scores(
    embedder: AudioEmbedder, embeddings: Tensor
) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Give what the trained head says of every node and of every leaf; nothing without one."""
    head, tree = embedder.head, embedder.tree
    if head is None or tree is None:
        return None, None
    classifier, points = TreeClassifier(head, tree), embeddings.to(embedder.device)
    # The heads of the levels as they are: bound to each other, a wrong parent would hide a right
    # node below it.
    scores = classifier.node_probabilities(points) if head.reading == "leaves" else head(points)
    return scores.cpu(), classifier.leaf_probabilities(points).cpu()
