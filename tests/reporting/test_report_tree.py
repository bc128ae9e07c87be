"""The taxonomy part of the report: shown where a run has scores of its tree, and only there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tonotopy._errors import DataError
from tonotopy.reporting import write_report

MakeRun = Callable[..., Path]
NASTY = "</script><script>alert('1')</script>\n\"<!-- <b>/%{x}"


def _words(report: Path) -> str:
    page = report.read_text(encoding="utf-8")
    body = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).replace("\u00a0", " ").split())


def _data(report: Path) -> dict[str, Any]:
    page = report.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert found
    return dict(json.loads(found[1]))


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    @property
    def images(self) -> list[tuple[str, dict[str, str | None]]]:
        return [found for found in self.found if found[0] == "img"]


def _rows(paths: list[tuple[str, ...]], clips: int = 1) -> list[dict[str, Any]]:
    return [
        {"path": list(path), "clips": clips, "recall": None, "precision": None, "mistakes": None}
        for path in paths
    ]


def test_shows_every_number_of_the_tree(make_tree_run: MakeRun) -> None:
    report = write_report(make_tree_run())
    words = _words(report)

    assert "1 (coarsest) 3 10 90.0 % 85.0 % 90.0 % (k = 5) 0.610 0.520 0.420" in words
    assert "2 (finest) 4 8 75.0 % 70.0 % 90.0 % (k = 5) 0.610 0.520 -0.125" in words
    for tile in (
        "accuracy, finest level 75.0 %",
        "mistakes 3 of 10",
        "mistake severity 1.333",
        "mean LCA height 0.400",
        "hierarchical F1 0.850 overlap of ancestors: precision 0.870, recall 0.830",
        "NDCG 0.931",
        "mean normalised rank 0.162 place of relatives, 0.5 is chance; 0.091 is the best",
        "triplet accuracy 91.2 %",
        "CPCC 0.740",
        "misplaced pairs 18.3 %",
        "silhouette 0.147",
        "hierarchical precision at 5 0.860",
    ):
        assert tile in words
    assert "Strings 4 clips recall 75.0 % precision 100.0 % taken for Bell (1)" in words
    assert "Cello 2 clips recall 50.0 % precision 50.0 % taken for Violin (1)" in words
    assert "Violin 2 clips recall 50.0 % precision 50.0 % taken for Wind/ Oboe (1)" in words
    assert "Oboe 0 clips recall – precision –" in words
    assert "1 of 7 classes have no clip in this split" in words
    data = _data(report)
    assert {"sunburst", "tree-silhouette", "tree-mistakes", "level-confusion"} <= set(
        data["figures"]
    )
    assert [len(level["data"][0]["x"]) for level in data["levels"]] == [3, 4]
    assert data["figures"]["level-confusion"] == data["levels"][0]


def test_shows_where_unseen_clips_landed_with_their_sound(make_tree_run: MakeRun) -> None:
    report = write_report(make_tree_run())
    words, page = _words(report), report.read_text(encoding="utf-8")

    row = "Strings/ Erhu Strings 6 Strings/ Violin (4) Wind/ Flute (2) 66.7 % 50.0 %"
    assert row in words
    assert "by leaf head 66.7 %" in words
    assert "level head" not in words
    assert "by nearest neighbours" not in words
    section = page[page.index('<section id="unseen"') : page.index('<section id="confusions"')]
    assert len(re.findall(r'data-clip="\d+"', section)) == 6
    assert section.count('class="landing good"') == section.count('class="landing bad"') == 1


def test_stays_away_from_runs_without_scores_of_a_tree(make_run: MakeRun) -> None:
    report = write_report(make_run())
    page = report.read_text(encoding="utf-8")

    assert not re.search(r'id="(levels|tree|level-confusions|unseen)"', page)
    assert ".taxon" not in page
    assert _data(report)["levels"] == []


def test_is_written_without_predictions(
    make_tree_run: MakeRun, tree_scores: dict[str, Any]
) -> None:
    for level in tree_scores["levels"]:
        level.update(accuracy=None, macro_f1=None)
    for node in tree_scores["nodes"]:
        node.update(recall=None, precision=None, mistakes=None)
    tree_scores |= dict.fromkeys(("hierarchical", "mistakes", "confusion", "unseen"))
    report = write_report(make_tree_run(classify=False))
    words = _words(report)

    assert "there are no mistakes to weigh" in words
    assert "Confusions by level" not in words
    assert "Unseen classes" not in words
    assert "Recall: share" not in words
    assert "colors" not in _data(report)["figures"]["sunburst"]["data"][0]["marker"]


@pytest.mark.parametrize("gone", [None, float("nan")])
def test_bears_every_number_missing(
    make_tree_run: MakeRun, tree_scores: dict[str, Any], gone: float | None
) -> None:
    def blank(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {"level", "path", "parent", "names", "counts", "landed", "mistakes"}
            return {k: v if k in kept else blank(v) for k, v in value.items()}
        if isinstance(value, list):
            return [blank(item) for item in value]
        return gone

    tree = {**blank(tree_scores), "mistakes": blank(tree_scores["mistakes"]), "pairs": "exact"}
    report = write_report(make_tree_run(tree=tree))

    assert "mistakes – of –" in _words(report)
    assert "tree-silhouette" not in _data(report)["figures"]


def test_an_empty_tree_is_told(make_tree_run: MakeRun, tree_scores: dict[str, Any]) -> None:
    tree_scores |= {"levels": [], "nodes": [], "confusion": None, "unseen": None}

    assert "The label tree has no node" in _words(write_report(make_tree_run()))


def test_labels_cannot_become_markup(make_tree_run: MakeRun, tree_scores: dict[str, Any]) -> None:
    tree_scores["nodes"] += _rows([(NASTY,), (NASTY, "<img src=x onerror=alert(2)>")])
    tree_scores["nodes"][-1]["mistakes"] = [["<img src=x>", 1]]
    tree_scores["confusion"][0]["names"][0] = NASTY
    unseen = tree_scores["unseen"]["lvp_by_class"][0]
    unseen |= {"path": [NASTY], "parent": [NASTY], "landed": [[NASTY, 1]]}
    page = write_report(make_tree_run()).read_text(encoding="utf-8")

    tags = _Tags()
    tags.feed(page)
    # Two blocks of data, plotly, and the three scripts of the page.
    assert [tag for tag, _ in tags.found].count("script") == 6
    assert all(str(values.get("src")).startswith("data:") for _, values in tags.images)


def test_scores_of_a_tree_that_are_damaged_are_named(make_tree_run: MakeRun) -> None:
    with pytest.raises(DataError, match=r"metrics\.json: `tree` holds no levels, nodes"):
        write_report(make_tree_run(tree={"ndcg": 1.0}))
