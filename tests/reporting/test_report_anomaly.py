"""The anomaly part of the report: shown where a run has a detector, and only there."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from tonotopy._errors import DataError, UsageError
from tonotopy._files import write_json
from tonotopy.metrics import roc_auc
from tonotopy.reporting import write_report
from tonotopy.reporting._anomaly_charts import histogram_figure, roc_figure, spread_figure

MakeRun = Callable[..., Path]
MACHINES = {"Strings": "fan/id_00", "Wind": "pump <1>"}
PNG = b"\x89PNG\r\n\x1a\n"


def machine_metrics(auc: float | None) -> dict[str, Any]:
    threshold = {"value": 0.5, "method": "conformal", "calibration_clips": 30, "guarantee": "kept"}
    scores = None if auc is None else {"auc": auc, "pauc": 0.6, "auc_source": None}
    return {
        "references": 10,
        "calibrated_on": "held-out",
        "thresholds": {"all": threshold},
        "test_normals": 4,
        "test_anomalies": 2,
        "false_alarms": 1,
        "detected": 2,
        "scores": scores,
    }


@pytest.fixture
def run(make_run: MakeRun) -> Path:
    """A run of ten clips of each of two machines; the last two test clips of each are anomalies."""
    folder = make_run(labels=[("Strings", "Violin"), ("Wind", "Flute")], clips_per_class=15)
    clips = pl.read_parquet(folder / "embeddings.parquet")
    random = np.random.default_rng(0)
    rows = []
    for row, label in zip(clips.iter_rows(named=True), clips["label"], strict=True):
        number = int(re.findall(r"\d+", Path(row["path"]).name)[-1]) % 15
        anomaly = row["split"] == "test" and number >= 9
        score = float(random.uniform(0.6, 1.0) if anomaly else random.uniform(0.0, 0.55))
        rows.append(
            {
                "path": row["path"],
                "start": None,
                "split": row["split"],
                "machine": MACHINES[label[0]],
                "domain": ("source", "target")[number % 2],
                "condition": "anomaly" if anomaly else "normal",
                "score": score,
                "p_value": 1.0 - score,
                "threshold": 0.5,
                "anomalous": score > 0.5,
            }
        )
    (folder / "detector").mkdir()
    frame = pl.DataFrame(rows, schema_overrides={"start": pl.Float64})
    frame.write_parquet(folder / "detector" / "scores.parquet")
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["anomaly"] = {
        "scorer": {"class_path": "tonotopy.detection.KMeansScorer", "init_args": {}},
        "false_alarm_rate": 0.01,
        "window_seconds": 10.0,
        "machines": {"fan/id_00": machine_metrics(0.9), "pump <1>": machine_metrics(None)},
        "hmean": {"auc": 0.9, "pauc": 0.6},
    }
    write_json(folder / "metrics.json", metrics)
    return folder


def words(report: Path) -> str:
    body = re.sub(r"<(script|style)\b.*?</\1>", " ", report.read_text("utf-8"), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).replace("\u00a0", " ").split())


def data(report: Path) -> dict[str, Any]:
    found = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', report.read_text("utf-8")
    )
    assert found
    return dict(json.loads(found[1]))


def test_it_is_not_there_without_a_detector(make_run: MakeRun) -> None:
    assert "Highest scores" not in words(write_report(make_run()))


def test_every_machine_has_its_row_figures_and_clips(run: Path) -> None:
    report = write_report(run)
    text = words(report)
    assert "KMeansScorer windows of 10 s" in text
    # 86,400 s a day in windows of 10 s, of which one in a hundred may alarm.
    row = "fan/ id_00 10 held-out 0.5 86 1 of 4 2 of 2 0.900"
    assert row in text
    assert "pump <1> 10 held-out" in text
    machines = data(report)["machines"]
    assert [bool(figures["anomaly-scores"]) for figures in machines] == [True, True]
    assert set(data(report)["figures"]) >= {"anomaly-scores", "anomaly-roc"}
    assert "anomaly-spread" not in data(report)["figures"]


def test_the_highest_scores_come_first_with_the_nearest_normals(run: Path) -> None:
    report = write_report(run)
    page = report.read_text(encoding="utf-8")
    block = page[page.index('<div data-machine="0"') : page.index('<div data-machine="1"')]
    scores = [float(score) for score in re.findall(r"score ([\d.]+), p-value", block)]
    assert scores == sorted(scores, reverse=True)
    frame = pl.read_parquet(run / "detector" / "scores.parquet")
    test = frame.filter(pl.col("machine") == "fan/id_00", pl.col("split") == "test")
    assert scores[0] == pytest.approx(test["score"].max(), rel=1e-3)
    assert block.count("labelled anomaly") == (test["condition"] == "anomaly").sum()
    assert len(re.findall(r"cosine -?\d", block)) == 2 * len(scores)


def test_explanations_that_lie_in_the_run_are_shown(run: Path) -> None:
    frame = pl.read_parquet(run / "detector" / "scores.parquet").sort("score", descending=True)
    top = frame.filter(pl.col("machine") == "fan/id_00", pl.col("split") == "test").row(
        0, named=True
    )
    folder = run / "explanations" / "fan"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(PNG)
    write_json(folder / "a.json", {"machine": "fan/id_00", "path": top["path"], "start": 0.0})
    # Another stretch of the same recording is not this clip.
    write_json(folder / "b.json", {"machine": "fan/id_00", "path": top["path"], "start": 4.0})
    (folder / "b.png").write_bytes(PNG)
    write_json(folder / "other.json", ["not an explanation"])
    (folder / "other.png").write_bytes(PNG)
    assert write_report(run).read_text("utf-8").count('class="explained"') == 1


def test_repeats_show_the_spread(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(run / "metrics.json", other)
    metrics = json.loads((other / "metrics.json").read_text())
    metrics["anomaly"]["machines"]["fan/id_00"]["scores"]["auc"] = 0.8
    write_json(other / "metrics.json", metrics)
    report = write_report(run, repeats=[other])
    assert "0.850 ± 0.071" in words(report)
    assert "AUC over 2 runs" in words(report)
    with pytest.raises(UsageError, match="other seeds"):
        write_report(run, repeats=[tmp_path])


def test_missing_scores_are_named(run: Path) -> None:
    (run / "detector" / "scores.parquet").unlink()
    with pytest.raises(DataError, match="tonotopy calibrate"):
        write_report(run)


def test_histograms_share_out_all_clips(run: Path) -> None:
    frame = pl.read_parquet(run / "detector" / "scores.parquet")
    figure = histogram_figure(frame.filter(pl.col("machine") == "fan/id_00"), 0.5)
    assert figure is not None
    assert all(sum(trace["y"]) == pytest.approx(1.0) for trace in figure["data"])
    assert figure["layout"]["shapes"][0]["x0"] == 0.5
    assert histogram_figure(frame.head(0), 0.5) is None
    same = frame.with_columns(pl.lit(0.25).alias("score"))
    assert histogram_figure(same, None) is not None


def test_the_roc_curve_has_the_area_of_the_auc(run: Path) -> None:
    frame = pl.read_parquet(run / "detector" / "scores.parquet").with_columns(
        score=pl.Series(np.random.default_rng(1).uniform(size=30))
    )
    figure = roc_figure(frame)
    assert figure is not None
    curve = figure["data"][0]
    area = np.trapezoid(curve["y"], curve["x"])
    test = frame.filter(pl.col("split") == "test")
    parts = [
        torch.from_numpy(test.filter(pl.col("condition") == kind)["score"].to_numpy().copy())
        for kind in ("normal", "anomaly")
    ]
    assert area == pytest.approx(roc_auc(*parts))
    assert roc_figure(frame.filter(pl.col("condition") == "normal")) is None


def test_one_run_has_no_spread() -> None:
    assert spread_figure({"fan": [0.9]}) is None
    assert spread_figure({}) is None


def test_machines_are_switched_in_a_browser(run: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no program called chromium: the page cannot be opened")
    report = write_report(run)
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = chromium.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(report.as_uri())
        page.wait_for_selector("#anomaly-scores .bars")
        assert page.locator('[data-machine="0"]').is_visible()
        page.select_option("#machine", "1")
        assert page.locator('[data-machine="1"]').is_visible()
        assert not page.locator('[data-machine="0"]').is_visible()
        chromium.close()
    assert not faults
