"""`tonotopy drift`: is it still the machine that the detector was calibrated on?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tonotopy.cli._output import Output
from tonotopy.cli._parse import make_parser

if TYPE_CHECKING:
    from rich.console import Console

DESCRIPTION = """\
Compare recordings with what a detector was calibrated on: has the sound of normal operation moved?
And say how robust the detector is: what a changed gain or speed does to its scores.

    tonotopy drift RUN this-week/                        every machine by its file names
    tonotopy drift RUN this-week/ --machine fan/id_00
    tonotopy drift RUN this-week/ --json > drift.json

Compared are the windows that the detector accepts as normal: the distribution of their scores
(population stability index, Kolmogorov-Smirnov test), the mean direction of their embeddings, and
the model's confidence that they are of their machine. Beside each figure stands what chance alone
makes of as many windows. Recordings of an hour are compared with calibration recordings that may
span weeks: give recordings that are as varied, at least 30 windows.

Where the sound has moved for a good reason, `tonotopy normals` makes the new sound normal.
"""

CHECKS = (
    ("score distribution (PSI)", "psi", "psi_noise", "{:.3f}", "up to {:.3f}"),
    ("score distribution (KS)", "ks", "ks_p_value", "{:.3f}", "p {:.2g}"),
    ("mean embedding, degrees", "angle", "angle_noise", "{:.2f}", "up to {:.2f}"),
    ("class confidence", "confidence_change", "confidence_p_value", "{:+.3f}", "p {:.2g}"),
)


def run(arguments: Sequence[str]) -> Output:
    """Run the verb."""
    parser = make_parser("drift", DESCRIPTION)
    parser.add_argument("run", metavar="RUN", type=Path, help="A run folder with a detector.")
    parser.add_argument(
        "audio",
        metavar="AUDIO",
        type=Path,
        nargs="+",
        help="Audio files, folders, or tables with a path column; of normal operation, mostly.",
    )
    parser.add_argument(
        "--machine",
        help="The machine of all recordings, such as fan/id_00. Default: the only one, or what "
        "tables, file names and folders say.",
    )
    parser.add_argument(
        "--domain", help="source or target: take its threshold. Default: that for all domains."
    )
    parsed = parser.parse_args(list(arguments))
    return drift(parsed.run, parsed.audio, parsed.machine, parsed.domain)


def drift(run: Path, audio: list[Path], machine: str | None, domain: str | None) -> Output:
    """Measure drift and sensitivity, machine by machine."""
    from tonotopy.protocols.drift import measure_drift

    found = measure_drift(run, audio, machine=machine, domain=domain)
    verdicts = [
        f"{name}: {about['drift']['verdict'] if about['drift'] else 'not measured'}"
        for name, about in found["machines"].items()
    ]
    summary = "; ".join(verdicts)
    if found["quarantined"]:
        summary += f"; {len(found['quarantined'])} files could not be used"
    return Output(found, summary, lambda console: _show(console, found))


def _show(console: Console, found: dict[str, Any]) -> None:
    from rich.text import Text

    for name, about in found["machines"].items():
        if about["drift"] is not None:
            _show_drift(console, name, about)
        if about["sensitivity"] is not None:
            _show_sensitivity(console, name, about["sensitivity"])
    for row in found["quarantined"]:
        line = f"could not be used: {row['path']}: {row['reason']}, {row['detail']}"
        console.print(Text(line))
    for note in found["notes"]:
        console.print(Text(f"note: {note}"))


def _show_drift(console: Console, name: str, about: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    report = about["drift"]
    title = (
        f"{name}: {report['accepted']} windows accepted, {report['rejected']} rejected, "
        f"{about['unusable']} unusable"
    )
    table = Table("moved", "by", "chance alone", title=Text(title))
    for label, value, chance, form, chance_form in CHECKS:
        if report[value] is not None:
            table.add_row(label, form.format(report[value]), chance_form.format(report[chance]))
    console.print(table)
    for reason in report["reasons"]:
        console.print(Text(f"{report['verdict']}: {reason}"))


def _show_sensitivity(console: Console, name: str, rows: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    title = f"{name}: {rows[0]['clips']} accepted windows, changed"
    table = Table("change", "median score", "shift", "rejected", "overdriven", title=Text(title))
    for row in rows:
        table.add_row(
            row["change"],
            f"{row['median_score']:.4g}",
            f"{row['median_shift']:+.3g}",
            f"{row['rejected']:.0%}",
            f"{row['overdriven']:.0%}",
        )
    console.print(table)
