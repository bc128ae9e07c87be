"""Explain the clips of a run that its detector finds most anomalous."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from tonotopy._errors import UsageError
from tonotopy.protocols.explanation import ExplanationOptions, explain_recordings
from tonotopy.protocols.machine_scores import SCORES_PATH


def explain_top(run: Path, each: int, *, masks: int | None = None) -> int:
    """Explain the test clips with the highest scores of every machine, for the run's report.

    Args:
        run: A run with a detector. Pictures and numbers go to `explanations/MACHINE/`.
        each: Clips of every machine, at least 1.
        masks: Masks of a map. Default: as many as it takes to settle.

    Returns:
        Number of clips explained.

    Raises:
        UsageError: `each` is not positive, or the run has no detector.
    """
    if each < 1:
        raise UsageError(f"--explain must be at least 1, got {each}")
    path = run / SCORES_PATH
    if not path.is_file():
        raise UsageError(f"there is no detector in {run}: only its scores can be explained")
    test = pl.read_parquet(path).filter(pl.col("split") == "test")
    count = 0
    for (machine,), own in test.sort("score", descending=True).group_by(
        ["machine"], maintain_order=True
    ):
        clips = [Path(name) for name in own["path"].unique(maintain_order=True).head(each)]
        there = [clip for clip in clips if clip.is_file()]
        if there:
            folder = run / "explanations" / re.sub(r"[^\w.-]+", "-", str(machine))
            options = ExplanationOptions(masks=masks)
            explain_recordings(run, there, machine=str(machine), options=options, out=folder)
            count += len(there)
    return count
