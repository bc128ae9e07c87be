"""The report as a file: complete, self-contained, safe, and written for every kind of run."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tonotopy._errors import DataError, UsageError
from tonotopy._files import write_json
from tonotopy.reporting import write_report

MakeRun = Callable[..., Path]
NASTY = "</script><script>alert('1')</script>\n\"<!--"


class Page(HTMLParser):
    """Collects what a browser would act on: elements, links, headings, text and inlined data."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif not (self.open and self.open[-1] == "style"):
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    @property
    def data(self) -> dict[str, Any]:
        return dict(json.loads(self.scripts[0]))

    @property
    def audio(self) -> dict[str, str]:
        return dict(json.loads(self.scripts[1]))


def test_shows_every_section_and_the_numbers_of_the_run(make_run: MakeRun) -> None:
    run = make_run()
    report = write_report(run)
    page = Page(report)

    assert report == run / "report.html"
    ids = {attributes.get("id") for _, attributes in page.elements}
    links = [link["href"] for link in page.all("a")]
    assert len(links) == 9
    assert {str(link)[1:] for link in links} <= ids
    for shown in ("87.5 %", "80.0 %", "90.0 %", "0.812", "0.042", "0.120", "0.970", "0.310"):
        assert shown in page.words
    assert "tonotopy fit sounds --out 'my run' --loss \"add\"" in page.words
    assert "name: <b>&" in page.words
    assert set(page.data["figures"]) >= {"confusion", "distance_mean", "distance_cv", "curve-0"}
    assert len(page.data["map"]["x"]) == 30
    assert [colouring["name"] for colouring in page.data["map"]["colourings"]] == [
        "Label, level 2 (finest)",
        "Label, level 1 (coarsest)",
        "Split",
        "Prediction",
    ]


def test_refers_to_nothing_outside_itself(make_run: MakeRun) -> None:
    page = Page(write_report(make_run()))

    targets = [
        str(value)
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in {"src", "href", "srcset", "poster", "action", "data", "xlink:href"}
    ]
    assert targets
    assert all(target.startswith(("#", "data:")) for target in targets)
    assert len([script for script in page.scripts if "Plotly" in script]) == 2


def test_labels_and_paths_cannot_become_markup(make_run: MakeRun) -> None:
    run = make_run(labels=[(NASTY, "a"), (NASTY, "<img src=x onerror=alert(2)>")])
    (run / "config.yaml").write_text(NASTY, encoding="utf-8")
    page = Page(write_report(run))

    assert len(page.all("script")) == 5
    assert all(image.get("src", "x") != "x" for image in page.all("img"))
    assert page.data["map"]["colourings"][1]["groups"] == [NASTY]
    ticks = page.data["figures"]["confusion"]["layout"]["xaxis"]["ticktext"]
    assert ticks[1] == "&lt;img src=x onerror=al…"


def test_embeds_playable_audio_within_the_budget(make_run: MakeRun) -> None:
    run = make_run()
    everything = Page(write_report(run)).audio
    assert len(everything) == 30

    limit = sum(map(len, everything.values())) // 2
    half = Page(write_report(run, max_audio_mb=limit / 1e6))
    assert 0 < sum(map(len, half.audio.values())) <= limit
    assert set(half.data["problems"].values()) == {"left out to keep the page small"}

    silent = Page(write_report(run, max_audio_mb=0))
    assert silent.audio == {}
    assert "no sound: left out to keep the page small" in silent.words


def test_says_beside_the_clip_that_its_audio_is_gone(make_run: MakeRun) -> None:
    page = Page(write_report(make_run(audio=False)))

    assert page.audio == {}
    assert "no sound: file not found" in page.words


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"labels": [("one",)]}, "Worst mistakes"),
        ({"classify": False}, "so there is no confusion matrix"),
        ({"clips_per_class": 1}, "Nearest neighbours"),
        ({"labels": [("a",), ("b",)], "clips_per_class": 1}, "A map needs at least four clips"),
        ({"labels": [("a",)], "clips_per_class": 1}, "A map needs at least four clips"),
        ({"labels": [()], "clips_per_class": 5}, "unlabelled"),
        ({"spread": 0.0, "labels": [("a",)]}, "its embeddings have collapsed"),
        ({"dim": 1}, "A map needs"),
        ({"log": False}, "has no training log"),
    ],
)
def test_is_written_for_degenerate_runs(
    make_run: MakeRun, settings: dict[str, Any], says: str
) -> None:
    assert says in Page(write_report(make_run(**settings))).words


def test_is_written_for_a_run_without_any_class(make_run: MakeRun) -> None:
    run = make_run(labels=[()], classify=False)
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    metrics |= {"classes": [], "matrices": {key: [] for key in metrics["matrices"]}}
    metrics |= {"classification": None, "knn": None, "retrieval": None, "split": None}
    write_json(run / "metrics.json", metrics)

    page = Page(write_report(run))

    assert set(page.data["figures"]) == {f"curve-{number}" for number in range(5)}
    assert [colouring["name"] for colouring in page.data["map"]["colourings"]] == ["Split"]


def test_counts_embeddings_that_are_not_finite(make_run: MakeRun) -> None:
    run = make_run()
    path = run / "embeddings.parquet"
    vectors = pl.read_parquet(path)["embedding"].to_numpy().copy()
    vectors[3, 0] = float("nan")
    pl.read_parquet(path).with_columns(
        embedding=pl.Series(vectors, dtype=pl.Array(pl.Float32, vectors.shape[1]))
    ).write_parquet(path)

    page = Page(write_report(run))

    assert "1 clips have an embedding that is not finite" in page.words
    assert len(page.data["map"]["x"]) == 29


def test_draws_at_most_300_classes_and_says_so(make_run: MakeRun) -> None:
    run = make_run(labels=[(f"class {index:03d}",) for index in range(310)], clips_per_class=1)
    page = Page(write_report(run, max_audio_mb=0))

    assert len(page.data["figures"]["confusion"]["data"][0]["z"]) == 300
    assert "10 smaller classes are left out" in page.words


def test_writes_where_it_is_told(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    target = tmp_path / "deep" / "page.html"

    assert write_report(run, out=target) == target
    assert target.stat().st_size > 4e6
    assert not (run / "report.html").exists()


def test_names_the_missing_or_damaged_file(make_run: MakeRun) -> None:
    run = make_run()
    embeddings = (run / "embeddings.parquet").read_bytes()
    (run / "embeddings.parquet").unlink()
    with pytest.raises(UsageError, match=r"embeddings\.parquet is missing"):
        write_report(run)

    (run / "embeddings.parquet").write_bytes(b"not parquet")
    with pytest.raises(DataError, match=r"embeddings\.parquet cannot be read"):
        write_report(run)

    (run / "embeddings.parquet").write_bytes(embeddings)
    write_json(run / "metrics.json", {"classes": []})
    with pytest.raises(DataError, match="holds no structure, matrices"):
        write_report(run)

    (run / "metrics.json").write_text("{")
    with pytest.raises(DataError, match=r"metrics\.json is not JSON"):
        write_report(run)


@pytest.mark.parametrize("budget", [-1.0, float("nan"), float("inf")])
def test_rejects_a_senseless_budget(make_run: MakeRun, budget: float) -> None:
    with pytest.raises(UsageError, match="max_audio_mb"):
        write_report(make_run(), max_audio_mb=budget)
