"""From recordings of machines to clips with auxiliary classes, and to what trains and tests."""

from __future__ import annotations

import polars as pl

from tonotopy._errors import DataError
from tonotopy.clips import (
    ClipTable,
    MachineColumns,
    add_machines,
    auxiliary_classes,
    official_split,
    window_clips,
)
from tonotopy.training.config import FitConfig
from tonotopy.training.excerpts import excerpt_seconds
from tonotopy.training.splitting import split_by

ANOMALY = "anomaly"


def machine_clips(clips: ClipTable, config: FitConfig) -> ClipTable:
    """Give windows of recordings with their machines, their auxiliary classes and their split.

    Args:
        clips: Recordings with whatever metadata there is. An official split (see `official_split`)
            is kept; validation clips are drawn from its training clips.
        config: Of the task `anomaly`.

    Returns:
        A table with the columns of `add_machines`. The label of a normal clip is its auxiliary
        class, if a training clip has that class too; anomalies have none and are all `test`.

    Raises:
        DataError: No clip is normal.
        UsageError: A column is missing or holds other words than it should.
    """
    options = config.anomaly
    columns = MachineColumns(
        options.type_column,
        options.section_column,
        options.attribute_columns,
        options.domain_column,
        options.condition_column,
    )
    clips = window_clips(add_machines(clips, columns), excerpt_seconds(config, clips))
    normal = (clips.frame["condition"] != ANOMALY).fill_null(True)
    if not normal.any():
        raise DataError(
            "all recordings are anomalies, and only normal ones can be learnt: look at the column "
            "or the folders of the condition (--anomaly.condition_column names it)"
        )
    names = auxiliary_classes(clips.frame, options.classes)
    clips = _with_labels(
        clips, [name if ok else None for name, ok in zip(names, normal, strict=True)]
    )
    clips = clips.with_columns(_split(clips, normal, config))
    trained = set(clips.filter(pl.col("split") == "train").labels)
    kept = [path[0] if path and path in trained else None for path in clips.labels]
    return _with_labels(clips, kept)


def _with_labels(clips: ClipTable, names: list[str | None]) -> ClipTable:
    paths = [[] if name is None else [name] for name in names]
    return clips.with_columns(pl.Series("label", paths, dtype=pl.List(pl.String)))


def _split(clips: ClipTable, normal: pl.Series, config: FitConfig) -> pl.Series:
    """Draw from the normal clips, or from those that an official split lets train."""
    official = official_split(clips)
    free = normal if official is None else normal & (official == "train")
    split = pl.Series("split", ["test"] * len(clips), dtype=pl.String)
    if not free.any():
        raise DataError("no normal clip is of the split `train`: there is nothing to learn from")
    drawn = split_by(clips.filter(free), config.split, seed=config.seed, test=official is None)
    return split.scatter(free.arg_true(), drawn)
