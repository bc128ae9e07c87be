"""All numbers about one set of embeddings, as one dict."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.geometry.moments import cosine_cells
from tonotopy.metrics._validation import check_classes, labelled_rows
from tonotopy.metrics.classification import (
    accuracy,
    calibration_gap,
    confusion_matrix,
    macro_f1,
)
from tonotopy.metrics.retrieval import retrieval_scores
from tonotopy.metrics.structure import (
    coefficient_of_variation,
    pairwise_structure,
    structure_of_cells,
)

ROWS = 8192
"""Clips whose probabilities are held at once."""


@torch.no_grad()
def evaluate_embeddings(
    embeddings: Tensor,
    labels: Tensor,
    *,
    num_classes: int,
    logits: Tensor | None = None,
    gallery: tuple[Tensor, Tensor] | None = None,
    max_queries: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure classification, neighbours, retrieval and structure of labelled embeddings.

    Everything is computed on the CPU in float64 by blocks; no N x N matrix is ever held.
    What is not computed on all clips says so in the result: `queries` below the number of clips,
    and `pairs` = `{"sampled_clips": n}` beside the angles of more than 20,000 clips.

    Args:
        embeddings: (N, D) floats, not necessarily normalised.
        labels: (N,) class ids in [0, num_classes); negative = unknown: left out of everything.
        num_classes: Number of classes C.
        logits: (N, C) outputs of a classifier, or None.
        gallery: Embeddings (M, D) and class ids (M,), for instance of the training clips, in which
            neighbours are looked up; None looks them up among the other clips.
        max_queries: Queries of retrieval and nearest neighbours, drawn at random where there are
            more labelled clips. Default 2,000, with which the standard error of the mean average
            precision (`map_se`) is about 0.006.
        seed: Of the samples.

    Returns:
        Plain Python numbers, NaN where undefined: `num_clips` (labelled ones), `num_classes`,
        `embedding_dim`; `classification` (`accuracy`, `macro_f1`, `ece`; None without logits);
        `knn` (`k`, `accuracy`); `retrieval` (`map`, `map_se`, `r_precision`, `precision_at_k`,
        `queries`, `gallery`); `structure` by distance, `cosine` and `angle_quad` (see
        `structure_of_cells`; and `pairs`); `matrices`, class by class: `confusion` (rows are the
        true classes), `distance_mean` and `distance_cv` of the cosine distance.

    Raises:
        UsageError: Shapes do not fit, or a label is `num_classes` or more.
        DataError: A labelled embedding or logit is not finite; the message counts them.
    """
    if logits is not None and logits.shape != (len(labels), num_classes):
        raise UsageError(
            f"expected logits ({len(labels)}, {num_classes}), got {tuple(logits.shape)}"
        )
    truth = labels
    embeddings, labels = labelled_rows(embeddings, labels)
    check_classes(labels, num_classes)
    cells = cosine_cells(embeddings, labels, num_classes)
    cv = coefficient_of_variation(cells.mean, cells.sd)
    found = retrieval_scores(
        embeddings, labels, gallery=gallery, max_queries=max_queries, seed=seed
    )
    classification, confusion = None, None
    if logits is not None:
        logits, _ = labelled_rows(logits, truth, "logits")
        classification, confusion = _classification(logits, labels, num_classes)
    return {
        "num_clips": len(labels),
        "num_classes": num_classes,
        "embedding_dim": embeddings.shape[1],
        "classification": classification,
        "knn": {"k": found.k, "accuracy": found.knn_accuracy},
        "retrieval": {
            "map": found.map,
            "map_se": found.map_se,
            "r_precision": found.r_precision,
            "precision_at_k": {str(k): value for k, value in found.precision_at_k.items()},
            "queries": found.queries,
            "gallery": found.gallery,
        },
        "structure": {
            "cosine": structure_of_cells(cells) | {"pairs": "exact"},
            "angle_quad": pairwise_structure(embeddings, labels, num_classes, seed=seed),
        },
        "matrices": {
            "confusion": confusion,
            "distance_mean": cells.mean.tolist(),
            "distance_cv": cv.tolist(),
        },
    }


def _classification(
    logits: Tensor, labels: Tensor, num_classes: int
) -> tuple[dict[str, float], list[list[int]]]:
    predicted = logits.argmax(dim=1)
    blocks = torch.split(logits, ROWS)
    confidence = torch.cat([block.double().softmax(dim=1).amax(dim=1) for block in blocks])
    numbers = {
        "accuracy": accuracy(predicted, labels),
        "macro_f1": macro_f1(predicted, labels, num_classes),
        "ece": calibration_gap(confidence, predicted == labels),
    }
    counts: list[list[int]] = confusion_matrix(predicted, labels, num_classes).tolist()
    return numbers, counts
