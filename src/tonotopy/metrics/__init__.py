"""What embeddings are worth: classes, neighbours, structure, anomalies, use of the sphere."""

from tonotopy.metrics.alignment_uniformity import alignment, uniformity
from tonotopy.metrics.anomaly import RocCurve, partial_auc, roc_auc, roc_curve
from tonotopy.metrics.challenge_scores import (
    DecisionScores,
    SectionScores,
    decision_scores,
    harmonic_mean,
    official_score,
    section_scores,
)
from tonotopy.metrics.class_tolerance import ToleranceForm, tolerance
from tonotopy.metrics.classification import (
    accuracy,
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
)
from tonotopy.metrics.clip_accuracy import (
    CLIP_ACCURACIES,
    BootstrapInterval,
    clip_accuracies,
    clip_majority,
    clip_probabilities,
)
from tonotopy.metrics.collapse import effective_rank, mean_pairwise_cosine, relative_spread
from tonotopy.metrics.confidence import ConfidenceScores, confidence_scores
from tonotopy.metrics.evaluation import evaluate_embeddings
from tonotopy.metrics.feature_analysis import analyse_features
from tonotopy.metrics.hubs import hubness, k_occurrence
from tonotopy.metrics.jackknife import Jackknife, jackknife_interval, pooled_interval
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
from tonotopy.metrics.threshold_f1 import BestF1, best_f1, f1_ev

__all__ = [
    "CLIP_ACCURACIES",
    "BestF1",
    "BootstrapInterval",
    "ConfidenceScores",
    "DecisionScores",
    "EmbeddingStructure",
    "Jackknife",
    "RetrievalScores",
    "RocCurve",
    "SectionScores",
    "ToleranceForm",
    "accuracy",
    "alignment",
    "analyse_features",
    "best_f1",
    "clip_accuracies",
    "clip_majority",
    "clip_probabilities",
    "confidence_scores",
    "confusion_matrix",
    "cosine_structure",
    "decision_scores",
    "effective_rank",
    "evaluate_embeddings",
    "expected_calibration_error",
    "f1_ev",
    "harmonic_mean",
    "hubness",
    "jackknife_interval",
    "k_occurrence",
    "knn_accuracy",
    "macro_f1",
    "mean_average_precision",
    "mean_pairwise_cosine",
    "official_score",
    "pairwise_structure",
    "partial_auc",
    "pooled_interval",
    "precision_at_k",
    "r_precision",
    "relative_spread",
    "retrieval_scores",
    "roc_auc",
    "roc_curve",
    "section_scores",
    "tolerance",
    "uniformity",
]
