"""`tonotopy predict`: the place of recordings in the label tree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tonotopy.cli._output import Output
from tonotopy.cli._parse import make_parser

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Console

DESCRIPTION = """\
Say for recordings what they are, at every level of the label tree, and how sure that is.

    tonotopy predict RUN a.wav b.flac            what each is, and where it stops being sure
    tonotopy predict RUN FOLDER --out names.csv  a folder; an interrupted job goes on
    tonotopy predict RUN FOLDER --threshold 0.8  stop earlier, be right more often
"""

SHOWN = 20


def run(arguments: Sequence[str]) -> Output:
    """Run the verb."""
    parser = make_parser("predict", DESCRIPTION)
    parser.add_argument("model", metavar="RUN", help="A run folder, or a model's id on the hub.")
    parser.add_argument(
        "audio",
        metavar="AUDIO",
        type=Path,
        nargs="+",
        help="Audio files, folders, or tables with a path column.",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.5,
        help="A clip stops at the deepest node that is at least this likely. Default 0.5.",
    )
    parser.add_argument(
        "--out", type=Path, help="Write everything to this .csv, .parquet or .json file."
    )
    parsed = parser.parse_args(list(arguments))
    return predict(parsed.model, parsed.audio, parsed.threshold, parsed.out)


def predict(model: str, audio: list[Path], threshold: float, out: Path | None) -> Output:
    """Classify recordings and list what was found."""
    from tonotopy.protocols.prediction import predict_clips

    frame, failed = predict_clips(model, audio, threshold=threshold, out=out)
    sure = (frame["stop"] == frame["label"]).sum()
    summary = f"{len(frame)} clips, {sure} of them sure down to a leaf (p >= {threshold:g})"
    if out is not None:
        summary += f"; all in {out}"
    if len(failed):
        summary += f"; {len(failed)} files could not be used"
    found = {"clips": frame.to_dicts(), "quarantined": failed.to_dicts()}
    return Output(found, summary, lambda console: _show(console, frame, failed))


def _show(console: Console, frame: pl.DataFrame, failed: pl.DataFrame) -> None:
    from rich.table import Table
    from rich.text import Text

    centroids = "nearest" in frame.columns
    table = Table("clip", "stops at", "p", "likeliest", "p", *(["nearest centroid"] * centroids))
    for row in frame.head(SHOWN).iter_rows(named=True):
        # Text, not str: labels and paths may hold square brackets.
        cells: list[Text | str] = [
            Text(Path(row["path"]).name),
            Text(row["stop"] or "(not sure of any)"),
            f"{row['stop_probability']:.2f}",
            Text(row["label"]),
            f"{row['probability']:.2f}",
        ]
        if centroids:
            cells.append(Text(row["nearest"]))
        table.add_row(*cells)
    console.print(table)
    if len(frame) > SHOWN:
        console.print(f"... and {len(frame) - SHOWN} more")
    for path, reason, detail in failed.iter_rows():
        console.print(Text(f"could not be used: {path}: {reason}, {detail}"))
