"""The detector of a run, and what it makes of the run's own clips."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor

from tonotopy._components import Component
from tonotopy._errors import UsageError
from tonotopy._files import atomic_path
from tonotopy.clips import ClipTable, clip_starts
from tonotopy.detection import (
    FOLDER,
    CalibrateOn,
    Detector,
    DetectorOptions,
    MachineModel,
    References,
    ThresholdMethod,
)
from tonotopy.detection.detector import DETECTOR_FILE
from tonotopy.embedder import AudioEmbedder
from tonotopy.extraction import EmbeddingTable
from tonotopy.protocols._window_reading import window_states
from tonotopy.protocols.embedding import EMBEDDINGS_FILE
from tonotopy.protocols.evaluation import evaluate_run
from tonotopy.protocols.machine_metrics import anomaly_metrics
from tonotopy.reporting import write_report
from tonotopy.training.config import FitConfig, read_config
from tonotopy.training.excerpts import excerpt_seconds

SCORES_PATH = Path(FOLDER) / "scores.parquet"
METADATA = ("machine", "machine_type", "section", "attributes", "domain", "condition")


def fit_detector(run: Path, config: FitConfig) -> Detector:
    """Make the detector of a trained run from its own normal clips, and keep it in the run.

    Training clips become the references; validation clips, if there are any, are held out to
    calibrate on. Silent, clipped or otherwise faulty windows are neither.

    Raises:
        UsageError: The run has no normal training clip, or an option does not fit.
    """
    clips = ClipTable.read(run / "clips.parquet")
    table = described_clips(run, clips)
    options = DetectorOptions(
        excerpt_seconds(config, clips),
        config.anomaly.scorer,
        config.anomaly.false_alarm_rate,
        config.anomaly.threshold,
        config.anomaly.calibrate_on,
    )
    embedder = AudioEmbedder.from_pretrained(run)
    normal = _usable(table.filter(pl.col("split").is_in(["train", "val"])), embedder, options)
    trained = normal.filter(pl.col("split") == "train")
    labels = trained.explode("label").select("machine", "label").unique().drop_nulls().sort("label")
    detector = Detector.fit(
        embedder,
        References.from_frame(trained, embedder),
        References.from_frame(normal.filter(pl.col("split") == "val"), embedder),
        options,
        {name: rows["label"].to_list() for (name,), rows in labels.group_by("machine")},
    )
    detector.save(run)
    _warn_of_broken_promises(detector)
    return detector


def _usable(table: pl.DataFrame, embedder: AudioEmbedder, options: DetectorOptions) -> pl.DataFrame:
    """Leave out windows whose signal cannot be judged: a dead sensor must not become normal."""
    states = window_states(table, embedder.sample_rate, options.window_seconds)
    usable = pl.Series([state == "usable" for state in states], dtype=pl.Boolean)
    if not usable.all():
        first = int((~usable).arg_max() or 0)
        print(
            f"warning: {(~usable).sum()} of {len(table)} normal windows cannot be judged and are "
            f"no references (the first: {table['path'][first]}, {states[first]})",
            file=sys.stderr,
        )
    return table.filter(usable)


def calibrate_run(
    run: Path,
    *,
    command: str,
    scorer: Component | None = None,
    false_alarm_rate: float | None = None,
    threshold: ThresholdMethod | None = None,
    calibrate_on: CalibrateOn | None = None,
    rebuild: bool = False,
) -> dict[str, Any]:
    """Change how a run's detector scores and when it alarms; nothing is trained.

    Its thresholds are fitted anew, its own clips scored again, and `metrics.json` and the report
    brought up to date. Normal clips that were added stay, unless it is rebuilt.

    Args:
        run: A run of the task `anomaly`.
        command: What the user typed.
        scorer: How to score. Default: as now; of a rebuilt detector, as the run was configured.
        false_alarm_rate: Share of normal windows that may alarm, in (0, 1).
        threshold: How to set thresholds.
        calibrate_on: Which normal clips set them.
        rebuild: Start again from the clips of the run.

    Returns:
        The metrics, as `complete_run` gives them.

    Raises:
        UsageError: The run is of another task, or an option does not fit.
    """
    config = read_config(run / "config.yaml")
    if config.task != "anomaly":
        raise UsageError(f"{run} is no run of an anomaly detector: train with --task anomaly")
    if false_alarm_rate is not None and not 0.0 < false_alarm_rate < 1.0:
        raise UsageError(f"--false_alarm_rate must lie between 0 and 1, got {false_alarm_rate:g}")
    given: dict[str, Any] = {
        "scorer": scorer,
        "false_alarm_rate": false_alarm_rate,
        "threshold": threshold,
        "calibrate_on": calibrate_on,
    }
    asked = {name: value for name, value in given.items() if value is not None}
    if rebuild:
        detector = fit_detector(run, replace(config, anomaly=replace(config.anomaly, **asked)))
    else:
        old = Detector.load(run)
        options = replace(old.options, **asked)
        detector = Detector.fit(old.embedder, old.references, old.held_out, options, old.classes)
        detector.save(run)
        _warn_of_broken_promises(detector)
    return update_run(run, detector, command=command)


def _warn_of_broken_promises(detector: Detector) -> None:
    """Name the machines whose thresholds come from clips that trained the model."""
    names = [
        name
        for name in detector.names
        if detector.machine(name).calibrated_on == "leave-one-out"
        and not detector.machine(name).threshold().never_alarms
    ]
    if names:
        rate = detector.options.false_alarm_rate
        print(
            f"warning: {len(names)} machines ({', '.join(names[:3])}{', ...' * (len(names) > 3)}) "
            f"have too few held-out clips for a false alarm rate of {rate:g}, so their thresholds "
            "come from clips that trained the model: expect many times as many alarms; hold "
            "more out (--split.val_fraction), record more, or choose a higher rate",
            file=sys.stderr,
        )


def has_detector(run: Path) -> bool:
    """Tell whether a run is of the task `anomaly` and finished."""
    return (run / FOLDER / DETECTOR_FILE).is_file()


def evaluate_detector(run: Path, *, command: str) -> dict[str, Any]:
    """Measure a detector on the clips of its run again; see `update_run`."""
    return update_run(run, Detector.load(run), command=command)


def update_run(run: Path, detector: Detector, *, command: str) -> dict[str, Any]:
    """Score a run's clips with its present detector; bring `metrics.json` and the report up to it.

    Returns:
        The metrics.
    """
    further = {"anomaly": anomaly_metrics(score_run(run, detector), detector)}
    metrics = evaluate_run(run, command=command, further=further)
    write_report(run)
    return metrics


def described_clips(run: Path, clips: ClipTable) -> pl.DataFrame:
    """Give the embeddings of a run with what its table says of each clip's machine."""
    described = clips.frame.select(*METADATA, "seconds").with_columns(
        pl.Series("path", [str(path) for path in clips.paths], dtype=pl.String),
        pl.Series("start", clip_starts(clips.frame), dtype=pl.Float64),
    )
    table = EmbeddingTable.read(run / EMBEDDINGS_FILE).frame
    return table.join(described, on=["path", "start"], how="left", nulls_equal=True)


def score_run(run: Path, detector: Detector) -> pl.DataFrame:
    """Score all clips of a run and write `detector/scores.parquet`.

    References are scored as if each were none.

    Returns:
        A row a clip: `path`, `start`, `split`, the columns of `METADATA`, `score`, `p_value`,
        `threshold`, `anomalous`.
    """
    table = described_clips(run, ClipTable.read(run / "clips.parquet"))
    parts = []
    for name in detector.names:
        machine = detector.machine(name)
        own = table.filter(pl.col("machine") == name)
        scores = _own_scores(own, machine)
        threshold = machine.threshold()
        parts.append(
            own.select("path", "start", "split", *METADATA).with_columns(
                pl.Series("score", scores.numpy()),
                pl.Series("p_value", threshold.p_values(scores).numpy()),
                pl.lit(threshold.value).alias("threshold"),
                pl.Series("anomalous", threshold.exceeded(scores).numpy()),
            )
        )
    frame = pl.concat(parts)
    with atomic_path(run / SCORES_PATH) as temporary:
        frame.write_parquet(temporary)
    return frame


def _own_scores(own: pl.DataFrame, machine: MachineModel) -> Tensor:
    scores = machine.score(torch.from_numpy(own["embedding"].to_numpy().copy()))
    recordings = machine.references.recordings
    if len(set(recordings)) < 2:
        return scores
    alone = machine.references.frame.select("path", "start").with_columns(
        pl.Series("alone", machine.scorer.leave_one_out(recordings).numpy())
    )
    joined = own.select("path", "start").with_columns(pl.Series("score", scores.numpy()))
    joined = joined.join(alone, on=["path", "start"], how="left", nulls_equal=True)
    found = joined.select(pl.coalesce("alone", "score")).to_series()
    return torch.from_numpy(found.to_numpy().copy())
