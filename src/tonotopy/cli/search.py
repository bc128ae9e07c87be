"""`tonotopy search`: the clips that sound most alike."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tonotopy.cli._output import Output
from tonotopy.cli._parse import make_parser

if TYPE_CHECKING:
    from rich.console import Console

    from tonotopy.retrieval import Hit


def run(arguments: Sequence[str]) -> Output:
    """Run the verb."""
    parser = make_parser("search", "Find the clips that sound most like a recording.")
    parser.add_argument("query", type=Path, help="An audio file.")
    parser.add_argument(
        "--in",
        dest="run",
        metavar="RUN",
        type=Path,
        required=True,
        help="A run folder: its model and the clips it has embedded.",
    )
    parser.add_argument(
        "--embeddings",
        type=Path,
        help="Search this file of `tonotopy embed` instead; it must be made by the same model.",
    )
    parser.add_argument("-k", "--k", type=int, default=10, help="Number of answers. Default 10.")
    parsed = parser.parse_args(list(arguments))
    return search(parsed.query, parsed.run, parsed.embeddings, parsed.k)


def search(query: Path, run: Path, embeddings: Path | None, k: int) -> Output:
    """Embed `query` with the model of `run` and search its clips, or those of `embeddings`."""
    from tonotopy.embedder import AudioEmbedder
    from tonotopy.retrieval import open_index

    embedder = AudioEmbedder.from_pretrained(run)
    index = open_index(embeddings or run)
    started = time.perf_counter()
    vector = embedder.embed([query])[0]
    embedded = time.perf_counter()
    hits = index.search(vector, k)
    milliseconds = {
        "embed": 1e3 * (embedded - started),
        "search": 1e3 * (time.perf_counter() - embedded),
    }
    return Output(
        {
            "query": str(query),
            "searched": len(index),
            "milliseconds": milliseconds,
            "hits": [asdict(hit) for hit in hits],
        },
        f"{len(hits)} of {len(index)} clips, embedded in {milliseconds['embed']:.0f} ms, "
        f"searched in {milliseconds['search']:.1f} ms",
        lambda console: _show(console, hits),
    )


def _show(console: Console, hits: list[Hit]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("score", "label", "clip")
    for hit in hits:
        # Text, not str: labels and paths may hold square brackets.
        table.add_row(f"{hit.score:.3f}", Text("/".join(hit.label)), Text(hit.path))
    console.print(table)
