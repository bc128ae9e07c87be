"""Whether embeddings follow a label tree: any embeddings, any depth, ragged, partial labels."""

from tonotopy.metrics.tree._affinity import Affinity
from tonotopy.metrics.tree._clips import Similarity
from tonotopy.metrics.tree.cophenetic import cophenetic_correlation
from tonotopy.metrics.tree.evaluation import evaluate_tree
from tonotopy.metrics.tree.misplaced import MisplacedPairs, misplaced_pairs
from tonotopy.metrics.tree.ndcg import tree_ndcg
from tonotopy.metrics.tree.neighbours import LevelKnn, knn_by_level
from tonotopy.metrics.tree.precision import (
    adaptive_precision_at_k,
    hierarchical_precision_at_k,
    precision_at_k,
)
from tonotopy.metrics.tree.ranks import MeanNormalisedRank, mean_normalised_rank
from tonotopy.metrics.tree.severity import (
    HierarchicalScores,
    Mistakes,
    hierarchical_scores,
    mistakes,
)
from tonotopy.metrics.tree.silhouettes import LevelSilhouettes, level_silhouettes, silhouette
from tonotopy.metrics.tree.triplets import triplet_accuracy
from tonotopy.metrics.tree.unseen import unseen_class_scores

__all__ = [
    "Affinity",
    "HierarchicalScores",
    "LevelKnn",
    "LevelSilhouettes",
    "MeanNormalisedRank",
    "MisplacedPairs",
    "Mistakes",
    "Similarity",
    "adaptive_precision_at_k",
    "cophenetic_correlation",
    "evaluate_tree",
    "hierarchical_precision_at_k",
    "hierarchical_scores",
    "knn_by_level",
    "level_silhouettes",
    "mean_normalised_rank",
    "misplaced_pairs",
    "mistakes",
    "precision_at_k",
    "silhouette",
    "tree_ndcg",
    "triplet_accuracy",
    "unseen_class_scores",
]
