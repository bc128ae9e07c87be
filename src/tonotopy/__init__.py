"""tonotopy: structured embeddings of audio, whose angles mean what you know about your sounds."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tonotopy.clips import ClipTable, load_clips, scan
    from tonotopy.embedder import AudioEmbedder
    from tonotopy.labels import LabelTree
    from tonotopy.protocols import complete_run, evaluate_run
    from tonotopy.reporting import write_report
    from tonotopy.training import FitConfig, fit, resume

# Imported when first used: `import tonotopy` and `tonotopy --help` stay fast.
_HOMES = {
    "AudioEmbedder": "embedder",
    "ClipTable": "clips",
    "FitConfig": "training",
    "LabelTree": "labels",
    "complete_run": "protocols",
    "evaluate_run": "protocols",
    "fit": "training",
    "load_clips": "clips",
    "resume": "training",
    "scan": "clips",
    "write_report": "reporting",
}

__all__ = [
    "AudioEmbedder",
    "ClipTable",
    "FitConfig",
    "LabelTree",
    "complete_run",
    "evaluate_run",
    "fit",
    "load_clips",
    "resume",
    "scan",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"tonotopy.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
