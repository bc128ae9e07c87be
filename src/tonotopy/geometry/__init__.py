"""Unit vectors, safe angles, cosines and moments of pairs, and classifiers over embeddings."""

from tonotopy.geometry.angles import (
    Distance,
    angle_between,
    angle_slope,
    distance_from_cosine,
    right_angle,
)
from tonotopy.geometry.angular_heads import CosineHead, SubspaceHead
from tonotopy.geometry.distances import pairwise_euclidean, pairwise_poincare, poincare_ball
from tonotopy.geometry.heads import Head, LinearHead, RBFHead, rbf_logits
from tonotopy.geometry.moments import ClassMoments
from tonotopy.geometry.tree_heads import CentroidHead, LevelHead, NodeHead
from tonotopy.geometry.unit import cosine_blocks, pairwise_cosine, unit_vectors

__all__ = [
    "CentroidHead",
    "ClassMoments",
    "CosineHead",
    "Distance",
    "Head",
    "LevelHead",
    "LinearHead",
    "NodeHead",
    "RBFHead",
    "SubspaceHead",
    "angle_between",
    "angle_slope",
    "cosine_blocks",
    "distance_from_cosine",
    "pairwise_cosine",
    "pairwise_euclidean",
    "pairwise_poincare",
    "poincare_ball",
    "rbf_logits",
    "right_angle",
    "unit_vectors",
]
