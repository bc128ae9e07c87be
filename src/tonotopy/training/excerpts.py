"""How much of a clip training sees."""

from __future__ import annotations

from tonotopy.clips import ClipTable
from tonotopy.training.config import FitConfig

LONGEST_EXCERPT = 10.0
"""Seconds, where nothing else is said."""


def excerpt_seconds(config: FitConfig, clips: ClipTable) -> float:
    """Give the length that training sees, and that a window of an anomaly detector has."""
    return config.clip_seconds or min(LONGEST_EXCERPT, max(clips.frame["seconds"]))
