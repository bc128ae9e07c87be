"""Windows of recordings summed up, a row a file."""

from __future__ import annotations

import polars as pl
from scipy import stats


def summarise_files(windows: pl.DataFrame, false_alarm_rate: float) -> pl.DataFrame:
    """Give one row for every file of the windows of `detect_clips`.

    A file of one window has that window's decision. The more windows a normal recording has, the
    more of them exceed the threshold by chance: of n judged windows about n times the false alarm
    rate. So a file is anomalous if as many anomalous windows as it has are less likely than the
    false alarm rate, were windows independent (binomial tail). Single windows of a long recording
    may still be anomalies: look at `worst_start`. A file of which a window could not be judged is
    never normal.

    Args:
        windows: Of `detect_clips`.
        false_alarm_rate: Of the detector.

    Returns:
        `path`, `machine`, `condition` of the first window, `decision`, `windows`, `anomalous`,
        `unusable`, `p_value` (of the number of anomalous windows), and of the window with the
        highest score `worst_start`, `score`, `worst_p_value` and `nearest_1`; null where no window
        was scored.
    """
    rows = []
    for (path,), own in windows.group_by("path", maintain_order=True):
        scored = own.filter(pl.col("score").is_not_null()).sort("score", descending=True)
        judged = int((own["decision"] != "unknown").sum())
        count = int((own["decision"] == "anomaly").sum())
        chance = _at_least(count, judged, false_alarm_rate) if judged else None
        anomalous = chance is not None and count > 0 and chance <= false_alarm_rate + 1e-12
        # Of a file that was not heard whole nobody can say that it is normal.
        calm = "normal" if judged == len(own) else "unknown"
        worst = scored.row(0, named=True) if len(scored) else {}
        rows.append(
            {
                "path": path,
                "machine": own["machine"][0],
                "condition": own["condition"][0],
                "decision": "anomaly" if anomalous else calm,
                "windows": len(own),
                "anomalous": count,
                "unusable": len(own) - judged,
                "p_value": chance,
                "worst_start": worst.get("start"),
                "score": worst.get("score"),
                "worst_p_value": worst.get("p_value"),
                "nearest_1": worst.get("nearest_1"),
            }
        )
    return pl.DataFrame(rows, infer_schema_length=None)


def _at_least(count: int, windows: int, rate: float) -> float:
    """Give P(X >= count) of a binomial X."""
    return float(stats.binom.sf(count - 1, windows, rate))
