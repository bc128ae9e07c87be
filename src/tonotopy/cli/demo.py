"""`tonotopy demo`: the whole way once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tonotopy.cli._output import Output
from tonotopy.cli._parse import call


def run(arguments: Sequence[str]) -> Output:
    """Run the verb."""
    return call("demo", demo, arguments)


def demo(data: Path | None = None, *, folder: Path = Path("demo")) -> Output:
    """Scan, fit, evaluate, search and report, on sounds made for it or on a folder of yours.

    Without DATA, a small corpus is synthesised by physical modelling: plucked strings, blown
    pipes, struck bars and membranes, rotating machines. It is no recording of anything.

    Args:
        data: Your own clips: a folder whose sub-folders are labels, or anything that scan reads.
        folder: Where corpus and run are put. A finished demo is run anew, an interrupted one goes
            on.
    """
    from tonotopy.protocols import run_demo

    result = run_demo(folder, data)
    return Output(result, f"report: {result['report']}")
