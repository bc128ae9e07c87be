"""The whole way at once: finish a run, demonstrate it, repeat a paper's experiment."""

from tonotopy.protocols.completion import complete_run
from tonotopy.protocols.demo import run_demo
from tonotopy.protocols.evaluation import evaluate_run
from tonotopy.protocols.probe import ProbeOptions, probe_embedder
from tonotopy.protocols.probe_run import probe_run

__all__ = [
    "ProbeOptions",
    "complete_run",
    "evaluate_run",
    "probe_embedder",
    "probe_run",
    "run_demo",
]
