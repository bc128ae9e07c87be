"""What is known about clips: label trees, label paths, and what a pair of labels says."""

from tonotopy.labels._display import display_name
from tonotopy.labels.batch_counts import RelationCounts, relation_counts
from tonotopy.labels.pairs import lca_depth_interval
from tonotopy.labels.probabilities import (
    Reading,
    decode_paths,
    node_probabilities,
    path_probabilities,
    stopping_depth,
)
from tonotopy.labels.relations import PairRelations
from tonotopy.labels.tree import NO_LEVEL, UNKNOWN, LabelPath, LabelTree

__all__ = [
    "NO_LEVEL",
    "UNKNOWN",
    "LabelPath",
    "LabelTree",
    "PairRelations",
    "Reading",
    "RelationCounts",
    "decode_paths",
    "display_name",
    "lca_depth_interval",
    "node_probabilities",
    "path_probabilities",
    "relation_counts",
    "stopping_depth",
]
