"""`tonotopy report`: one HTML file for a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tonotopy.cli._output import Output
from tonotopy.cli._parse import call


def run(arguments: Sequence[str]) -> Output:
    """Run the verb."""
    return call("report", report, arguments)


def report(run: Path, *, out: Path | None = None) -> Output:
    """Write the report of a run: one HTML file that needs no network.

    Args:
        run: The run folder.
        out: The file to write. Default: report.html in the run folder.
    """
    from tonotopy.reporting import write_report

    target = write_report(run, out=out)
    size = target.stat().st_size / 1e6
    return Output({"report": str(target)}, f"report of {size:.1f} MB in {target}")
