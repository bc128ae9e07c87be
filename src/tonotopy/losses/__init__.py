"""Losses over embeddings and labels: one family a file, a pure function and a thin module each."""

from tonotopy.losses._base import ClassifierLoss, Loss, PairLoss
from tonotopy.losses.add import AngularDistanceDistributionLoss
from tonotopy.losses.cross_entropy import CrossEntropyLoss, cross_entropy
from tonotopy.losses.focal import FocalLoss, focal_loss
from tonotopy.losses.orthogonal_projection import OrthogonalProjectionLoss
from tonotopy.losses.prototypes import AngularPrototypeLoss, PrototypeLoss
from tonotopy.losses.rbf_softmax import RBFSoftmaxLoss
from tonotopy.losses.weighted_sum import WeightedSumLoss

__all__ = [
    "AngularDistanceDistributionLoss",
    "AngularPrototypeLoss",
    "ClassifierLoss",
    "CrossEntropyLoss",
    "FocalLoss",
    "Loss",
    "OrthogonalProjectionLoss",
    "PairLoss",
    "PrototypeLoss",
    "RBFSoftmaxLoss",
    "WeightedSumLoss",
    "cross_entropy",
    "focal_loss",
]
