"""Losses over embeddings and labels: one family a file, a pure function and a thin module each."""

from tonotopy.losses._base import ClassifierLoss, Loss, PairLoss
from tonotopy.losses.adacos import AdaCosLoss
from tonotopy.losses.adaproj import AdaProjLoss
from tonotopy.losses.add import AngularDistanceDistributionLoss
from tonotopy.losses.alignment_uniformity import AlignmentUniformityLoss
from tonotopy.losses.angular_contrastive import AngularContrastiveLoss, angular_contrastive_loss
from tonotopy.losses.angular_margin_contrastive import AngularMarginContrastiveLoss
from tonotopy.losses.compactness import (
    CompactnessLoss,
    DeepSVDDLoss,
    DescriptivenessCompactnessLoss,
    OneClassCompactnessLoss,
)
from tonotopy.losses.cpcc import CPCCLoss
from tonotopy.losses.cross_batch_memory import CrossBatchMemory
from tonotopy.losses.cross_entropy import CrossEntropyLoss, cross_entropy
from tonotopy.losses.focal import FocalLoss, focal_loss
from tonotopy.losses.generalized_triplet import GeneralizedTripletLoss
from tonotopy.losses.grad_cache import GradCache
from tonotopy.losses.hierarchical_cross_entropy import HierarchicalCrossEntropyLoss
from tonotopy.losses.hierarchical_prototype import HierarchicalPrototypeLoss
from tonotopy.losses.himulcon import HiMulConLoss
from tonotopy.losses.interop import FromMetricLearning, ToMetricLearning
from tonotopy.losses.leaf_cross_entropy import LeafCrossEntropyLoss
from tonotopy.losses.level_cross_entropy import LevelCrossEntropyLoss
from tonotopy.losses.margin_bound import largest_margin
from tonotopy.losses.margin_softmax import (
    ArcFaceLoss,
    CosFaceLoss,
    NormalizedSoftmaxLoss,
    SphereFaceLoss,
)
from tonotopy.losses.momentum_contrast import MomentumContrast
from tonotopy.losses.node_bce import NodeBCELoss
from tonotopy.losses.node_weights import (
    CountWeighted,
    leaf_class_weights,
    node_class_weights,
    node_positive_weights,
)
from tonotopy.losses.ntxent import NTXentLoss
from tonotopy.losses.orthogonal_projection import OrthogonalProjectionLoss
from tonotopy.losses.projected import ProjectedLoss, ProjectionHead, ProjectionLoss
from tonotopy.losses.prototypes import AngularPrototypeLoss, PrototypeLoss
from tonotopy.losses.quadruplet import QuadrupletLoss
from tonotopy.losses.rank_based import RankBasedLoss
from tonotopy.losses.rbf_softmax import RBFSoftmaxLoss
from tonotopy.losses.soft_label import SoftLabelLoss
from tonotopy.losses.subcluster_adacos import SubclusterAdaCosLoss
from tonotopy.losses.supcon import SupConLoss
from tonotopy.losses.tree_distance_distribution import TreeDistanceDistributionLoss
from tonotopy.losses.vicreg import VICRegLoss
from tonotopy.losses.weighted_sum import Ramp, WeightedSumLoss

__all__ = [
    "AdaCosLoss",
    "AdaProjLoss",
    "AlignmentUniformityLoss",
    "AngularContrastiveLoss",
    "AngularDistanceDistributionLoss",
    "AngularMarginContrastiveLoss",
    "AngularPrototypeLoss",
    "ArcFaceLoss",
    "CPCCLoss",
    "ClassifierLoss",
    "CompactnessLoss",
    "CosFaceLoss",
    "CountWeighted",
    "CrossBatchMemory",
    "CrossEntropyLoss",
    "DeepSVDDLoss",
    "DescriptivenessCompactnessLoss",
    "FocalLoss",
    "FromMetricLearning",
    "GeneralizedTripletLoss",
    "GradCache",
    "HiMulConLoss",
    "HierarchicalCrossEntropyLoss",
    "HierarchicalPrototypeLoss",
    "LeafCrossEntropyLoss",
    "LevelCrossEntropyLoss",
    "Loss",
    "MomentumContrast",
    "NTXentLoss",
    "NodeBCELoss",
    "NormalizedSoftmaxLoss",
    "OneClassCompactnessLoss",
    "OrthogonalProjectionLoss",
    "PairLoss",
    "ProjectedLoss",
    "ProjectionHead",
    "ProjectionLoss",
    "PrototypeLoss",
    "QuadrupletLoss",
    "RBFSoftmaxLoss",
    "Ramp",
    "RankBasedLoss",
    "SoftLabelLoss",
    "SphereFaceLoss",
    "SubclusterAdaCosLoss",
    "SupConLoss",
    "ToMetricLearning",
    "TreeDistanceDistributionLoss",
    "VICRegLoss",
    "WeightedSumLoss",
    "angular_contrastive_loss",
    "cross_entropy",
    "focal_loss",
    "largest_margin",
    "leaf_class_weights",
    "node_class_weights",
    "node_positive_weights",
]
