"""Tables of the experiment on the synthetic plant: AUC, false alarms, detection by severity."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch

from tonotopy.detection import fit_threshold
from tonotopy.metrics import roc_auc
from tonotopy.protocols._plant_scores import CALIBRATIONS

PER_DOMAIN = "own domain"
ALL_DOMAINS = "all"
SITE = "site"
ANY_FAULT = "any"


def clopper_pearson(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Give the exact interval of a binomial probability.

    Lower end: the (1 - c) / 2 quantile of Beta(k, n - k + 1); upper: the (1 + c) / 2 quantile of
    Beta(k + 1, n - k). Clopper and Pearson, Biometrika 26, 1934.

    Args:
        count: Successes k.
        total: Trials n; 0 gives (0, 1).
        confidence: c.
    """
    from scipy.stats import beta

    tail = (1.0 - confidence) / 2
    low = float(beta.ppf(tail, count, total - count + 1)) if count else 0.0
    high = float(beta.ppf(1.0 - tail, count + 1, total - count)) if count < total else 1.0
    return low, high


def plant_tables(
    scores: pl.DataFrame, thresholds: Sequence[dict[str, Any]], rates: Sequence[float]
) -> dict[str, Any]:
    """Tabulate scores.

    Args:
        scores: Rows of `score_plant` with `method` and `seed`.
        thresholds: Those of `score_plant`, with the same.
        rates: False-alarm rates that thresholds were set for.

    Returns:
        - `auc`: rows of `method`, `domain`, `snr_db`, `severity` (`all`, or one), `mean`, `sd` over
          seeds and `n`; a seed's value is the mean over its machines, fresh normal clips against
          anomalies of the same domain and ratio;
        - `false_alarms`: rows of `method`, `calibration`, `scope` (`all`: one threshold a machine;
          `own domain`: one for each domain), `rate`, `domain`, `machine` (`all`, or seed and
          machine), `alarms`, `clips`, `low`, `high` (95 %), `silent`, clips of which the threshold
          is infinite;
        - `detection`: rows of `method`, `scope` (`all`: one threshold a machine, held-out; `site`:
          one for each machine, domain and ratio, see `_site_alarms`), `rate`, `domain`, `fault`
          (`any`, or one), `snr_db`, `severity`, `detected`, `clips`, `low`, `high`.
    """
    measured = scores.filter(pl.col("use") == "measure")
    alarms = pl.concat(
        _alarms(measured, thresholds, calibration, scope, rate)
        for calibration in CALIBRATIONS
        for scope in (ALL_DOMAINS, PER_DOMAIN)
        for rate in rates
    )
    faulty = alarms.filter(
        pl.col("condition") == "anomaly",
        pl.col("calibration") == "held-out",
        pl.col("scope") == ALL_DOMAINS,
    ).drop("calibration", "silent")
    found = [faulty, *(_site_alarms(scores, rate) for rate in rates)]
    return {
        "auc": _auc_rows(measured),
        "false_alarms": _false_alarm_rows(alarms.filter(pl.col("condition") == "normal")),
        "detection": _detection_rows(pl.concat(part.select(faulty.columns) for part in found)),
    }


def _alarms(
    scores: pl.DataFrame,
    thresholds: Sequence[dict[str, Any]],
    calibration: str,
    scope: str,
    rate: float,
) -> pl.DataFrame:
    """Decide by one kind of threshold; domains without one of their own take the machine's."""
    values = {
        (row["method"], row["seed"], row["machine"], row["domain"]): (
            math.inf if row["value"] is None else row["value"]
        )
        for row in thresholds
        if row["calibration"] == calibration and row["rate"] == rate
    }
    used = [
        values.get((method, seed, machine, domain), values[method, seed, machine, ALL_DOMAINS])
        if scope == PER_DOMAIN
        else values[method, seed, machine, ALL_DOMAINS]
        for method, seed, machine, domain in scores.select(
            "method", "seed", "machine", "domain"
        ).iter_rows()
    ]
    value = pl.Series("value", used, dtype=pl.Float64)
    return scores.with_columns(
        (scores["score"] > value).alias("alarm"),
        value.is_infinite().alias("silent"),
        calibration=pl.lit(calibration),
        scope=pl.lit(scope),
        rate=pl.lit(rate),
    )


def _auc_rows(scores: pl.DataFrame) -> list[dict[str, Any]]:
    rows = []
    severities: list[float | str] = ["all", *_levels(scores, "severity")]
    for method, domain, snr in _combinations(scores, "method", "domain", "snr_db"):
        part = scores.filter(
            pl.col("method") == method, pl.col("domain") == domain, pl.col("snr_db") == snr
        )
        for severity in severities:
            chosen = (pl.col("severity") == severity) | (pl.col("condition") == "normal")
            compared = part if severity == "all" else part.filter(chosen)
            means = [
                _mean([_auc(machine) for machine in seed.partition_by("machine")])
                for seed in compared.partition_by("seed")
            ]
            spread = float(np.std(means, ddof=1)) if len(means) > 1 else math.nan
            rows.append(
                {
                    "method": method,
                    "domain": domain,
                    "snr_db": snr,
                    "severity": severity,
                    "mean": float(np.mean(means)),
                    "sd": spread,
                    "n": len(means),
                }
            )
    return rows


def _mean(values: Sequence[float]) -> float:
    """Give the mean of what is defined; NaN where nothing is."""
    found = [value for value in values if not math.isnan(value)]
    return float(np.mean(found)) if found else math.nan


def _auc(part: pl.DataFrame) -> float:
    normal, anomalous = (
        torch.from_numpy(part.filter(pl.col("condition") == name)["score"].to_numpy().copy())
        for name in ("normal", "anomaly")
    )
    return roc_auc(normal, anomalous)


def _false_alarm_rows(normals: pl.DataFrame) -> list[dict[str, Any]]:
    kind = ["method", "calibration", "scope", "rate"]
    single = pl.format("seed {}, {}", "seed", "machine")
    return [
        *_counted(normals, kind, domain=pl.lit("all"), machine=pl.lit("all")),
        *_counted(normals, kind, domain=pl.col("domain"), machine=pl.lit("all")),
        *_counted(normals, kind, domain=pl.lit("all"), machine=single),
    ]


def _counted(frame: pl.DataFrame, kind: list[str], **further: pl.Expr) -> list[dict[str, Any]]:
    counted = (
        frame.with_columns(**further)
        .group_by(*kind, *further, maintain_order=True)
        .agg(
            pl.col("alarm").sum().alias("alarms"),
            pl.len().alias("clips"),
            pl.col("silent").sum().alias("silent"),
        )
    )
    return [_with_interval(row, "alarms") for row in counted.iter_rows(named=True)]


def _site_alarms(scores: pl.DataFrame, rate: float) -> pl.DataFrame:
    """Decide on anomalies by a threshold for their machine, domain and ratio to the noise.

    All fresh normal clips of that site calibrate it, so its false alarms are not counted. Sites
    with too few clips for the rate are left out.
    """
    parts = []
    for site in scores.partition_by("method", "seed", "machine", "domain", "snr_db"):
        normal = site.filter(pl.col("condition") == "normal")["score"]
        threshold = fit_threshold(torch.from_numpy(normal.to_numpy().copy()), false_alarm_rate=rate)
        if not threshold.never_alarms:
            faulty = site.filter(pl.col("condition") == "anomaly")
            parts.append(faulty.with_columns((faulty["score"] > threshold.value).alias("alarm")))
    found = pl.concat(parts) if parts else scores.clear().with_columns(alarm=pl.lit(False))
    return found.with_columns(rate=pl.lit(rate), scope=pl.lit(SITE))


def _detection_rows(anomalies: pl.DataFrame) -> list[dict[str, Any]]:
    columns = ("method", "scope", "rate", "domain", "fault", "snr_db", "severity")
    every = anomalies.with_columns(fault=pl.lit(ANY_FAULT))
    counted = (
        pl.concat([anomalies, every])
        .group_by(columns)
        .agg(pl.col("alarm").sum().alias("detected"), pl.len().alias("clips"))
        .sort(columns)
    )
    return [_with_interval(row, "detected") for row in counted.iter_rows(named=True)]


def _with_interval(row: dict[str, Any], count: str) -> dict[str, Any]:
    low, high = clopper_pearson(row[count], row["clips"])
    return {**row, "low": low, "high": high}


def _levels(frame: pl.DataFrame, column: str) -> list[float]:
    found = frame.filter(pl.col("condition") == "anomaly")[column]
    return sorted(float(value) for value in found.unique())


def _combinations(frame: pl.DataFrame, *columns: str) -> Iterable[tuple[Any, ...]]:
    return frame.select(columns).unique(maintain_order=True).iter_rows()
