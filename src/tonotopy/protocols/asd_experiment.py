"""Anomalous sound detection as in DCASE Task 2: one model of all machines, several back ends.

The setting of Wilkinghoff and Kurth, "Why do Angular Margin Losses work well for Semi-Supervised
Anomalous Sound Detection?", 2024: a model learns to tell apart what is known of the normal clips of
all machines of development and additional training data, and its embeddings are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from tonotopy._components import Component
from tonotopy._errors import UsageError
from tonotopy._files import write_json, write_text
from tonotopy.clips import ClipTable
from tonotopy.extraction import EmbeddingTable
from tonotopy.protocols._asd_scores import (
    ScoredMachine,
    measure_part,
    score_machines,
    sum_scores,
    with_decisions,
)
from tonotopy.protocols._asd_tables import Rows, markdown, tabulate
from tonotopy.protocols.dcase_files import write_decisions, write_scores
from tonotopy.protocols.embedding import EMBEDDINGS_FILE, embed_run
from tonotopy.training import FitConfig, SplitOptions, fit, resume

BACK_ENDS: dict[str, Component] = {
    "k-means": Component("KMeansScorer"),
    "nearest": Component("NearestNeighbourScorer"),
    "nearest+smote": Component("NearestNeighbourScorer", {"smote": 0.2}),
    "nearest/density": Component("NearestNeighbourScorer", {"density": "ratio"}),
    "gmm": Component("GaussianMixtureScorer"),
    "mahalanobis": Component("MahalanobisScorer"),
}
"""Name to scorer."""

SECONDS = {2020: 10.0, 2021: 10.0, 2022: 10.0, 2023: 18.0, 2024: 18.0}
"""Length that clips are cut or repeated to, as the authors' systems do it."""

PARTS = ("dev", "eval")


def run_asd_experiment(
    base: FitConfig,
    clips: ClipTable,
    year: int,
    out: Path,
    *,
    back_ends: Sequence[str] = ("k-means", "nearest"),
    seeds: Sequence[int] = range(5),
    false_alarm_rate: float = 0.1,
) -> dict[str, Any]:
    """Train a model for every seed, score with every back end, and tabulate after each model.

    All official training clips train, of `dev_data` and `eval_data` together; no clip chooses an
    epoch. A model that is there already is not trained again, an interrupted one goes on; scores
    are made anew. A test clip is compared with the training clips of its own machine only.

    Args:
        base: Of the task `anomaly`; data, run, split and seed are set here, and `clip_seconds`, so
            that every clip is one.
        clips: Of `load_dcase_task2`.
        year: Their edition, whose official score is reported.
        out: The folder of all models (`seed-N/`), of the evaluator's files
            (`evaluator/BACK_END/seed-N/` and `.../ensemble/`), of `results.json` and `results.md`.
        back_ends: Names of `BACK_ENDS`.
        seeds: Seeds of the models.
        false_alarm_rate: Of the decisions in the evaluator's files; the official baselines allow a
            tenth.

    Returns:
        `year`, `seeds`; `parts`: `"dev"` and `"eval"` to tables (see `tabulate`), empty where the
        conditions of the test clips are not known; `notes`: a part to what is missing for it.

    Raises:
        UsageError: An unknown back end, another task, or `out` holds models of other clips.
        DataError: The data cannot be used, or the disk refuses.
    """
    for name in back_ends:
        if name not in BACK_ENDS:
            raise UsageError(f"no back end {name!r}; there are: {', '.join(BACK_ENDS)}")
    if base.task != "anomaly":
        raise UsageError(f"this experiment is of the task anomaly, got {base.task!r}")
    if not back_ends or not seeds:
        raise UsageError("name at least one back end and one seed")
    table = out / "clips.parquet"
    clips.write(table)
    base = replace(
        base,
        data=table,
        split=SplitOptions(test_fraction=0.0, val_fraction=0.0),
        clip_seconds=max(clips.frame["seconds"]),
    )
    models: dict[str, list[dict[str, ScoredMachine]]] = {name: [] for name in back_ends}
    result: dict[str, Any] = {}
    for number, seed in enumerate(seeds, start=1):
        embedded = _embedded(_model(base, out / f"seed-{seed}", seed), clips)
        for name, scored in models.items():
            scored.append(score_machines(embedded, BACK_ENDS[name]))
            _write_files(out, year, name, f"seed-{seed}", scored[-1], false_alarm_rate)
        result = _write_results(out, year, list(seeds)[:number], models)
    for name, scored in models.items():
        _write_files(out, year, name, "ensemble", sum_scores(scored), false_alarm_rate)
    return result


def _model(base: FitConfig, run: Path, seed: int) -> Path:
    """Give the run of a trained model, with the embeddings of all clips."""
    if not (run / EMBEDDINGS_FILE).is_file():
        begun = (run / "config.yaml").is_file()
        embed_run(resume(run) if begun else fit(replace(base, run=run, seed=seed)))
    return run


def _embedded(run: Path, clips: ClipTable) -> pl.DataFrame:
    """Give the clips with their embeddings, and what is known of them now."""
    table = EmbeddingTable.read(run / EMBEDDINGS_FILE).frame
    known = clips.frame.drop("content", "label").with_columns(
        pl.Series("path", [str(path) for path in clips.paths], dtype=pl.String)
    )
    joined = table.select("path", "embedding", trained="split").join(known, on="path")
    fits = len(joined) == len(table) == len(known)
    if not fits or not joined["trained"].equals(joined["split"].alias("trained")):
        raise UsageError(
            f"the model in {run} is of other clips than {clips.root} holds now: begin in another "
            "folder with --out, or remove it"
        )
    return joined.drop("trained")


def _write_files(
    out: Path,
    year: int,
    back_end: str,
    model: str,
    scored: Mapping[str, ScoredMachine],
    false_alarm_rate: float,
) -> None:
    """Write what the evaluator of the year reads."""
    folder = out / "evaluator" / back_end.replace("/", "-") / model
    clips = with_decisions(scored, false_alarm_rate)
    write_scores(folder, year, clips)
    if year > 2020:
        write_decisions(folder, year, clips)


def _write_results(
    out: Path,
    year: int,
    seeds: Sequence[int],
    models: Mapping[str, Sequence[Mapping[str, ScoredMachine]]],
) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    notes: dict[str, str] = {}
    for part in PARTS:
        runs: dict[str, list[Rows]] = {}
        ensembles: dict[str, Rows] = {}
        for name, scored in models.items():
            measured = [measure_part(model, part, year) for model in scored]
            runs[name] = [rows for rows, _ in measured]
            ensembles[name], note = measure_part(sum_scores(scored), part, year)
            if note:
                notes[part] = note
        parts[part] = tabulate(runs, ensembles) if all(ensembles.values()) else {}
    result = {"year": year, "seeds": list(seeds), "parts": parts, "notes": notes}
    write_json(out / "results.json", result)
    write_text(out / "results.md", markdown(result))
    return result
