"""The whole way at once: finish a run, demonstrate it, repeat a paper's experiment."""

from tonotopy.protocols.completion import complete_run
from tonotopy.protocols.demo import run_demo
from tonotopy.protocols.evaluation import evaluate_run

__all__ = ["complete_run", "evaluate_run", "run_demo"]
