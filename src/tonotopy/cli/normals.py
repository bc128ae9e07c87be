"""`tonotopy normals`: what an anomaly detector takes for normal."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tonotopy._errors import UsageError
from tonotopy.cli._output import Output
from tonotopy.cli._parse import make_parser

if TYPE_CHECKING:
    from rich.console import Console

    from tonotopy.detection import ReferenceChange
    from tonotopy.protocols.normals import NormalChange

DESCRIPTION = """\
Add recordings to what an anomaly detector takes for normal, or take them back. Nothing is trained;
scorers and thresholds follow, and every change is written to detector/references.jsonl.

    tonotopy normals RUN                                       what was changed so far
    tonotopy normals RUN new/ --machine fan/id_00 --note "new bearing"
    tonotopy normals RUN --undo                                take the last addition back

For example after a service, or when a false alarm was heard to be one.
"""


def run(arguments: Sequence[str]) -> Output:
    """Run the verb."""
    parser = make_parser("normals", DESCRIPTION)
    parser.add_argument("run", metavar="RUN", type=Path, help="A run folder with a detector.")
    parser.add_argument(
        "audio", metavar="AUDIO", type=Path, nargs="*", help="Audio files, folders or tables."
    )
    parser.add_argument(
        "--machine",
        help="Whose they are. Default: the only machine that there is, or what file names say.",
    )
    parser.add_argument(
        "--domain",
        type=Literal["source", "target"],
        default="target",
        help="Domain of the recordings. Of the target domain each is a reference of its own, also "
        "where those of the source domain are clustered. Default target.",
    )
    parser.add_argument("--note", default="", help="Why, for whoever reads the log.")
    parser.add_argument("--undo", action="store_true", help="Take the last addition back.")
    parsed = parser.parse_args(list(arguments))
    if parsed.undo and parsed.audio:
        raise UsageError("--undo takes back the last addition: leave the recordings out")

    from tonotopy.protocols.normals import add_normals, list_changes, undo_normals

    command = shlex.join(["tonotopy", "normals", *arguments])
    if parsed.undo:
        return _changed(undo_normals(parsed.run, command=command, note=parsed.note))
    if parsed.audio:
        return _changed(
            add_normals(
                parsed.run,
                parsed.audio,
                command=command,
                machine=parsed.machine,
                domain=parsed.domain,
                note=parsed.note,
            )
        )
    changes = list_changes(parsed.run)
    return Output(
        {"changes": [asdict(change) for change in changes]},
        f"{len(changes)} changes since the training",
        lambda console: _list(console, changes),
    )


def _changed(done: NormalChange) -> Output:
    change = done.change
    verb = "added to" if change.action == "register" else "taken back from"
    windows = sum(change.machines.values())
    summary = f"{windows} windows {verb} the normal ones of {', '.join(change.machines)}"
    if change.skipped:
        summary += f"; {sum(change.skipped.values())} were there already"
    if len(done.quarantine):
        summary += f"; {len(done.quarantine)} files could not be used"
    data = {
        **asdict(change),
        "thresholds_before": done.before,
        "thresholds_after": done.after,
        "quarantined": done.quarantine.to_dicts(),
    }
    return Output(data, summary, lambda console: _thresholds(console, done))


def _thresholds(console: Console, done: NormalChange) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("machine", "windows", "threshold before", "after")
    for name, count in done.change.machines.items():
        table.add_row(name, str(count), f"{done.before[name]:.4g}", f"{done.after[name]:.4g}")
    console.print(table)
    for path, reason, detail in done.quarantine.iter_rows():
        console.print(Text(f"could not be used: {path}: {reason}, {detail}"))


def _list(console: Console, changes: Sequence[ReferenceChange]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("when", "what", "batch", "windows", "note")
    for change in changes:
        windows = ", ".join(f"{name}: {count}" for name, count in change.machines.items())
        table.add_row(change.time, change.action, str(change.batch), windows, Text(change.note))
    console.print(table)
