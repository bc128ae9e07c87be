"""Scores and thresholds of a run on the synthetic plant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch

from tonotopy._components import Component
from tonotopy.clips import ClipTable
from tonotopy.detection import CalibrateOn, Detector, DetectorOptions, References
from tonotopy.embedder import AudioEmbedder
from tonotopy.protocols.embedding import embed_run
from tonotopy.protocols.machine_scores import described_clips
from tonotopy.training.config import read_config
from tonotopy.training.excerpts import excerpt_seconds

CALIBRATIONS: tuple[CalibrateOn, ...] = ("leave-one-out", "held-out")
"""Where normal scores for thresholds come from: training clips, or fresh ones."""

TRUTH = ("fault", "severity", "snr_db")


def score_plant(
    run: Path, scorer: Component, rates: Sequence[float]
) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    """Score the test clips of a run's plant, and set thresholds in every way.

    Args:
        run: A trained run.
        scorer: How far a clip is from the references, which are the training clips; one that needs
            no centres of classes.
        rates: False-alarm rates to set thresholds for.

    Returns:
        A row a test clip: `path`, `machine`, `domain`, `condition`, `fault`, `severity`, `snr_db`,
        `use` (`calibrate` for every other fresh normal clip of a machine and domain, else
        `measure`) and `score`; and thresholds as dictionaries with `machine`, `calibration`,
        `rate`, `domain` (`all`, or the domain that it is for), `clips` and `value`, infinite where
        the clips are too few.
    """
    clips = ClipTable.read(run / "clips.parquet")
    embed_run(run)
    table = with_use(_with_truth(described_clips(run, clips), clips))
    embedder = AudioEmbedder.from_pretrained(run)
    seconds = excerpt_seconds(read_config(run / "config.yaml"), clips)
    references = References.from_frame(table.filter(pl.col("split") == "train"), embedder)
    held_out = References.from_frame(table.filter(pl.col("use") == "calibrate"), embedder)
    test = table.filter(pl.col("split") == "test")
    thresholds: list[dict[str, Any]] = []
    for calibration in CALIBRATIONS:
        for rate in rates:
            options = DetectorOptions(
                seconds, scorer, false_alarm_rate=rate, calibrate_on=calibration
            )
            detector = Detector.fit(embedder, references, held_out, options, {})
            thresholds += _thresholds(detector, calibration, rate)
    return pl.concat([_scored(test, detector, name) for name in detector.names]), thresholds


def with_use(table: pl.DataFrame) -> pl.DataFrame:
    """Add `use`: of the fresh normal clips of a machine and domain, every other calibrates.

    Clips of one setting and ratio to the noise lie eighteen apart; they take turns, too.
    """
    fresh = (pl.col("split") == "test") & (pl.col("condition") == "normal")
    rank = pl.col("path").rank("ordinal").over("machine", "domain", "split", "condition") - 1
    calibrates = fresh & ((rank + rank // 18) % 2 == 0)
    return table.with_columns(
        pl.when(calibrates).then(pl.lit("calibrate")).otherwise(pl.lit("measure")).alias("use")
    )


def _with_truth(table: pl.DataFrame, clips: ClipTable) -> pl.DataFrame:
    truth = clips.frame.select(
        pl.Series("path", [str(path) for path in clips.paths], dtype=pl.String),
        pl.col("fault").cast(pl.String).fill_null(""),
        pl.col("severity").cast(pl.Float64),
        pl.col("snr_db").cast(pl.Float64),
    )
    return table.join(truth, on="path", how="left")


def _thresholds(detector: Detector, calibration: str, rate: float) -> list[dict[str, Any]]:
    return [
        {
            "machine": name,
            "calibration": calibration,
            "rate": rate,
            "domain": domain,
            "clips": len(threshold.scores),
            "value": threshold.value,
        }
        for name in detector.names
        for domain, threshold in detector.machine(name).thresholds.items()
    ]


def _scored(test: pl.DataFrame, detector: Detector, name: str) -> pl.DataFrame:
    own = test.filter(pl.col("machine") == name)
    scores = detector.machine(name).score(torch.from_numpy(own["embedding"].to_numpy().copy()))
    columns = ("path", "machine", "domain", "condition", *TRUTH, "use")
    return own.select(columns).with_columns(pl.Series("score", scores.numpy()))
