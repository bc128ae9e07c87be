"""How often a model is right about validation clips, level by level where labels are a tree."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy.embedder import AudioEmbedder, TreeClassifier
from tonotopy.metrics import knn_accuracy


@torch.no_grad()
def validation_accuracies(
    embedder: AudioEmbedder, embeddings: Tensor, labels: Tensor
) -> dict[str, float]:
    """Give the accuracy of the classifier, where there is one, and of the nearest neighbour.

    Args:
        embedder: The model.
        embeddings: (N, D) of the validation clips.
        labels: (N,) class ids, negative = unknown, or (N, L) codes of the model's tree.

    Returns:
        `val/accuracy` and `val/knn_accuracy`. For codes both are means over the levels on which a
        clip has a known node, and `level1/accuracy`, `level1/knn_accuracy` and so on are those of
        each.
    """
    head = embedder.head
    if labels.ndim == 1:
        values = {"val/knn_accuracy": knn_accuracy(embeddings, labels, k=1)}
        if head is not None:
            values["val/accuracy"] = _share(head(embeddings).argmax(dim=-1), labels)
        return values

    known = [level for level in range(labels.shape[1]) if (labels[:, level] >= 0).any()]
    by_measure = {
        "knn_accuracy": [knn_accuracy(embeddings, labels[:, level], k=1) for level in known]
    }
    if head is not None:
        assert embedder.tree is not None, "a classifier belongs to a tree"
        predicted = TreeClassifier(head, embedder.tree).paths(embeddings)
        by_measure["accuracy"] = [_share(predicted[:, at], labels[:, at]) for at in known]
    values = {}
    for name, shares in by_measure.items():
        values[f"val/{name}"] = sum(shares) / max(len(shares), 1)
        for level, share in zip(known, shares, strict=True):
            values[f"level{level + 1}/{name}"] = share
    return values


def _share(predicted: Tensor, labels: Tensor) -> float:
    return (predicted == labels)[labels >= 0].double().mean().item()
