from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy.metrics import (
    accuracy,
    cosine_structure,
    evaluate_embeddings,
    expected_calibration_error,
    macro_f1,
    pairwise_structure,
    retrieval_scores,
)

STRUCTURE = {
    "pooled": {"compactness", "separation", "intra_cv", "inter_cv"},
    "macro": {"compactness", "separation", "intra_cv", "inter_cv", "min_separation"},
    "variance_split": {
        "intra_within_classes",
        "intra_among_classes",
        "inter_within_pairs",
        "inter_among_pairs",
    },
    "pairs": None,
}
SHAPE: dict[str, Any] = {
    "num_clips": None,
    "num_classes": None,
    "embedding_dim": None,
    "classification": {"accuracy", "macro_f1", "ece"},
    "knn": {"k", "accuracy"},
    "retrieval": {
        "map": None,
        "map_se": None,
        "r_precision": None,
        "precision_at_k": {"1", "5", "10"},
        "queries": None,
        "gallery": None,
    },
    "structure": {"cosine": STRUCTURE, "angle_quad": STRUCTURE},
    "matrices": {"confusion", "distance_mean", "distance_cv"},
}


def clips(
    n: int = 60, classes: int = 4, dim: int = 6, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(-1, classes, (n,), generator=generator)
    centres = torch.randn(classes, dim, generator=generator)
    embeddings = centres[labels.clamp_min(0)] + torch.randn(n, dim, generator=generator)
    return embeddings, labels, embeddings @ centres.T


def assert_shape(value: Any, shape: Any) -> None:
    if isinstance(shape, set):
        assert set(value) == shape
    elif shape is not None:
        assert set(value) == set(shape)
        for name, inner in shape.items():
            assert_shape(value[name], inner)


def numbers(value: Any) -> list[float]:
    """All leaves, which must be plain Python numbers."""
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in numbers(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in numbers(inner)]
    if value is None or isinstance(value, str):
        return []
    assert type(value) in (int, float)
    return [value]


def test_the_dict_holds_what_the_parts_give() -> None:
    embeddings, labels, logits = clips()
    got = evaluate_embeddings(embeddings, labels, num_classes=4, logits=logits)

    assert_shape(got, SHAPE)
    numbers(got)
    predicted = logits.argmax(dim=1)
    assert got["classification"] == {
        "accuracy": accuracy(predicted, labels),
        "macro_f1": macro_f1(predicted, labels, 4),
        "ece": expected_calibration_error(logits.double().softmax(dim=1), labels),
    }
    found = retrieval_scores(embeddings, labels)
    assert got["knn"] == {"k": 5, "accuracy": found.knn_accuracy}
    assert got["retrieval"]["map"] == found.map
    assert got["retrieval"]["precision_at_k"] == {
        str(k): value for k, value in found.precision_at_k.items()
    }
    assert got["structure"] == {
        "cosine": cosine_structure(embeddings, labels, 4),
        "angle_quad": pairwise_structure(embeddings, labels, 4),
    }
    assert (got["num_clips"], got["num_classes"], got["embedding_dim"]) == (
        int((labels >= 0).sum()),
        4,
        6,
    )


def test_unlabelled_clips_change_nothing() -> None:
    embeddings, labels, logits = clips()
    known = labels >= 0
    wanted = evaluate_embeddings(
        embeddings[known], labels[known], num_classes=4, logits=logits[known]
    )
    embeddings[~known] = torch.nan
    assert evaluate_embeddings(embeddings, labels, num_classes=4, logits=logits) == wanted


def test_neighbours_come_from_the_gallery_and_structure_does_not() -> None:
    embeddings, labels, _ = clips()
    other = clips(40, seed=1)[:2]
    alone = evaluate_embeddings(embeddings, labels, num_classes=4)
    got = evaluate_embeddings(embeddings, labels, num_classes=4, gallery=other)
    assert got["classification"] is None
    assert got["matrices"]["confusion"] is None
    assert got["retrieval"]["gallery"] == int((other[1] >= 0).sum())
    assert got["retrieval"]["map"] == retrieval_scores(embeddings, labels, gallery=other).map
    assert got["structure"] == alone["structure"]
    assert got["matrices"] == alone["matrices"]


def test_more_clips_than_queries() -> None:
    embeddings, labels, _ = clips(200)
    got = evaluate_embeddings(embeddings, labels, num_classes=4, max_queries=50, seed=3)
    assert got["retrieval"]["queries"] == 50
    assert got["retrieval"]["gallery"] == got["num_clips"] > 50
    again = evaluate_embeddings(embeddings, labels, num_classes=4, max_queries=50, seed=3)
    assert again == got


def test_matrices() -> None:
    labels = torch.tensor([0, 0, 0, 2, 2, -1])
    embeddings = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1], [0, 1], [1, 1]])
    logits = torch.tensor([[9.0, 0, 0], [0, 9, 0], [9, 0, 0], [0, 0, 9], [0, 0, 9], [9, 0, 0]])
    got = evaluate_embeddings(embeddings, labels, num_classes=3, logits=logits)["matrices"]
    nan = math.nan
    assert got["confusion"] == [[2, 1, 0], [0, 0, 0], [0, 0, 2]]
    assert numbers(got["distance_mean"]) == pytest.approx(
        [2 / 3, nan, 2 / 3, nan, nan, nan, 2 / 3, nan, 0.0], nan_ok=True
    )
    half = math.sqrt(0.5)
    assert numbers(got["distance_cv"]) == pytest.approx(
        [half, nan, half, nan, nan, nan, half, nan, nan], nan_ok=True
    )


@pytest.mark.parametrize(
    ("embeddings", "labels"),
    [
        (torch.zeros(0, 3), []),
        (torch.ones(1, 3), [0]),
        (torch.ones(4, 3), [-1] * 4),
        (torch.ones(6, 3), [0, 0, 0, 1, 1, 1]),
        (torch.zeros(6, 3), [0, 0, 0, 1, 1, 1]),
        (torch.eye(3), [0, 1, 2]),
        (torch.eye(3), [1, 1, 1]),
    ],
)
def test_degenerate_input_has_defined_values(embeddings: Tensor, labels: list[int]) -> None:
    got = evaluate_embeddings(
        embeddings,
        torch.tensor(labels, dtype=torch.long),
        num_classes=3,
        logits=torch.zeros(len(labels), 3),
    )
    assert_shape(got, SHAPE)
    assert not any(math.isinf(value) for value in numbers(got))


def test_bad_input_is_named() -> None:
    embeddings, labels, logits = clips()
    labels[:3] = 0
    with pytest.raises(UsageError, match="num_classes = 3, got 3"):
        evaluate_embeddings(embeddings, labels, num_classes=3)
    with pytest.raises(UsageError, match=r"expected logits \(60, 4\), got \(60, 3\)"):
        evaluate_embeddings(embeddings, labels, num_classes=4, logits=logits[:, :3])
    logits[2] = math.inf
    with pytest.raises(DataError, match=r"1 of \d+ logits"):
        evaluate_embeddings(embeddings, labels, num_classes=4, logits=logits)
    embeddings[:2, 0] = torch.nan
    with pytest.raises(DataError, match=r"2 of \d+ embeddings"):
        evaluate_embeddings(embeddings, labels, num_classes=4)
