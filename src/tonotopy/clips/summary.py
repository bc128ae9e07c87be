"""What a scan found, in numbers."""

from __future__ import annotations

from typing import Any

import polars as pl

from tonotopy.clips.table import ClipTable


def duplicates(clips: ClipTable) -> pl.DataFrame:
    """Find clips whose content also stands under another label.

    Returns:
        Their rows, equal content together, in the order of content and path.
    """
    labels = pl.col("label").list.join("\0").n_unique().over("content")
    return clips.frame.filter(labels > 1).sort("content", "path")


def summarise(clips: ClipTable) -> dict[str, Any]:
    """Count clips, hours, labels and problems, as values that JSON knows.

    Returns:
        `clips`, `hours`, `labels` (path of every node to its clips), `unlabelled`, `sample_rates`,
        `duplicates`, `quarantined` (rows as mappings) and `ignored` (suffix to files).
    """
    tree = clips.tree
    counts = tree.counts(clips.labels)
    rates = clips.frame["sample_rate"].value_counts().sort("sample_rate").rows()
    return {
        "clips": len(clips),
        "hours": float(clips.frame["seconds"].sum()) / 3600,
        "labels": [
            {"label": list(tree.path(node)), "clips": count} for node, count in enumerate(counts)
        ],
        "unlabelled": sum(not label for label in clips.labels),
        "sample_rates": {str(rate): count for rate, count in rates},
        "duplicates": duplicates(clips).select("path", "label", "content").to_dicts(),
        "quarantined": clips.quarantine.to_dicts(),
        "ignored": dict(clips.ignored),
    }
