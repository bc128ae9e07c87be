"""The experiment on the synthetic plant: it counts right, is resumable and says it is synthetic."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom

from tonotopy._errors import UsageError
from tonotopy.cli import main
from tonotopy.protocols import plant_experiment
from tonotopy.protocols._plant_markdown import plant_markdown
from tonotopy.protocols._plant_scores import with_use
from tonotopy.protocols._plant_tables import clopper_pearson, plant_tables
from tonotopy.protocols.plant_experiment import (
    PlantDesign,
    plant_recipe,
    run_plant_experiment,
)
from tonotopy.training import FitConfig, OptimiserOptions

TINY = PlantDesign(
    sections=1, train_source=6, train_target=2, test_normals=4, test_anomalies=2, seconds=0.5
)


@pytest.mark.parametrize(("count", "total"), [(0, 10), (3, 40), (5, 10), (40, 40), (1, 864)])
def test_the_ends_of_the_interval_leave_2_5_percent_outside(count: int, total: int) -> None:
    low, high = clopper_pearson(count, total)
    assert 0.0 <= low <= count / total <= high <= 1.0
    if count > 0:
        assert binom.sf(count - 1, total, low) == pytest.approx(0.025)
    if count < total:
        assert binom.cdf(count, total, high) == pytest.approx(0.025)


def test_without_trials_everything_is_possible() -> None:
    assert clopper_pearson(0, 0) == (0.0, 1.0)


def test_half_of_the_fresh_normal_clips_calibrate_whatever_their_setting() -> None:
    rows = [
        (f"p/test/section_00_{domain}_{split}_normal_{n:04d}.wav", "p/00", domain, split, "normal")
        for domain in ("source", "target")
        for split, count in (("train", 10), ("test", 72))
        for n in range(count)
    ]
    rows.append(
        ("p/test/section_00_source_test_anomaly_0000.wav", *rows[0][1:3], "test", "anomaly")
    )
    table = pl.DataFrame(
        rows, schema=["path", "machine", "domain", "split", "condition"], orient="row"
    )
    used = with_use(table.sample(fraction=1.0, shuffle=True, seed=1))
    assert set(used.filter(pl.col("condition") == "anomaly")["use"]) == {"measure"}
    assert set(used.filter(pl.col("split") == "train")["use"]) == {"measure"}
    for domain in ("source", "target"):
        chosen = used.filter(pl.col("domain") == domain, pl.col("use") == "calibrate")
        numbers = sorted(int(path[-8:-4]) for path in chosen["path"])
        assert len(numbers) == 36
        # 6 settings and 3 ratios repeat every 18 clips
        assert np.bincount([number % 18 for number in numbers]).tolist() == [2] * 18


def scores_by_hand() -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    """Two machines, one seed: normals score 0 .. 9, anomalies of severity s score 10 s."""
    rows: list[tuple[str | float, ...]] = []
    for machine in ("fan/00", "pump/00"):
        for domain in ("source", "target"):
            for score in range(10):
                rows.append((machine, domain, "normal", "", 0.0, score, "measure"))
                rows.append((machine, domain, "normal", "", 0.0, 100, "calibrate"))
            rows += [(machine, domain, "anomaly", "belt", s, 10 * s, "measure") for s in (0.35, 1)]
    columns = ["machine", "domain", "condition", "fault", "severity", "score", "use"]
    frame = pl.DataFrame(rows, schema=columns, orient="row", strict=False).with_columns(
        pl.col("score", "severity").cast(pl.Float64),
        snr_db=pl.lit(6.0),
        method=pl.lit("attributes"),
        seed=pl.lit(0),
    )
    values = {
        ("fan/00", "all"): 7.5,
        ("fan/00", "target"): 3.5,
        ("pump/00", "all"): None,  # as JSON has infinity
    }
    thresholds = [
        {
            "method": "attributes",
            "seed": 0,
            "machine": machine,
            "domain": domain,
            "calibration": calibration,
            "rate": 0.1,
            "clips": 20,
            "value": value,
        }
        for calibration in ("leave-one-out", "held-out")
        for (machine, domain), value in values.items()
    ]
    return frame, thresholds


def test_alarms_are_counted_for_each_threshold_domain_and_machine() -> None:
    tables = plant_tables(*scores_by_hand(), [0.1])
    counts = {
        (row["scope"], row["domain"], row["machine"]): (row["alarms"], row["clips"], row["silent"])
        for row in tables["false_alarms"]
        if row["calibration"] == "held-out"
    }
    assert counts == {
        ("all", "all", "all"): (4, 40, 20),
        ("all", "source", "all"): (2, 20, 10),
        ("all", "target", "all"): (2, 20, 10),
        ("all", "all", "seed 0, fan/00"): (4, 20, 0),
        ("all", "all", "seed 0, pump/00"): (0, 20, 20),
        ("own domain", "all", "all"): (8, 40, 20),
        ("own domain", "source", "all"): (2, 20, 10),
        ("own domain", "target", "all"): (6, 20, 10),
        ("own domain", "all", "seed 0, fan/00"): (8, 20, 0),
        ("own domain", "all", "seed 0, pump/00"): (0, 20, 20),
    }
    for row in tables["false_alarms"]:
        assert (row["low"], row["high"]) == clopper_pearson(row["alarms"], row["clips"])


def test_detection_and_auc_go_by_severity() -> None:
    tables = plant_tables(*scores_by_hand(), [0.1])
    detected = {
        (row["scope"], row["domain"], row["fault"], row["severity"]): (
            row["detected"],
            row["clips"],
        )
        for row in tables["detection"]
    }
    expected = {}
    for domain in ("source", "target"):
        for fault in ("any", "belt"):
            # of the two machines, that without a threshold detects nothing
            expected["all", domain, fault, 0.35] = (0, 2)
            expected["all", domain, fault, 1.0] = (1, 2)
            # the calibrating clips, which score 100, count for the threshold of a site
            expected["site", domain, fault, 0.35] = (0, 2)
            expected["site", domain, fault, 1.0] = (0, 2)
    assert detected == expected


def test_a_site_is_judged_by_its_own_normal_clips() -> None:
    scores, thresholds = scores_by_hand()
    quiet = scores.filter(pl.col("use") == "measure")
    for rate, shares in ((0.1, {0.35: 0, 1.0: 2}), (0.01, None)):
        known = [{**threshold, "rate": rate} for threshold in thresholds]
        tables = plant_tables(quiet, known, [rate])
        site = {
            row["severity"]: row["detected"]
            for row in tables["detection"]
            if (row["scope"], row["domain"], row["fault"]) == ("site", "target", "belt")
        }
        assert site == (shares or {})  # ten clips cannot show a rate of 1 %


def test_auc_goes_by_severity() -> None:
    tables = plant_tables(*scores_by_hand(), [0.1])
    auc = {row["severity"]: row["mean"] for row in tables["auc"] if row["domain"] == "source"}
    assert auc == {"all": 0.7, 0.35: 0.4, 1.0: 1.0}
    assert all(math.isnan(row["sd"]) for row in tables["auc"])


def test_the_page_says_what_was_promised_and_what_was_kept() -> None:
    tables = plant_tables(*scores_by_hand(), [0.1])
    trials = [{"method": "attributes", "seed": 0}]
    text = plant_markdown({"rates": [0.1], "trials": trials, **tables})
    assert "All sounds are simulated" in text
    assert (
        "| attributes | held-out | all | 10% | all | 4 / 40 | 10.0% [2.8%, 23.7%] | 2 of 2 |"
        in text
    )
    assert "AUC of at least 0.9 at +6 dB, source, severity 1.0: yes, 1.000" in text
    assert "AUC of at least 0.9 at +6 dB, source, severity all: no, 0.700" in text
    assert "| attributes | source | belt | +6 dB | 0.00 (2) | 0.00 (2) |" in text
    assert "| attributes | source | any | +6 dB | 0.00 (2) | 0.50 (2) |" in text


@pytest.fixture(scope="module")
def base() -> FitConfig:
    short = OptimiserOptions(epochs=1, learning_rate=1e-3, warmup_epochs=0.0)
    return replace(plant_recipe(threads=1), optimiser=short)


@pytest.fixture(scope="module")
def finished(
    base: FitConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("plant")
    cached = replace(base, cache=tmp_path_factory.mktemp("cache"))
    return out, run_plant_experiment(cached, out, design=TINY, seeds=[0])


def test_every_method_is_trained_and_counted(finished: tuple[Path, dict[str, Any]]) -> None:
    out, result = finished
    assert json.loads((out / "results.json").read_text())["synthetic"] is True
    methods = ("attributes", "machines", "one class")
    assert {row["method"] for row in result["auc"]} == set(methods)
    pooled = [r for r in result["false_alarms"] if (r["machine"], r["domain"]) == ("all", "all")]
    assert len(pooled) == len(methods) * 2 * 2 * 2
    assert {row["clips"] for row in pooled} == {4 * 2 * 2}  # half of the fresh ones calibrate
    # 8 training clips cannot show a rate of 1 %: such a threshold never alarms, and says so
    one_percent = [row for row in pooled if row["rate"] == 0.01]
    assert {(row["alarms"], row["silent"]) for row in one_percent} == {(0, 16)}
    faulty = [r for r in result["detection"] if r["method"] == "attributes" and r["rate"] == 0.05]
    single = [row for row in faulty if row["scope"] == "all" and row["fault"] != "any"]
    assert sum(row["clips"] for row in single) == 16 * 4 * 3 * 2


def test_classes_come_from_the_metadata(finished: tuple[Path, dict[str, Any]]) -> None:
    out, _ = finished
    labels = {
        method: pl.read_parquet(out / method / "seed0" / "clips.parquet").filter(
            pl.col("split") == "train"
        )["label"]
        for method in ("attributes", "machines", "one-class")
    }
    counts = {method: found.list.join("/").n_unique() for method, found in labels.items()}
    # 6 settings in the source domain and the 2 that there are in the target domain
    assert counts == {"attributes": 4 * (6 + 2), "machines": 4, "one-class": 1}


def test_the_figure_needs_no_network(finished: tuple[Path, dict[str, Any]]) -> None:
    page = (finished[0] / "figure.html").read_text(encoding="utf-8")
    assert "Synthetic plant" in page
    assert "cdn.plot.ly/plotly" not in page.split("<script", 1)[0]
    assert '<script src="http' not in page
    assert "promised false-alarm rate 5%" in page


def test_finished_trials_are_not_repeated(
    base: FitConfig, finished: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(plant_experiment, "fit", refuse)
    monkeypatch.setattr(plant_experiment, "resume", refuse)
    out, result = finished
    again = run_plant_experiment(base, out, design=TINY, seeds=[0])
    assert json.dumps(again) == json.dumps(result)


def test_another_design_needs_another_folder(
    base: FitConfig, finished: tuple[Path, dict[str, Any]]
) -> None:
    with pytest.raises(UsageError, match="design differ"):
        run_plant_experiment(base, finished[0], design=replace(TINY, sections=2))


def test_an_unknown_method_is_refused(base: FitConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no method 'ours'"):
        run_plant_experiment(base, tmp_path, methods=["ours"])


def test_the_command_says_that_it_is_synthetic(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["reproduce", "plant", "--help"])
    assert "synthetic" in capsys.readouterr().out
