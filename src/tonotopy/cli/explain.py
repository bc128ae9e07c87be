"""`tonotopy explain`: which parts of a recording make it anomalous."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tonotopy.cli._output import Output
from tonotopy.cli._parse import make_parser

if TYPE_CHECKING:
    from rich.console import Console

DESCRIPTION = """\
Show which parts of a recording raise its anomaly score, beside the nearest normal clips.

    tonotopy explain RUN odd.wav                 a picture, numbers and a page with sound
    tonotopy explain RUN odd.wav --fill floor    for a hum or whistle that lasts all the time
    tonotopy explain RUN a.wav b.wav --machine fan/id_00
"""


def run(arguments: Sequence[str]) -> Output:
    """Run the verb."""
    parser = make_parser("explain", DESCRIPTION)
    parser.add_argument("run", metavar="RUN", type=Path, help="A run folder with a detector.")
    parser.add_argument("clips", metavar="CLIP", type=Path, nargs="+", help="Audio files.")
    parser.add_argument(
        "--machine",
        help="The machine they are of. Default: the only one that there is, or what file names and "
        "folders say; a clip of no known machine is compared with the references of all.",
    )
    parser.add_argument(
        "--method",
        type=Literal["rise", "occlusion"],
        default="rise",
        help="Random masks (rise), or one hidden patch at a time (occlusion).",
    )
    parser.add_argument(
        "--masks",
        type=int,
        help="Number of random masks. Default: 500, doubled until two halves of them agree or "
        "4000 are used.",
    )
    parser.add_argument(
        "--mode",
        type=Literal["wave", "stft"],
        default="wave",
        help="Mask the sound that the model hears (wave), or what its encoder sees (stft).",
    )
    parser.add_argument(
        "--fill",
        type=Literal["zero", "mean", "floor"],
        default="mean",
        help="What stands in hidden places: nothing (zero), the clip's mean over time (mean), or "
        "the noise floor of the normal clips (floor).",
    )
    parser.add_argument("--seed", type=int, default=0, help="Seed of the masks. Default 0.")
    parser.add_argument(
        "--out", type=Path, help="Folder to write to. Default: explanations in the run folder."
    )
    parsed = parser.parse_args(list(arguments))

    from tonotopy.protocols.explanation import ExplanationOptions, explain_recordings

    options = ExplanationOptions(parsed.method, parsed.masks, parsed.mode, parsed.fill, parsed.seed)
    page, found = explain_recordings(
        parsed.run, parsed.clips, machine=parsed.machine, options=options, out=parsed.out
    )
    return Output(
        {"page": str(page), "clips": found},
        f"{len(found)} {'clip' if len(found) == 1 else 'clips'} explained; look and listen: {page}",
        lambda console: _show(console, found),
    )


def _show(console: Console, found: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("clip", "score", "threshold", "raised most by", "cautions")
    for row in found:
        threshold = "none" if row["threshold"] is None else f"{row['threshold']:.4g}"
        # Text, not str: names may hold square brackets.
        table.add_row(
            Text(row["name"]),
            f"{row['score']:.4g}",
            threshold,
            _place(row["region"]),
            Text("; ".join(row["cautions"])),
        )
    console.print(table)


def _place(region: dict[str, Any] | None) -> str:
    if region is None:
        return "nothing"
    text = f"{region['start']:.1f} to {region['end']:.1f} s"
    if region["low"] is not None:
        text += f", {region['low'] / 1000:.2f} to {region['high'] / 1000:.2f} kHz"
    return text
