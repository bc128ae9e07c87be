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
from tonotopy.audio.compression import Compression
from tonotopy.audio.decoding import AudioInfo, content_hash, count_samples, decode, probe
from tonotopy.audio.exchange import StatEx, draw_exchanges, exchange_statistics
from tonotopy.audio.feature_noise import FeatureNoise
from tonotopy.audio.front_end import FrontEnd
from tonotopy.audio.keyed_generator import KeyedGenerator
from tonotopy.audio.lengths import LengthPolicy, fit_length
from tonotopy.audio.log_mel import LogMel
from tonotopy.audio.mel import MelScale, mel_filters
from tonotopy.audio.mix_back import MixBack
from tonotopy.audio.peak_log_mel import PeakLogMel
from tonotopy.audio.raw_waveform import RawWaveform
from tonotopy.audio.resized_crop import RandomResizedCrop
from tonotopy.audio.views import Views
from tonotopy.audio.wave_mixup import WaveMixup
from tonotopy.audio.waveform import Waveform

__all__ = [
    "AddNoise",
    "AudioCache",
    "AudioInfo",
    "Augmentation",
    "Compression",
    "FeatureAugmentation",
    "FeatureNoise",
    "FrontEnd",
    "Gain",
    "KeyedGenerator",
    "LengthPolicy",
    "LogMel",
    "MelScale",
    "MixBack",
    "Mixup",
    "PeakLogMel",
    "RandomResizedCrop",
    "RawWaveform",
    "SpecAugment",
    "StatEx",
    "TimeShift",
    "Views",
    "WaveAugmentation",
    "WaveMixup",
    "Waveform",
    "content_hash",
    "count_samples",
    "decode",
    "default_cache",
    "draw_exchanges",
    "exchange_statistics",
    "fit_length",
    "mel_filters",
    "probe",
]
