"""What is known about clips: label trees, label paths, and what a pair of labels says."""

from tonotopy.labels._display import display_name
from tonotopy.labels.batch_counts import RelationCounts, relation_counts
from tonotopy.labels.pairs import lca_depth_interval
from tonotopy.labels.relations import PairRelations
from tonotopy.labels.tree import NO_LEVEL, UNKNOWN, LabelPath, LabelTree

__all__ = [
    "NO_LEVEL",
    "UNKNOWN",
    "LabelPath",
    "LabelTree",
    "PairRelations",
    "RelationCounts",
    "display_name",
    "lca_depth_interval",
    "relation_counts",
]
