"""`tonotopy detect`: anomalous sounds in recordings, or in a live stream."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tonotopy._errors import UsageError
from tonotopy.cli._output import Output
from tonotopy.cli._parse import make_parser

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Console

    from tonotopy.protocols.detection import Detection
    from tonotopy.protocols.live_detection import StreamOptions

DESCRIPTION = """\
Say for recordings of machines, window by window, how unlike normal they sound: score, p-value,
decision, and the normal recordings that they are most like.

    tonotopy detect RUN a.wav b.flac               each compared with its own machine
    tonotopy detect RUN FOLDER --out scores.csv    a folder; an interrupted job goes on
    tonotopy detect RUN hour.wav --hop 1 --machine fan/id_00

RUN is of `tonotopy fit --task anomaly`. The decision is `anomaly` above the threshold and `normal`
up to it; but `unknown` where a fault could hide: silent, clipped, too short, low rate, missing.

AUDIO may be a live stream, `-`: raw samples on standard input, for as long as they come.

    arecord -t raw -f S16_LE -r 48000 | tonotopy detect RUN - --rate 48000 \\
        --machine fan/id_00 --out log.csv --state state.json
    ffmpeg -i rtsp://camera/1 -f f32le -ac 1 -ar 16000 - | tonotopy detect RUN - --rate 16000 \\
        --format f32le --votes 4/6 --out log.jsonl

Alarms and changes of the signal are told on standard error as they happen; every window is a row of
the log. Memory does not grow. A process that was stopped goes on with clock, alarm and totals where
its state file says; what the sensor said meanwhile counts as missing.
"""

SHOWN = 20


def run(arguments: Sequence[str]) -> Output:
    """Run the verb."""
    from tonotopy.protocols.live_detection import StreamOptions

    parser = make_parser("detect", DESCRIPTION)
    parser.add_argument("run", metavar="RUN", type=Path, help="A run folder with a detector.")
    parser.add_argument(
        "audio",
        metavar="AUDIO",
        nargs="+",
        help="Audio files, folders, tables with a path column; or - for standard input.",
    )
    parser.add_argument(
        "--machine",
        help="The machine of all recordings, such as fan/id_00. Default: the only one, or what "
        "tables, file names and folders say.",
    )
    parser.add_argument(
        "--domain",
        type=Literal["source", "target"],
        help="Take this domain's threshold. Default: that for all domains.",
    )
    parser.add_argument(
        "--hop",
        type=float,
        help="Seconds from window to window. Default: a whole window; half of one in a stream.",
    )
    parser.add_argument(
        "--nearest", type=int, default=3, help="Normal examples to name for each window. Default 3."
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="Write every window to this .csv, .parquet or .json file; the log of a stream is .csv "
        "or .jsonl, and rows are added to one that exists.",
    )
    # "hop" has another default for recordings, so it stands above.
    parser.add_class_arguments(StreamOptions, None, skip={"hop"})
    parsed = vars(parser.parse_args(list(arguments)))
    names = [option.name for option in fields(StreamOptions) if option.name != "hop"]
    stream = StreamOptions(hop=parsed["hop"], **{name: parsed[name] for name in names})
    shared = {name: parsed[name] for name in ("machine", "domain", "nearest", "out")}
    if "-" in parsed["audio"]:
        return _live(parsed["run"], parsed["audio"], stream, shared)
    _refuse_stream_options(stream)
    return _recordings(parsed["run"], parsed["audio"], parsed["hop"], shared)


def _refuse_stream_options(given: StreamOptions) -> None:
    usual = type(given)()
    for option in fields(given):
        if option.name != "hop" and getattr(given, option.name) != getattr(usual, option.name):
            raise UsageError(
                f"--{option.name} is for a live stream: give - as AUDIO and raw samples on "
                "standard input, or leave the option out"
            )


def _recordings(run: Path, audio: list[str], hop: float | None, shared: dict[str, Any]) -> Output:
    from tonotopy.protocols._file_summary import summarise_files
    from tonotopy.protocols.detection import detect_clips

    found = detect_clips(run, [Path(name) for name in audio], hop=hop, **shared)
    files = summarise_files(found.windows, found.false_alarm_rate)
    anomalous = int((found.windows["decision"] == "anomaly").sum())
    unusable = int((found.windows["decision"] == "unknown").sum())
    summary = (
        f"{len(found.windows)} windows of {len(files)} clips, {anomalous} anomalous, "
        f"{unusable} unusable"
    )
    if shared["out"] is not None:
        summary += f"; all in {shared['out']}"
    if len(found.quarantine):
        summary += f"; {len(found.quarantine)} files could not be used"
    data = {
        "windows": found.windows.to_dicts(),
        "clips": files.to_dicts(),
        "quarantined": found.quarantine.to_dicts(),
        "notes": list(found.notes),
    }
    return Output(data, summary, lambda console: _show(console, files, found))


def _show(console: Console, files: pl.DataFrame, found: Detection) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("clip", "machine", "decision", "windows", "score", "p", "most like")
    worst_first = files.sort("worst_p_value", nulls_last=True, maintain_order=True)
    for row in worst_first.head(SHOWN).iter_rows(named=True):
        windows = f"{row['anomalous']} of {row['windows']} anomalous" * (row["windows"] > 1)
        judged = row["score"] is not None
        # Text, not str: names and paths may hold square brackets.
        table.add_row(
            Text(Path(row["path"]).name),
            Text(row["machine"]),
            _said(row),
            windows,
            f"{row['score']:.4g}" if judged else "",
            f"{row['worst_p_value']:.3g}" if judged else "",
            Text(Path(row["nearest_1"]).name if judged else ""),
        )
    console.print(table)
    if len(files) > SHOWN:
        console.print(f"... and {len(files) - SHOWN} more, less anomalous")
    for path, reason, detail in found.quarantine.iter_rows():
        console.print(Text(f"could not be used: {path}: {reason}, {detail}"))
    for note in found.notes:
        console.print(Text(f"note: {note}"))


def _live(run: Path, audio: list[str], options: StreamOptions, shared: dict[str, Any]) -> Output:
    import torch

    from tonotopy.protocols.live_detection import detect_stream

    torch.set_num_threads(1)  # a window costs a fraction of its length; more would wait for more
    if audio != ["-"]:
        raise UsageError("standard input (-) must be the only AUDIO")
    if sys.stdin.isatty():
        raise UsageError(
            "expected raw samples on standard input, as from `arecord -t raw ... | tonotopy detect "
            "RUN - ...`"
        )
    with (
        open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as stream,
        _terminate_as_interrupt(),
    ):
        found = detect_stream(run, stream, options, tell=_tell, **shared)
    summary = (
        f"{found['windows']} windows in {found['seconds']:.0f} s, {found['anomalous']} anomalous, "
        f"{found['unusable']} unusable, {found['alarms']} alarms"
    )
    if found["drift"] is not None:
        summary += f"; drift: {found['drift']['verdict']}"
    return Output(found, summary)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Let a service manager's SIGTERM end a stream as Ctrl-C does, with its state saved."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _said(row: dict[str, Any]) -> str:
    """Give the decision on a file, or why there is none."""
    if row["decision"] != "unknown":
        return str(row["decision"])
    if row["windows"] == 1 or row["unusable"] == row["windows"]:
        return str(row["condition"])
    return f"{row['unusable']} of {row['windows']} not judged"
