"""The anomaly part of the page: put together where a run has a detector."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import polars as pl

from tonotopy._errors import DataError, UsageError
from tonotopy.detection import FOLDER
from tonotopy.reporting import _anomaly_charts
from tonotopy.reporting._audio import Excerpts
from tonotopy.reporting._charts import Figure
from tonotopy.reporting._run import Run
from tonotopy.reporting._sections import DASH, Card, Tile, describe, percent, ratio

SCORES = Path(FOLDER) / "scores.parquet"
EXPLANATIONS = "explanations"
SECONDS_A_DAY = 86_400
TOP = 6
NEAREST = 2
MOST_CARDS = 48

COLUMNS = (
    "machine",
    "references",
    "calibrated on",
    "threshold",
    "false alarms a day",
    "false alarms in test",
    "detected",
    "AUC",
    "AUC source",
    "AUC target",
    "pAUC",
    "best F1",
    "F1-EV",
    "seeds: AUC",
)


@dataclass(frozen=True)
class Top:
    """A clip with a high score: the clip, its score and p-value, and the normal clips nearest."""

    clip: int
    score: float
    p_value: float
    condition: str | None
    alarm: bool
    nearest: list[tuple[int, float]]


@dataclass(frozen=True)
class AnomalyPart:
    """What the anomaly part of the page needs.

    Attributes:
        words: Texts and rows for the template.
        switch: Figures by machine, of which the page shows one machine at a time.
        tops: Machine to its clips with the highest scores.
    """

    words: dict[str, Any]
    switch: dict[str, dict[str, Figure | None]]
    tops: dict[str, list[Top]]

    @property
    def figures(self) -> dict[str, Figure]:
        """Figures that the page shows at first: those of the first machine."""
        first = next(iter(self.switch.values()), {})
        figures = {place: figure for place, figure in first.items() if figure is not None}
        if self.words["spread"] is not None:
            figures["anomaly-spread"] = self.words["spread"]
        return figures

    @property
    def listed(self) -> list[int]:
        """Clips that need a picture and sound."""
        tops = [top for found in self.tops.values() for top in found]
        return [clip for top in tops for clip in (top.clip, *(near for near, _ in top.nearest))]


def anomaly_part(run: Run, repeats: Sequence[Path] = ()) -> AnomalyPart | None:
    """Put the anomaly part together, or give `None` where the run has no detector.

    Args:
        run: The run.
        repeats: Folders of runs of the same configuration with other seeds.

    Raises:
        DataError: The run's metrics speak of a detector whose scores are missing.
        UsageError: A repeat is no such run.
    """
    found = run.metrics.get("anomaly")
    if not found:
        return None
    path = run.folder / SCORES
    if not path.is_file():
        raise DataError(f"{path} is missing: `tonotopy calibrate {run.folder}` makes it anew")
    scores = pl.read_parquet(path)
    names = list(found["machines"])
    spread = _spread(found, [_metrics(folder) for folder in repeats])
    rate, seconds = found["false_alarm_rate"], found["window_seconds"]
    tops = _tops(run, scores, names)
    switch = {}
    for name in names:
        own = scores.filter(pl.col("machine") == name)
        threshold = found["machines"][name]["thresholds"]["all"]["value"]
        switch[name] = {
            "anomaly-scores": _anomaly_charts.histogram_figure(own, threshold),
            "anomaly-roc": _anomaly_charts.roc_figure(own),
        }
    words = {
        "tiles": _tiles(found, seconds),
        "columns": COLUMNS,
        "rows": [_row(name, found["machines"][name], rate, seconds, spread) for name in names],
        "names": names,
        "guarantees": _guarantees(found, names),
        "has_roc": any(figures["anomaly-roc"] for figures in switch.values()),
        "repeats": len(repeats),
        "spread": _anomaly_charts.spread_figure(spread),
        "pictures": _pictures(run.folder / EXPLANATIONS),
    }
    return AnomalyPart(words, switch, tops)


def anomaly_cards(
    run: Run, part: AnomalyPart, excerpts: Excerpts
) -> dict[str, list[tuple[Card, list[Card], str | None]]]:
    """Describe the top clips of every machine, their nearest normals and what explains them."""
    pictures = part.words["pictures"]
    return {
        name: [
            (
                replace(_top_card(run, top, excerpts), label=name),
                [
                    describe(run, near, excerpts, notes=(f"cosine {cosine:.3f}",))
                    for near, cosine in top.nearest
                ],
                pictures.get(_place(run, name, top)),
            )
            for top in found
        ]
        for name, found in part.tops.items()
    }


def _place(run: Run, machine: str, top: Top) -> tuple[str, str, float]:
    clip = run.clips[top.clip]
    return machine, str(clip.path.resolve()), round(clip.start, 2)


def _pictures(folder: Path) -> dict[tuple[str, str, float], str]:
    """Read the explanations that lie in the run: machine, path and start to a picture."""
    pictures = {}
    for path in sorted(folder.rglob("*.json")):
        picture = path.with_suffix(".png")
        if not picture.is_file():
            continue
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            path_of_clip = str(Path(about["path"]).resolve())
            key = (str(about["machine"]), path_of_clip, round(about["start"] or 0.0, 2))
        except (ValueError, KeyError, TypeError):
            continue  # another file of the user's
        encoded = base64.b64encode(picture.read_bytes()).decode("ascii")
        pictures[key] = f"data:image/png;base64,{encoded}"
    return pictures


def _top_card(run: Run, top: Top, excerpts: Excerpts) -> Card:
    notes: tuple[str, ...] = (f"score {top.score:.4g}, p-value {top.p_value:.3g}",)
    verdict = "alarm" if top.alarm else "no alarm"
    tone = "plain"
    if top.condition is not None:
        notes = (*notes, f"labelled {top.condition}")
        tone = "good" if top.alarm == (top.condition == "anomaly") else "bad"
    return describe(run, top.clip, excerpts, notes=notes, verdict=verdict, tone=tone)


def _tops(run: Run, scores: pl.DataFrame, names: Sequence[str]) -> dict[str, list[Top]]:
    """Choose the test clips with the highest scores of each machine, fewer of many machines."""
    clips = {(str(clip.path), clip.start): at for at, clip in enumerate(run.clips)}
    each = max(1, min(TOP, MOST_CARDS // max(len(names), 1)))
    tops = {}
    for name in names:
        own = scores.filter(pl.col("machine") == name).with_columns(
            pl.struct("path", pl.col("start").fill_null(0.0))
            .map_elements(lambda at: clips.get((at["path"], at["start"]), -1), pl.Int64)
            .alias("clip")
        )
        known = own.filter(pl.col("clip") >= 0)
        normals = known.filter(pl.col("split") == "train")["clip"].to_numpy()
        highest = known.filter(pl.col("split") == "test").sort("score", descending=True)
        tops[name] = [_top(run, row, normals) for row in highest.head(each).iter_rows(named=True)]
    return tops


def _top(run: Run, row: dict[str, Any], normals: np.ndarray[Any, Any]) -> Top:
    cosines = run.units[normals] @ run.units[row["clip"]]
    order = np.argsort(-cosines, kind="stable")[:NEAREST]
    return Top(
        clip=row["clip"],
        score=row["score"],
        p_value=row["p_value"],
        condition=row["condition"],
        alarm=row["anomalous"],
        nearest=[(int(normals[at]), float(cosines[at])) for at in order],
    )


def _tiles(found: dict[str, Any], seconds: float) -> list[Tile]:
    machines = list(found["machines"].values())
    normals = sum(machine["test_normals"] for machine in machines)
    alarms = sum(machine["false_alarms"] for machine in machines)
    anomalies = sum(machine["test_anomalies"] for machine in machines)
    detected = sum(machine["detected"] for machine in machines)
    hmean = found["hmean"] or {}
    rate = found["false_alarm_rate"]
    scorer = found["scorer"]["class_path"].rpartition(".")[2]
    return [
        Tile("machines", str(len(machines)), "each with references and a threshold"),
        Tile("scored by", scorer, f"windows of {seconds:g} s"),
        Tile("false alarms", percent(rate), "promised share of normal windows"),
        Tile("false alarms", f"{alarms} of {normals}", "normal test clips"),
        Tile("detected", f"{detected} of {anomalies}", "anomalous test clips"),
        Tile("AUC", ratio(hmean.get("auc")), "harmonic mean over machines, 1 best"),
        Tile("pAUC", ratio(hmean.get("pauc")), "up to 10 % false alarms, standardised"),
    ]


def _row(
    name: str,
    machine: dict[str, Any],
    rate: float,
    seconds: float,
    spread: dict[str, list[float]],
) -> list[str]:
    threshold = machine["thresholds"]["all"]["value"]
    measured = machine["scores"] or {}
    seeds = spread.get(name, [])
    never = threshold is None or math.isinf(threshold)
    return [
        name,
        str(machine["references"]),
        machine["calibrated_on"],
        "never alarms" if never else f"{threshold:.4g}",
        "0" if never else f"{rate * SECONDS_A_DAY / seconds:.0f}",
        f"{machine['false_alarms']} of {machine['test_normals']}",
        f"{machine['detected']} of {machine['test_anomalies']}",
        *(ratio(measured.get(key)) for key in ("auc", "auc_source", "auc_target", "pauc")),
        ratio((measured.get("best_f1") or {}).get("f1")),
        ratio(measured.get("f1_ev")),
        f"{mean(seeds):.3f} ± {stdev(seeds):.3f}" if len(seeds) > 1 else DASH,
    ]


def _guarantees(found: dict[str, Any], names: Sequence[str]) -> list[str]:
    """Give what thresholds promise, each sentence once."""
    said = (found["machines"][name]["thresholds"]["all"]["guarantee"] for name in names)
    return list(dict.fromkeys(said))[:3]


def _spread(found: dict[str, Any], others: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for metrics in [found, *others]:
        for name, machine in metrics["machines"].items():
            auc = (machine["scores"] or {}).get("auc")
            if auc is not None:
                values.setdefault(name, []).append(auc)
    return values


def _metrics(folder: Path) -> dict[str, Any]:
    path = folder / "metrics.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["anomaly"]
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"{folder} is no run of an anomaly detector ({error}): `--repeats` names runs of the "
            "same configuration with other seeds"
        ) from error
    return found
