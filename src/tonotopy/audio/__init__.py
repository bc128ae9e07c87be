"""Audio in: decoding, caching, front ends and augmentations."""

from __future__ import annotations

from tonotopy.audio.augmentations import (
    AddNoise,
    Augmentation,
    FeatureAugmentation,
    Gain,
    Mixup,
    SpecAugment,
    TimeShift,
    WaveAugmentation,
)
from tonotopy.audio.cache import AudioCache, default_cache
from tonotopy.audio.decoding import AudioInfo, content_hash, decode, probe
from tonotopy.audio.front_end import FrontEnd
from tonotopy.audio.lengths import LengthPolicy, fit_length
from tonotopy.audio.log_mel import LogMel
from tonotopy.audio.mel import MelScale, mel_filters

__all__ = [
    "AddNoise",
    "AudioCache",
    "AudioInfo",
    "Augmentation",
    "FeatureAugmentation",
    "FrontEnd",
    "Gain",
    "LengthPolicy",
    "LogMel",
    "MelScale",
    "Mixup",
    "SpecAugment",
    "TimeShift",
    "WaveAugmentation",
    "content_hash",
    "decode",
    "default_cache",
    "fit_length",
    "mel_filters",
    "probe",
]
