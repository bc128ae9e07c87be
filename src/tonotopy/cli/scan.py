"""`tonotopy scan`: what is in the data, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tonotopy.cli._output import Output
from tonotopy.cli._parse import call

if TYPE_CHECKING:
    from rich.console import Console

    from tonotopy.clips import ClipTable

QUARANTINE_SHOWN = 20


def run(arguments: Sequence[str]) -> Output:
    """Run the verb."""
    return call("scan", scan, arguments)


def scan(
    data: Path,
    *,
    out: Path = Path("clips.parquet"),
    path_column: str | None = None,
    label_columns: list[str] | None = None,
    fold_column: str | None = None,
    group_column: str | None = None,
    audio_folder: Path | None = None,
    extract_to: Path | None = None,
) -> Output:
    """List the clips of DATA with their labels, find duplicates and files that cannot be used.

    Every file is decoded once. Files that are empty, corrupt or hold NaN are set aside and listed;
    they never stop a scan.

    Args:
        data: A folder whose nested sub-folders are labels, a CSV or Parquet table, or a Hugging
            Face data set saved on disk.
        out: The Parquet file to write, for `fit` and `embed`.
        path_column: Column of a table that holds the audio files. Default: guessed by its name.
        label_columns: Columns that hold labels, coarse to fine. Default: guessed by their names.
        fold_column: Column of given folds. Default: `fold`, if there is one.
        group_column: Column of what must stay together in a split, such as the recording.
            Default: `group`, if there is one.
        audio_folder: What the paths of a table are relative to. Default: the table's folder.
        extract_to: Where audio goes that lies inside a Hugging Face data set. Default: the cache.
    """
    from tonotopy.clips import scan as scan_clips
    from tonotopy.clips import summarise

    clips = scan_clips(
        data,
        path_column=path_column,
        label_columns=label_columns,
        fold_column=fold_column,
        group_column=group_column,
        audio_folder=audio_folder,
        extract_to=extract_to,
    )
    clips.write(out)
    summary = summarise(clips)
    line = f"{summary['clips']} clips, {summary['hours']:.2f} hours, written to {out}"
    if summary["quarantined"]:
        line += f"; {len(summary['quarantined'])} files set aside"
    data_out = {**summary, "out": str(out)}
    return Output(data_out, line, lambda console: _show(console, clips, summary))


def _show(console: Console, clips: ClipTable, summary: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    rates = ", ".join(f"{count} at {rate} Hz" for rate, count in summary["sample_rates"].items())
    console.print(f"sample rates: {rates}", highlight=False)
    if summary["ignored"]:
        others = ", ".join(f"{count} {suffix}" for suffix, count in summary["ignored"].items())
        console.print(Text(f"not audio, left out: {others}"))
    for line in clips.tree.render(clips.tree.counts(clips.labels)):
        console.print(Text(line))
    if summary["duplicates"]:
        table = Table("clip", "label", title="Same content under two labels")
        for row in summary["duplicates"]:
            table.add_row(Text(row["path"]), Text("/".join(row["label"])))
        console.print(table)
    if summary["quarantined"]:
        table = Table("file", "reason", "detail", title="Set aside")
        for row in summary["quarantined"][:QUARANTINE_SHOWN]:
            table.add_row(Text(row["path"]), row["reason"], Text(row["detail"]))
        console.print(table)
        more = len(summary["quarantined"]) - QUARANTINE_SHOWN
        if more > 0:
            console.print(f"... and {more} more, all in the table that was written")
