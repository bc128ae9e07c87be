"""Do angular margin losses find anomalies, and why: one encoder on features of fans in noise.

After Wilkinghoff and Kurth, "Why Do Angular Margin Losses Work Well for Semi-Supervised Anomalous
Sound Detection?", TASLP 2024, on a table of clip-level features instead of recordings.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tonotopy._errors import UsageError
from tonotopy._files import write_json
from tonotopy._progress import track
from tonotopy.protocols._fan_data import FanTable, draw_clips, read_fan_table
from tonotopy.protocols._fan_methods import METHODS, TASKS, Task, tasks_of
from tonotopy.protocols._fan_scoring import measure
from tonotopy.protocols._fan_tables import SCORE_HEADINGS, score_rows, write_tables
from tonotopy.protocols._fan_training import Recipe, train_encoder
from tonotopy.protocols._trials import claim_folder

__all__ = [
    "METHODS",
    "SCORE_HEADINGS",
    "TASKS",
    "Recipe",
    "Trial",
    "run_fan_features_experiment",
    "score_rows",
]


@dataclass(frozen=True)
class Trial:
    """One training, or none, scored with every back end.

    Args:
        source_ratio: Signal-to-noise ratio of the source domain in dB.
        method: A name of `METHODS`.
        task: Its auxiliary task.
        seed: Of the references that are drawn, of the weights and of the batches.
    """

    source_ratio: int
    method: str
    task: Task
    seed: int

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"source{self.source_ratio}dB-{self.method}-{self.task}-seed{self.seed}"


def run_fan_features_experiment(
    data: Path,
    out: Path,
    *,
    methods: Sequence[str] = METHODS,
    tasks: Sequence[Task] = TASKS,
    seeds: Sequence[int] = range(5),
    recipe: Recipe | None = None,
) -> dict[str, Any]:
    """Train every method in both directions, score it with every back end, and tabulate.

    Sections are the fans; the domains are the two signal-to-noise ratios, each being the source
    once. Finished trials are kept.

    Args:
        data: Folder of `features.parquet`; see `read_fan_table`.
        out: Folder of one JSON a trial, of `results.json` and of `results.md`.
        methods: Names of `METHODS`.
        tasks: Auxiliary tasks to train with; `"none"` is that of controls and one-class losses.
        seeds: Seeds of each trial.
        recipe: Default: that of `Recipe`.

    Returns:
        What `results.json` holds; see `write_tables`.

    Raises:
        UsageError: An unknown method or task, or `out` holds trials of other data or another
            recipe.
        DataError: The data cannot be used.
    """
    for given, known in ((methods, METHODS), (tasks, TASKS)):
        for name in given:
            if name not in known:
                raise UsageError(f"no {name!r}; there are: {', '.join(known)}")
    recipe = recipe or Recipe()
    table = read_fan_table(data)
    claim_folder(out, {"features": table.fingerprint, "recipe": asdict(recipe)})
    trials = [
        Trial(ratio, method, task, seed)
        for seed in dict.fromkeys(seeds)
        for ratio in table.ratios
        for method in dict.fromkeys(methods)
        for task in tasks_of(method)
        if task in tasks
    ]
    if not trials:
        raise UsageError("no method is trained with these tasks: add the task 'none' or 'id'")
    done: list[dict[str, Any]] = []
    for trial in track(trials, label="Trials", total=len(trials)):
        file = out / "trials" / f"{trial.name}.json"
        if not file.is_file():
            write_json(file, _run_trial(table, trial, recipe))
        done.append(json.loads(file.read_text(encoding="utf-8")))
    return write_tables(out, done, table, recipe)


def _run_trial(table: FanTable, trial: Trial, recipe: Recipe) -> dict[str, Any]:
    start = time.perf_counter()
    references, test = draw_clips(table, trial.source_ratio, trial.seed)
    trained = train_encoder(references, trial.method, trial.task, recipe, seed=trial.seed)
    (target_ratio,) = set(table.ratios) - {trial.source_ratio}
    return {
        **asdict(trial),
        "target_ratio": target_ratio,
        "references": {
            "source": int((~references.target).sum()),
            "target": int(references.target.sum()),
        },
        "training": {"last_loss": trained.last_loss, "accuracy": trained.accuracy},
        **measure(references, test, trained, table.sections),
        "seconds": time.perf_counter() - start,
    }
