"""The parts of the taxonomy: nesting, rows, texts and figures of the label tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tonotopy.reporting._charts import tick_texts
from tonotopy.reporting._run import Clip
from tonotopy.reporting._tree_charts import (
    level_confusions,
    mistake_figure,
    mistake_heights,
    severity_figure,
    silhouette_figure,
    sunburst_figure,
)
from tonotopy.reporting._tree_sections import (
    MAX_OPEN_ROWS,
    Node,
    basis,
    build_nodes,
    level_rows,
    shared_names,
    walk,
)
from tonotopy.reporting._tree_unseen import measured_ways, unseen_rows


def _rows(paths: list[tuple[str, ...]], clips: int = 1) -> list[dict[str, Any]]:
    return [
        {"path": list(path), "clips": clips, "recall": None, "precision": None, "mistakes": None}
        for path in paths
    ]


def _clip(label: tuple[str, ...], predicted: str | None) -> Clip:
    return Clip(Path("a.wav"), 0.0, "a.wav", label, "test", predicted, 0.5)


def test_opens_the_levels_that_fit_on_a_screen() -> None:
    def opened(*sizes: int) -> list[bool]:
        paths = [
            (f"{a}", f"{b}", f"{c}")[:depth]
            for a in range(sizes[0])
            for b in range(sizes[1])
            for c in range(sizes[2])
            for depth in (1, 2, 3)
        ]
        nodes = list(walk(build_nodes(_rows(sorted(set(paths))))))
        return [any(n.open for n in nodes if len(n.path) == depth) for depth in (1, 2, 3)]

    assert opened(3, 3, 2) == [True, True, False]
    assert opened(5, 5, 8) == [True, False, False]
    assert opened(MAX_OPEN_ROWS, 2, 1) == [False, False, False]


def test_nodes_nest_and_keep_their_order() -> None:
    paths = [("a",), ("a", "x"), ("a", "x", "1"), ("a", "y"), ("b",)]
    roots = build_nodes(_rows(paths))

    assert [node.path for node in walk(roots)] == paths
    assert [node.name for node in roots[0].children] == ["x", "y"]


def test_level_rows_name_a_single_level_plainly() -> None:
    row = level_rows([{"level": 1, "classes": 2, "clips": 3, "accuracy": 0.0, "knn": None}])
    assert row == [("1", "2", "3", "0.0\u00a0%", "–", "–", "–", "–", "–")]


def test_sunburst_closes_its_rings_and_survives_repeated_names() -> None:
    roots = [
        Node(("a",), 5, 0.5, None, (), children=[Node(("a", "a"), 3, 0.25, 1.0, ())]),
        # Fewer clips than its children: the arc grows with them instead of tearing the picture.
        Node(("<b>",), 1, None, None, (), children=[Node(("<b>", "c"), 4, 1.0, 1.0, ())]),
    ]
    figure = sunburst_figure(roots)
    assert figure
    (trace,) = figure["data"]

    assert trace["ids"] == ["0", "1", "2", "3"]
    assert trace["parents"] == ["", "0", "", "2"]
    assert trace["labels"] == ["a", "a", "&lt;b&gt;", "c"]
    assert trace["values"] == [2, 3, 0, 4]
    assert trace["marker"]["colors"] == [0.5, 0.25, None, 1.0]

    empty = sunburst_figure(
        [Node(("a",), 0, None, None, (), children=[Node(("a", "b"), 0, None, None, ())])]
    )
    assert empty
    assert empty["data"][0]["values"] == [0, 1]
    assert sunburst_figure([]) is None


def test_heights_of_mistakes_follow_the_tree() -> None:
    paths = [("s",), ("s", "v"), ("s", "v", "1"), ("s", "v", "2"), ("s", "c"), ("s", "c", "1")]
    roots = build_nodes(_rows([*paths, ("w",), ("w", "o/b")]))
    clips = [
        _clip(("s", "v", "1"), "s/v/1"),  # right
        _clip(("s", "v"), "s/v/2"),  # right as far as the label is known
        _clip(("s", "v", "1"), "s/v/2"),  # 1: a sister
        _clip(("s", "v", "1"), "s/c/1"),  # 2: same family
        _clip(("s", "v", "1"), "w/o\\/b"),  # 3: nothing shared but the root
        _clip(("w", "o/b"), "s/v/1"),  # 3
        _clip(("new",), "s/v/1"),  # not in the tree
        _clip(("s", "v", "1"), None),
    ]

    assert mistake_heights(clips, roots) == {1: 1, 2: 1, 3: 2}


def test_mistake_figure_shows_heights_without_mistakes_too() -> None:
    figure = mistake_figure({3: 3, 1: 1}, 3)
    assert figure
    assert figure["data"][0]["x"] == ["1<br>nearest", "2", "3<br>farthest"]
    assert figure["data"][0]["y"] == [1, 0, 3]
    assert figure["data"][0]["text"] == ["1 (25%)", "0 (0%)", "3 (75%)"]
    assert mistake_figure({}, 3) is None


def test_silhouettes_below_zero_have_room() -> None:
    figure = silhouette_figure([{"level": 1, "silhouette": 0.4}, {"level": 2, "silhouette": -0.9}])
    assert figure
    assert figure["data"][0]["y"] == [0.4, -0.9]
    assert figure["layout"]["yaxis"]["range"][0] < -0.9
    assert silhouette_figure([{"level": 1, "silhouette": None}]) is None


def test_severity_is_drawn_against_accuracy() -> None:
    figure = severity_figure([("<a>", 0.8, 1.5), ("c", 0.9, 1.25)])
    assert figure
    (trace,) = figure["data"]
    assert (trace["text"], trace["x"], trace["y"]) == (["&lt;a&gt;", "c"], [0.8, 0.9], [1.5, 1.25])
    assert severity_figure([]) is None


def test_confusions_of_a_level_are_shares_of_the_true_class() -> None:
    rows = [{"level": 2, "names": ["a/x", "a/y"], "counts": [[1, 3], [None, 0]]}]
    ((level),) = level_confusions(rows)

    assert level["level"] == 2
    assert level["figure"]["data"][0]["z"] == [[0.25, 0.75], [None, None]]
    assert level["figure"]["data"][0]["customdata"] == [[1, 3], [0, 0]]


@pytest.mark.parametrize(
    ("path", "shown", "count"),
    [
        (("a", "b"), "a/b", 2),
        (("a", "b"), "a/b/c", 2),
        (("a", "b"), "a/bc", 1),
        (("a/b",), "a/b", 0),
        (("a/b",), "a\\/b/c", 1),
        ((), "a", 0),
    ],
)
def test_shared_names_are_whole_names(path: tuple[str, ...], shown: str, count: int) -> None:
    assert shared_names(path, shown) == count


def test_an_unseen_class_without_relatives_is_not_judged() -> None:
    row = {"path": ["x"], "parent": [], "clips": 2, "landed": [["a", 2]], "accuracy": None}
    unseen = {"lvp": {"leaf_head": 0.5}, "lvp_by_class": [row]}
    (shown,) = unseen_rows(unseen, measured_ways(unseen))

    assert shown.parent == "none"
    assert [(place.text, place.tone) for place in shown.landed] == [("a\u00a0(2)", "plain")]
    assert shown.accuracy == ("–",)


def test_says_what_the_numbers_rest_on() -> None:
    assert "from all pairs" in basis({"queries": 7, "pairs": "exact"})
    sampled = basis({"queries": 7, "pairs": {"sampled_clips": 4000}})
    assert sampled.startswith("Ranked for 7 queries")
    assert "the pairs of 4000 clips drawn at random" in sampled


def test_ticks_keep_the_end_that_tells_classes_apart() -> None:
    names = ["Strings/Violin/long tones", "Strings/Cello/long tones", "Wind/Flute/short"]
    assert tick_texts(names) == ["Violin/long tones", "Cello/long tones", "short"]
    assert tick_texts(["a" * 30 + "/x", "b" * 30 + "/x"]) == ["…" + c * 19 + "/x" for c in "ab"]
