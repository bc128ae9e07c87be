"""The main job once from end to end, on synthetic sounds or on the user's own."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from tonotopy._components import Component
from tonotopy.clips import ClipTable, scan
from tonotopy.datasets import make_corpus
from tonotopy.embedder import AudioEmbedder
from tonotopy.protocols.completion import complete_run
from tonotopy.retrieval import open_index
from tonotopy.training import FitConfig, OptimiserOptions, fit, resume

EPOCHS = 60


def run_demo(folder: Path, data: Path | None = None) -> dict[str, Any]:
    """Scan, fit, evaluate, search and report.

    An interrupted demo goes on; a finished one is made anew.

    Args:
        folder: Where the corpus (without `data`) and the run are put.
        data: The user's clips; None to synthesise a corpus.

    Returns:
        The metrics, the paths of `run` and `report`, and the `hits` of a search.
    """
    if data is None:
        data = folder / "sounds"
        _say("1/5  making sounds by physical modelling (synthetic: no recording of anything)")
        make_corpus(data)
    _say(f"2/5  scanning {data}")
    table = folder / "clips.parquet"
    clips = scan(data)
    clips.write(table)
    for line in clips.tree.render(clips.tree.counts(clips.labels)):
        _say(f"       {line}")

    run = folder / "run"
    _say(f"3/5  training on {len(clips)} clips")
    _train(run, table)
    _say("4/5  embedding, evaluating, writing the report")
    metrics = complete_run(run, command=f"tonotopy demo --folder {folder}")
    _say(f"       {metrics['summary']}")

    query = _a_test_clip(run)
    _say(f"5/5  searching for what sounds like {query}")
    hits = open_index(run).search(AudioEmbedder.from_pretrained(run).embed([query])[0], 6)
    for hit in [hit for hit in hits if hit.path != str(query)][:5]:
        _say(f"       {hit.score:.3f}  {'/'.join(hit.label)}  {hit.path}")
    return {**metrics, "hits": [hit.path for hit in hits]}


def _train(run: Path, table: Path) -> None:
    if (run / "config.yaml").is_file() and not (run / "report.html").is_file():
        resume(run)
        return
    shutil.rmtree(run, ignore_errors=True)
    fit(
        FitConfig(
            data=table,
            run=run,
            losses={
                "ce": Component("CrossEntropyLoss"),
                "add": Component("AngularDistanceDistributionLoss"),
            },
            optimiser=OptimiserOptions(epochs=EPOCHS),
        )
    )


def _a_test_clip(run: Path) -> Path:
    clips = ClipTable.read(run / "clips.parquet")
    tested = clips.filter(clips.frame["split"] == "test") if len(clips) else clips
    return (tested if len(tested) else clips).paths[0]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
