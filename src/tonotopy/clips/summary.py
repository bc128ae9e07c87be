"""What a table holds, in numbers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl

from tonotopy.clips.table import ClipTable


def duplicates(table: ClipTable) -> pl.DataFrame:
    """Find clips with the same content under two labels that contradict each other.

    A label that stops early does not contradict a longer one that begins with it; copies under one
    label are no contradiction either (they count as `copies` in `summarise`).

    Returns:
        The columns `content`, `path` and `label` of these clips, copies of one content together.
    """
    labels: dict[str, set[tuple[str, ...]]] = {}
    for content, label in zip(table.frame["content"], table.labels, strict=True):
        labels.setdefault(content, set()).add(label)
    contested = [content for content, found in labels.items() if _contradict(found)]
    return (
        table.frame.filter(pl.col("content").is_in(contested))
        .select("content", "path", "label")
        .sort("content", "path", maintain_order=True)
    )


def summarise(table: ClipTable) -> dict[str, Any]:
    """Sum up a table for people and machines; every value can be written as JSON.

    Returns:
        `clips`, `hours`, `unlabelled` (clips without a label); `copies` (clips whose content an
        earlier clip has already, under any label); `sample_rates`, `channels` and `folds` (value to
        number of clips); `labels` (for every node of the label tree, parents first, its `path` from
        coarse to fine and its `clips`, those further down included); `duplicates` (the rows of
        `duplicates`); `quarantined` (`path`, `reason` and `detail` of every file that cannot be
        used); `ignored` (suffix to number of files that are not audio).
    """
    frame = table.frame
    nodes = Counter(label[:depth] for label in table.labels for depth in range(1, len(label) + 1))
    return {
        "clips": len(table),
        "hours": frame["seconds"].sum() / 3600,
        "unlabelled": table.labels.count(()),
        "copies": len(table) - frame["content"].n_unique(),
        "sample_rates": _counts(frame["sample_rate"]),
        "channels": _counts(frame["channels"]),
        "folds": _counts(frame["fold"]),
        "labels": [{"path": list(path), "clips": nodes[path]} for path in sorted(nodes)],
        "duplicates": duplicates(table).to_dicts(),
        "quarantined": table.quarantine.to_dicts(),
        "ignored": dict(table.ignored),
    }


def _contradict(labels: set[tuple[str, ...]]) -> bool:
    longest = max(labels, key=len)
    return any(label != longest[: len(label)] for label in labels)


def _counts(values: pl.Series) -> dict[str, int]:
    return {str(value): count for value, count in sorted(Counter(values.drop_nulls()).items())}
