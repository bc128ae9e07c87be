"""What embeddings are worth: classification, neighbours, structure, and signs of collapse."""

from tonotopy.metrics.classification import (
    accuracy,
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
)
from tonotopy.metrics.collapse import effective_rank, mean_pairwise_cosine
from tonotopy.metrics.evaluation import evaluate_embeddings
from tonotopy.metrics.retrieval import (
    RetrievalScores,
    knn_accuracy,
    mean_average_precision,
    precision_at_k,
    r_precision,
    retrieval_scores,
)
from tonotopy.metrics.structure import (
    EmbeddingStructure,
    cosine_structure,
    pairwise_structure,
)

__all__ = [
    "EmbeddingStructure",
    "RetrievalScores",
    "accuracy",
    "confusion_matrix",
    "cosine_structure",
    "effective_rank",
    "evaluate_embeddings",
    "expected_calibration_error",
    "knn_accuracy",
    "macro_f1",
    "mean_average_precision",
    "mean_pairwise_cosine",
    "pairwise_structure",
    "precision_at_k",
    "r_precision",
    "retrieval_scores",
]
