"""The report in a real browser: no errors, no requests, fits the screen, and plays."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.reporting.sweep_result import sweep_result

from tonotopy.reporting import write_report
from tonotopy.reporting.sweep_page import write_sweep_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

MakeRun = Callable[..., Path]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CLICK_FIRST_POINT = """() => {
    const plane = document.getElementById("plane");
    const box = plane.getBoundingClientRect();
    const { xaxis, yaxis } = plane._fullLayout;
    const [x, y] = [plane.data[0].x[0], plane.data[0].y[0]];
    return [box.left + xaxis._offset + xaxis.d2p(x), box.top + yaxis._offset + yaxis.d2p(y)];
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no program called chromium: the page cannot be opened")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=FLAGS)
        yield chromium
        chromium.close()


def _open(
    browser: Browser, report: Path, width: int, scheme: str = "light"
) -> tuple[Page, list[str]]:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]  # a Literal in playwright
    faults: list[str] = []
    page.on(
        "console", lambda message: faults.append(message.text) if message.type == "error" else None
    )
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("requestfailed", lambda request: faults.append(f"failed: {request.url[:200]}"))
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith(("file:", "data:", "blob:"))
            else faults.append(f"asked for {request.url}")
        ),
    )
    page.goto(report.as_uri())
    _wait_until(page, "document.querySelectorAll('.main-svg').length > 0")
    page.wait_for_timeout(300)
    return page, faults


def _wait_until(page: Page, expression: str) -> None:
    # Not `wait_for_function`: it evaluates text inside the page, which the page's policy forbids.
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never became true: {expression}")


def _screenshot(page: Page, name: str) -> None:
    folder = os.environ.get("TONOTOPY_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"report_{name}.png", full_page=True)


@pytest.mark.parametrize(
    "settings",
    [
        {"labels": [("only",)], "clips_per_class": 2, "log": False},
        {"classify": False, "audio": False},
        {"labels": [(f"class {index:03d}",) for index in range(70)], "clips_per_class": 2},
    ],
)
def test_degenerate_runs_open_without_faults(
    browser: Browser, make_run: MakeRun, settings: dict[str, Any]
) -> None:
    page, faults = _open(browser, write_report(make_run(**settings)), 400)

    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert faults == []
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_opens_without_faults_and_fits(
    browser: Browser, make_run: MakeRun, width: int, scheme: str
) -> None:
    page, faults = _open(browser, write_report(make_run()), width, scheme)

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    drawn = page.evaluate(
        "[...document.querySelectorAll('.chart')].every(c => c.querySelector('svg'))"
    )
    assert drawn
    _screenshot(page, f"{width}_{scheme}")
    assert faults == []
    page.close()


def test_a_click_on_the_map_plays_the_clip(browser: Browser, make_run: MakeRun) -> None:
    page, faults = _open(browser, write_report(make_run()), 1280)
    page.locator("#plane").scroll_into_view_if_needed()
    x, y = page.evaluate(CLICK_FIRST_POINT)
    page.mouse.move(x, y)
    page.mouse.click(x, y)

    _wait_until(page, "document.getElementById('sound').currentTime > 0.05")
    name = page.evaluate("data.map.name[0]")
    assert page.locator("#playing").inner_text() == name
    assert page.evaluate("document.getElementById('sound').duration") == pytest.approx(
        0.3, abs=0.05
    )
    assert faults == []
    page.close()


def test_buttons_play_and_gaps_are_explained(browser: Browser, make_run: MakeRun) -> None:
    run = make_run()
    page, faults = _open(browser, write_report(run), 400)
    button = page.locator("#mistakes button[data-clip]").first
    button.focus()
    page.keyboard.press("Enter")
    _wait_until(page, "document.getElementById('sound').currentTime > 0.05")
    page.close()

    page, more_faults = _open(browser, write_report(run, max_audio_mb=0), 400)
    page.locator("#find").fill("clip 003.wav")
    page.keyboard.press("Enter")
    toast = page.locator("#toast").inner_text()
    assert toast == "No sound here for clip 003.wav: left out to keep the page small"
    assert faults + more_faults == []
    page.close()


def test_labels_are_shown_as_they_are_written(browser: Browser, make_run: MakeRun) -> None:
    wild = "<b>%{x} & <script>alert(1)"
    run = make_run(labels=[(wild,), ("B" * 80,), ("line\nbreak \"'",)])
    page, faults = _open(browser, write_report(run), 400)

    ticks = page.locator("#confusion .ytick text").all_text_contents()
    assert ticks == ["<b>%{x} & <script>ale…", "B" * 21 + "…", "line break \"'"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.locator("#legend button").all_inner_texts()[0] == wild
    assert faults == []
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_label_tree_opens_without_faults_and_fits(
    browser: Browser, make_tree_run: MakeRun, width: int, scheme: str
) -> None:
    page, faults = _open(browser, write_report(make_tree_run()), width, scheme)
    page.locator("[data-unfold=true]").click()

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(
        "[...document.querySelectorAll('.chart')].every(c => c.querySelector('svg'))"
    )
    arcs = page.locator("#sunburst text.slicetext").all_text_contents()
    assert sorted(arcs) == ["Bell", "Cello", "Flute", "Strings", "Violin", "Wind"]
    _screenshot(page, f"tree_{width}_{scheme}")
    assert faults == []
    page.close()


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_feature_analysis_opens_without_faults_and_fits(
    browser: Browser, make_feature_run: MakeRun, width: int, scheme: str, labelled: bool
) -> None:
    page, faults = _open(browser, write_report(make_feature_run(labelled=labelled)), width, scheme)

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(
        "[...document.querySelectorAll('.chart')].every(c => c.querySelector('svg'))"
    )
    path = page.locator("#features-trajectory .points path")
    assert path.count() == (12 if labelled else 0)
    colours = {path.nth(at).evaluate("p => p.style.fill") for at in range(path.count())}
    assert len(colours) > 8 or not labelled
    _screenshot(page, f"features_{width}_{scheme}_{'labelled' if labelled else 'label_free'}")
    assert faults == []
    page.close()


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_a_sweep_opens_without_faults_and_fits(
    browser: Browser, tmp_path: Path, width: int, scheme: str, labelled: bool
) -> None:
    alphas = [number / 10 for number in range(11)]
    target = tmp_path / "my <sweep>" / "sweep.html"
    write_sweep_page(sweep_result(alphas, [0.1, 0.2, 0.5], labelled=labelled), target)
    page, faults = _open(browser, target, width, scheme)

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(
        "[...document.querySelectorAll('.chart')].every(c => c.querySelector('svg'))"
    )
    assert page.locator(".chart").count() == (5 if labelled else 1)
    assert page.locator("#uniformity .points path").count() == 33
    assert page.locator("h1").inner_text() == "my <sweep>"
    _screenshot(page, f"sweep_{width}_{scheme}_{'labelled' if labelled else 'label_free'}")
    assert faults == []
    page.close()


@pytest.mark.parametrize("alphas", [[0.3], [1.0], [0.0, 1.0]])
def test_a_small_sweep_opens_without_faults(
    browser: Browser, tmp_path: Path, alphas: list[float]
) -> None:
    target = tmp_path / "sweep.html"
    write_sweep_page(sweep_result(alphas, [0.2]), target)
    page, faults = _open(browser, target, 400)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    # With one temperature the features are drawn over alpha.
    assert page.locator("#uniformity .points path").count() == len(alphas)
    assert page.locator("#uniformity .xtitle").text_content() == "alpha"
    assert faults == []
    page.close()


def test_levels_of_confusions_and_map_can_be_chosen(
    browser: Browser, make_tree_run: MakeRun
) -> None:
    page, faults = _open(browser, write_report(make_tree_run()), 1280)
    ticks = page.locator("#level-confusion .ytick text")
    assert ticks.all_text_contents() == ["Bell", "Strings", "Wind"]
    page.get_by_label("2", exact=True).check()
    assert ticks.all_text_contents() == ["Cello", "Violin", "Flute", "Oboe"]
    page.emulate_media(color_scheme="dark")
    assert ticks.all_text_contents() == ["Cello", "Violin", "Flute", "Oboe"]

    page.get_by_label("Colour by").select_option("Label, level 1 (coarsest)")
    assert page.locator("#legend button").all_inner_texts() == ["Bell", "Strings", "Wind"]
    colours = "new Set(document.getElementById('plane').data[0].marker.color).size"
    assert page.evaluate(colours) == 3
    page.get_by_label("Colour by").select_option("Label, level 2 (finest)")
    assert page.evaluate(colours) == 5
    assert faults == []
    page.close()


def test_branches_fold_by_hand_and_all_at_once(browser: Browser, make_tree_run: MakeRun) -> None:
    page, faults = _open(browser, write_report(make_tree_run()), 400)
    leaf = page.locator(".taxa .taxon-name", has_text="Cello")
    assert leaf.is_visible()
    page.get_by_text("Close all").click()
    assert not leaf.is_visible()
    page.locator(".taxa summary", has_text="Strings").focus()
    page.keyboard.press("Enter")
    assert leaf.is_visible()
    assert faults == []
    page.close()


def test_a_narrow_page_that_widens_looks_like_a_wide_one(
    browser: Browser, make_tree_run: MakeRun
) -> None:
    report = write_report(make_tree_run())
    sizes = """["confusion", "sunburst"].map((id) => {
        const { w, h } = document.getElementById(id)._fullLayout._size;
        return [w, h];
    })"""
    wide, faults = _open(browser, report, 1280)
    page, more_faults = _open(browser, report, 400)
    assert page.evaluate(sizes) != wide.evaluate(sizes)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.wait_for_timeout(600)

    # Plotly alone keeps the room of the colour bar that lay above the narrow chart.
    assert page.evaluate(sizes) == wide.evaluate(sizes)
    assert faults + more_faults == []
    wide.close()
    page.close()
