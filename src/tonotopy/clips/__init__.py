"""Clips with their labels: scan, split, sample and load them."""

from tonotopy.clips.loading import ClipDataset, collate_clips
from tonotopy.clips.machines import (
    MachineColumns,
    add_machines,
    auxiliary_classes,
    official_split,
)
from tonotopy.clips.quadruplet_sampler import QuadrupletBatchSampler
from tonotopy.clips.samplers import BatchSampler, PKBatchSampler, ShuffledBatchSampler
from tonotopy.clips.scan import load_clips, scan, scan_files
from tonotopy.clips.splits import split_clips
from tonotopy.clips.summary import duplicates, summarise
from tonotopy.clips.table import ClipTable
from tonotopy.clips.tree_sampler import TreeBatchSampler
from tonotopy.clips.triplet_sampler import TreeTripletSampler
from tonotopy.clips.windows import clip_starts, window_clips, window_starts

__all__ = [
    "BatchSampler",
    "ClipDataset",
    "ClipTable",
    "MachineColumns",
    "PKBatchSampler",
    "QuadrupletBatchSampler",
    "ShuffledBatchSampler",
    "TreeBatchSampler",
    "TreeTripletSampler",
    "add_machines",
    "auxiliary_classes",
    "clip_starts",
    "collate_clips",
    "duplicates",
    "load_clips",
    "official_split",
    "scan",
    "scan_files",
    "split_clips",
    "summarise",
    "window_clips",
    "window_starts",
]
