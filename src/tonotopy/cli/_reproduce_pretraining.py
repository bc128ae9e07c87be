"""`tonotopy reproduce pretraining`: what learning without labels is worth, on one's own clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tonotopy._errors import UsageError
from tonotopy.cli._output import Output

if TYPE_CHECKING:
    from rich.console import Console

    from tonotopy.clips import ClipTable


def reproduce_pretraining(
    *,
    data: list[str],
    out: Path = Path("runs/reproduce-pretraining"),
    methods: list[str] | None = None,
    temperatures: list[float] | None = None,
    seeds: int = 3,
    test_fold: str = "4",
    val_fold: str = "3",
    encoders: Path | None = None,
    config: Path | None = None,
    threads: int = 0,
) -> Output:
    """Encoders trained without labels by several losses, probed on a fold that none has heard.

    All given data train together, without labels; linear probe and nearest neighbours then tell
    what each encoder knows of the classes of each. Finished trials are not repeated, an
    interrupted one goes on.

    Args:
        data: Labelled clips with folds, as NAME=PATH: a table, clips.parquet of a scan, or the
            folder of ESC-50 in its official layout.
        out: Folder of all runs and of results.json, results.md and findings.md.
        methods: random, ntxent, ntxent-h (on the embeddings, without projection), amc, vicreg,
            acl-ALPHA (such as acl-0.3), and the given models vgg, crnn and yamnet. Default: random,
            ntxent, amc and acl at 0.1, 0.3, 0.5, 0.7 and 0.9.
        temperatures: Of the methods that have one. Default: 0.2.
        seeds: Number of seeds, counted from 0.
        test_fold: The fold that is judged, and that no encoder hears.
        val_fold: The fold that chooses the probes' options.
        encoders: A folder under which the files of vgg, crnn and yamnet lie.
        config: A YAML file of `fit` options other than data, run, losses, split and seed. Default:
            the preset self-supervised.
        threads: CPU threads; 0 leaves it to PyTorch.
    """
    from tonotopy.protocols.pretraining_experiment import (
        TEMPERATURE,
        make_trials,
        run_pretraining_experiment,
    )
    from tonotopy.training.config import read_config
    from tonotopy.training.presets import preset_file

    if seeds < 1:
        raise UsageError(f"--seeds must be at least 1, got {seeds}")
    sources = _sources(data)
    base = read_config(
        config or preset_file("self-supervised"), {"data": out, "task": "self-supervised"}
    )
    result = run_pretraining_experiment(
        replace(base, threads=threads),
        sources,
        out,
        trials=make_trials(
            methods or ["random", "ntxent", "amc", *(f"acl-0.{at}" for at in (1, 3, 5, 7, 9))],
            temperatures or [TEMPERATURE],
            range(seeds),
        ),
        test_fold=test_fold,
        val_fold=val_fold,
        encoders=encoders,
    )
    return Output(
        result,
        f"{len(result['trials'])} trials; tables in {out / 'results.md'} and {out / 'findings.md'}",
        lambda console: _show(console, result["table"], list(sources)),
    )


def _sources(data: list[str]) -> dict[str, ClipTable]:
    from tonotopy.clips import load_clips
    from tonotopy.datasets import find_dataset

    sources = {}
    for given in data:
        name, _, path = given.partition("=")
        if not (name and path):
            raise UsageError(f"--data takes NAME=PATH, such as esc50=ESC-50-master, got {given!r}")
        official = Path(path, "meta/esc50.csv").is_file()
        clips = find_dataset("esc-50").load(Path(path)) if official else load_clips(path)
        if clips.frame["fold"].null_count() == len(clips):
            raise UsageError(
                f"{path} has no folds: scan a table with a column of them (--fold_column)"
            )
        if "start" in clips.frame.columns:
            raise UsageError(f"{path} holds windows of recordings: give a table of whole files")
        if name in sources:
            raise UsageError(f"--data names {name} twice: give each its own name")
        sources[name] = clips
    return sources


def _show(console: Console, table: dict[str, dict[str, Any]], sources: list[str]) -> None:
    """Print the accuracies, a table for each source: all measures are too wide for a terminal."""
    from rich.table import Table
    from rich.text import Text

    from tonotopy.protocols._trials import written

    for source in sources:
        shown = Table("method", "runs", "linear", "kNN", title=Text(source))
        for method, row in table.items():
            linear, neighbours = row[f"{source} linear"], row[f"{source} kNN"]
            shown.add_row(method, str(linear["n"]), written(linear), written(neighbours))
        console.print(shown)
