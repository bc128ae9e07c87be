"""The report of runs with an analysis of their features, and of runs without any label."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.reporting.test_report import Page

from tonotopy._files import write_json
from tonotopy.reporting import write_report
from tonotopy.reporting._features_part import trajectory_figure

MakeRun = Callable[..., Path]


def headings(page: Page) -> set[str]:
    return {str(attributes.get("id")) for tag, attributes in page.elements if tag == "section"}


def test_shows_every_number_with_its_meaning(make_feature_run: MakeRun) -> None:
    page = Page(write_report(make_feature_run()))
    for shown in ("-2.125", "0.625", "0.119", "0.331", "7.5", "0.875"):
        assert shown in page.words
    for word in ("Lower is good as long as", "Dimensions in use", "a few clips answer every"):
        assert word in page.words
    assert "features" in headings(page)
    assert "#features" in [link["href"] for link in page.all("a")]
    titles = [page.data["figures"][f"features-{number}"]["title"] for number in range(5)]
    assert titles == ["Uniformity", "Tolerance", "Alignment", "Effective rank", "Hubness"]
    names = [trace["name"] for trace in page.data["figures"]["features-1"]["data"]]
    assert names == ["tolerance", "tolerance, literal"]


def test_projections_and_angles_have_their_curves(make_feature_run: MakeRun) -> None:
    figures = Page(write_report(make_feature_run())).data["figures"]
    drawn = {
        figure["title"]: [trace["name"] for trace in figure["data"]]
        for figure in figures.values()
        if "title" in figure
    }
    assert drawn["Uniformity"] == ["uniformity", "acl, projected"]
    assert drawn["Alignment"] == ["alignment"]
    assert drawn["Angles in radians"] == ["train/acl/positive_angle", "train/acl/negative_angle"]
    assert drawn["Share within the margin"] == ["train/acl/active"]
    assert drawn["Loss and its terms"] == ["train/loss", "val/loss"]


def test_the_path_over_the_epochs_is_coloured_by_accuracy(make_feature_run: MakeRun) -> None:
    page = Page(write_report(make_feature_run()))
    trace = page.data["figures"]["features-trajectory"]["data"][0]
    assert len(trace["x"]) == 12
    assert (trace["x"][0], trace["y"][0]) == (-0.2, pytest.approx(0.85))
    assert trace["marker"]["color"][0] == pytest.approx(0.35)
    assert (trace["text"][0], trace["text"][1], trace["text"][-1]) == ("first", "", "last")
    assert trace["customdata"][0] == [0.0, "35.0\u00a0%"]


def test_the_path_leaves_out_what_was_not_measured() -> None:
    figure = trajectory_figure([None, -1.0, -2.0, -3.0], [0.9, 0.8, None, 0.7], [], [1, 2, 3, 4])
    assert figure is not None
    trace = figure["data"][0]
    assert (trace["x"], trace["y"]) == ([-1.0, -3.0], [0.8, 0.7])
    assert trace["marker"]["color"] == [2, 4]
    assert trajectory_figure([None, -1.0], [0.9, 0.8], [], [1, 2]) is None
    assert trajectory_figure([], [], [], []) is None


def test_correlations_with_accuracy_are_of_ranks(make_feature_run: MakeRun) -> None:
    words = Page(write_report(make_feature_run())).words
    # kNN accuracy rises all the way: uniformity and alignment fall, effective rank rises.
    for row in ("uniformity -1.00 12", "alignment -1.00 12", "effective rank +1.00 12"):
        assert row in words
    assert "no evidence that one number causes the other" in words


def test_few_epochs_are_not_correlated(make_feature_run: MakeRun) -> None:
    words = Page(write_report(make_feature_run(epochs=4))).words
    assert "Rank correlation" not in words


def test_without_a_log_only_the_numbers_are_shown(make_feature_run: MakeRun) -> None:
    page = Page(write_report(make_feature_run(log=False)))
    assert "features" in headings(page)
    assert not [place for place in page.data["figures"] if place.startswith("features")]
    assert "By epoch" not in page.words


def test_numbers_that_could_not_be_measured_are_dashes(make_feature_run: MakeRun) -> None:
    features = {"uniformity": None, "hubness": None, "effective_rank": None, "sampled_clips": 20000}
    page = Page(write_report(make_feature_run(features=features)))
    assert "uniformity –" in page.words
    assert "Measured on 20000 clips" in page.words
    assert "collapsed: they" not in page.words


def test_collapse_is_named(make_feature_run: MakeRun) -> None:
    features = {"uniformity": -0.01, "effective_rank": 1.1, "hubness": 0.0}
    assert "have collapsed: they" in Page(write_report(make_feature_run(features=features))).words


def test_a_run_without_labels_shows_what_needs_none(make_feature_run: MakeRun) -> None:
    page = Page(write_report(make_feature_run(labelled=False)))
    shown = {"summary", "curves", "features", "map", "neighbours", "making"}
    assert headings(page) == shown
    assert {str(link["href"])[1:] for link in page.all("a")} == shown
    charts = {str(a["id"]) for a in page.all("div") if "chart" in str(a.get("class"))}
    assert charts == {*page.data["figures"], "plane"}
    assert "features-trajectory" not in charts
    assert [colouring["name"] for colouring in page.data["map"]["colourings"]] == ["Split"]
    assert len(page.data["map"]["x"]) == 30
    assert "unlabelled" not in page.words
    assert "0 best" not in page.words
    assert "tonotopy probe" in page.words
    assert "cosine 0." in page.words
    assert len(page.audio) == 30
    assert not [name for name in ("nan", "None", "inf") if f" {name} " in page.words]


@pytest.mark.parametrize("settings", [{"labels": [("a",)], "clips_per_class": 1}, {"spread": 0.0}])
def test_degenerate_runs_without_labels(
    make_feature_run: MakeRun, settings: dict[str, int]
) -> None:
    page = Page(write_report(make_feature_run(labelled=False, **settings)))
    assert "features" in headings(page)


def test_an_older_run_without_analysis_has_no_such_part(make_run: MakeRun) -> None:
    run = make_run()
    page = Page(write_report(run))
    assert "features" not in headings(page)
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    write_json(run / "metrics.json", metrics | {"features": {}})
    assert "features" not in headings(Page(write_report(run)))


def test_history_columns_of_unequal_length_are_borne(make_feature_run: MakeRun) -> None:
    run = make_feature_run()
    log = run / "logs" / "metrics.csv"
    lines = log.read_text(encoding="utf-8").splitlines()
    broken = [*lines[:4], ",".join(["4"] + [""] * (len(lines[0].split(",")) - 1)), *lines[5:]]
    log.write_text("\n".join(broken) + "\n", encoding="utf-8")
    trace = Page(write_report(run)).data["figures"]["features-trajectory"]["data"][0]
    assert len(trace["x"]) == 11
    assert np.isfinite(trace["x"]).all()
