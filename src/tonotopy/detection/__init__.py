"""Anomalous sound detection: from embeddings of normal operation to alarms."""

from __future__ import annotations

from tonotopy.detection.alarms import AlarmEvent, AlarmLogic
from tonotopy.detection.conditions import (
    SCORED,
    Condition,
    Decision,
    FaultCounter,
    Faults,
    decide,
    level_dbfs,
    window_condition,
)
from tonotopy.detection.detector import FOLDER, Detector
from tonotopy.detection.drift import DriftMonitor
from tonotopy.detection.drift_report import DriftReport
from tonotopy.detection.drift_statistics import population_stability_index
from tonotopy.detection.file_windows import read_window
from tonotopy.detection.fusion import Fusion, fuse_scores
from tonotopy.detection.gaussian_mixture import GaussianMixtureScorer
from tonotopy.detection.k_means import KMeansScorer
from tonotopy.detection.local_outlier_factor import LocalOutlierFactorScorer
from tonotopy.detection.machine_fitting import CalibrateOn, DetectorOptions
from tonotopy.detection.machine_model import ANY_MACHINE, MachineModel
from tonotopy.detection.mahalanobis import MahalanobisScorer
from tonotopy.detection.nearest_neighbours import NearestNeighbourScorer
from tonotopy.detection.pcm import Block, ByteQueue, Gap, PcmFormat, PcmReader, decode_pcm
from tonotopy.detection.reference_log import ReferenceChange, ReferenceLog
from tonotopy.detection.references import References
from tonotopy.detection.ring_buffer import RingBuffer
from tonotopy.detection.row_log import RowLog
from tonotopy.detection.scorer import Scorer
from tonotopy.detection.sensitivity import sensitivity
from tonotopy.detection.streaming import Judge, StreamDetector, WindowScore
from tonotopy.detection.subcentres import SubcentreScorer
from tonotopy.detection.thresholds import Threshold, ThresholdMethod, fit_threshold

__all__ = [
    "ANY_MACHINE",
    "FOLDER",
    "SCORED",
    "AlarmEvent",
    "AlarmLogic",
    "Block",
    "ByteQueue",
    "CalibrateOn",
    "Condition",
    "Decision",
    "Detector",
    "DetectorOptions",
    "DriftMonitor",
    "DriftReport",
    "FaultCounter",
    "Faults",
    "Fusion",
    "Gap",
    "GaussianMixtureScorer",
    "Judge",
    "KMeansScorer",
    "LocalOutlierFactorScorer",
    "MachineModel",
    "MahalanobisScorer",
    "NearestNeighbourScorer",
    "PcmFormat",
    "PcmReader",
    "ReferenceChange",
    "ReferenceLog",
    "References",
    "RingBuffer",
    "RowLog",
    "Scorer",
    "StreamDetector",
    "SubcentreScorer",
    "Threshold",
    "ThresholdMethod",
    "WindowScore",
    "decide",
    "decode_pcm",
    "fit_threshold",
    "fuse_scores",
    "level_dbfs",
    "population_stability_index",
    "read_window",
    "sensitivity",
    "window_condition",
]
