"""`tonotopy report`: one HTML file for a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tonotopy.cli._output import Output
from tonotopy.cli._parse import call


def run(arguments: Sequence[str]) -> Output:
    """Run the verb."""
    return call("report", report, arguments)


def report(
    run: Path,
    *,
    out: Path | None = None,
    repeats: list[Path] | None = None,
    explain: int | None = None,
) -> Output:
    """Write the report of a run: one HTML file that needs no network.

    Args:
        run: The run folder.
        out: The file to write. Default: report.html in the run folder.
        repeats: Runs of an anomaly detector with the same options and other seeds, as in
            `--repeats '[runs/fan-1, runs/fan-2]'`: the report shows how far their figures spread.
        explain: Draw, for so many of the highest scores of every machine, what in the clip raises
            them. It takes a minute or two a clip on two cores.
    """
    from tonotopy.reporting import write_report

    if explain is not None:
        from tonotopy.protocols.top_anomalies import explain_top

        explain_top(run, explain)
    target = write_report(run, out=out, repeats=repeats or ())
    size = target.stat().st_size / 1e6
    return Output({"report": str(target)}, f"report of {size:.1f} MB in {target}")
