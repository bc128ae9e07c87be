"""The page of a probe: all parts, missing parts, hostile names, and a real browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tonotopy.metrics import CLIP_ACCURACIES
from tonotopy.reporting import write_probe_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CLASSES = ["dog", "<script>alert(1)</script>", "Strings/Violin"]


def accuracy(value: float) -> dict[str, dict[str, float]]:
    return {
        name: {"value": value, "low": value - 0.1, "high": value + 0.05} for name in CLIP_ACCURACIES
    }


def rows(start: float, sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    return [
        {
            "clips_per_class": size,
            "clips": 3 * size,
            "draws": 5,
            "accuracy": {
                name: {
                    "mean": start + 0.05 * place,
                    "sd": 0.02 if size < 16 else float("nan"),
                    "low": start + 0.05 * place - 0.05,
                    "high": start + 0.05 * place + 0.03,
                }
                for name in CLIP_ACCURACIES
            },
        }
        for place, size in enumerate(sizes)
    ]


def probed(**other: Any) -> dict[str, Any]:
    """What a probe gives, as the page reads it."""
    confusion = [[5, 1, 0], [0, 6, 0], [2, 0, 3]]
    chosen = {"chosen_on": "validation clips", "tried": [], "converged": True}
    return {
        "format": 1,
        "tonotopy": "0.1.0",
        "model": {"fingerprint": "0" * 32, "embedding_dim": 8},
        "classes": CLASSES,
        "clips": {"train": 48, "val": 6, "test": 17},
        "patches": {"train": 400, "val": 50, "test": 150},
        "split_by": "the column split",
        "cautions": ["1 clip is left out for lack of a complete label."],
        "options": {"bootstrap": 1000, "patch_seconds": 1.0, "seed": 0},
        "linear": {"accuracy": accuracy(0.8), "penalty": 0.1, "confusion": confusion, **chosen},
        "knn": {"accuracy": accuracy(0.7), "k": 5, **chosen},
        "finetune": {
            "accuracy": accuracy(0.9), "confusion": confusion, "epochs": 30, "run": "somewhere"
        },
        "few_shot": {
            "draws": 50,
            "penalty": 0.01,
            "centroid": rows(0.4, (1, 5, 10)),
            "linear": rows(0.45, (1, 5, 10)),
        },
        "learning_curves": {
            "draws": 5, "linear": rows(0.4, (1, 2, 4, 8, 16)), "knn": rows(0.3, (1, 2, 4, 8, 16))
        },
        "source": "runs/first",
        "data": "a/very/long/path/to/some/clips-of-a-data-set-with-a-name.parquet",
        "command": "tonotopy probe runs/first a/very/long/path",
        **other,
    }  # fmt: skip


def test_says_every_accuracy_with_its_interval(tmp_path: Path) -> None:
    write_probe_page(probed(), tmp_path / "probe.html")
    page = (tmp_path / "probe.html").read_text()
    for part in (
        "80.0\u00a0%",
        "70.0 to 85.0",
        "60.0 to 75.0",
        "90.0\u00a0%",
        "1 clip is left out",
    ):
        assert part in page
    assert "k = 5, chosen on validation clips" in page
    assert "45.0\u00a0% ± 2.0" in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


@pytest.mark.parametrize(
    "missing",
    [
        ("linear", "finetune", "learning_curves"),
        ("knn", "few_shot", "finetune"),
        ("linear", "knn", "learning_curves", "finetune"),
        ("linear", "knn", "learning_curves", "few_shot"),
    ],
)
def test_leaves_out_what_was_not_measured(tmp_path: Path, missing: tuple[str, ...]) -> None:
    target = tmp_path / "probe.html"
    write_probe_page(probed(**dict.fromkeys(missing)), target)
    page = target.read_text()
    assert ('id="curves"' in page) == ("learning_curves" not in missing)
    assert ('id="shots"' in page) == ("few_shot" not in missing)
    assert ('id="confusions"' in page) == ("linear" not in missing or "finetune" not in missing)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no program called chromium: the page cannot be opened")
    with playwright.sync_playwright() as driver:
        flags = ["--headless", "--no-sandbox", "--disable-gpu"]
        chromium = driver.chromium.launch(executable_path=program, args=flags)
        yield chromium
        chromium.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_opens_without_faults_and_fits(
    browser: Browser, tmp_path: Path, width: int, scheme: str
) -> None:
    target = tmp_path / "probe.html"
    write_probe_page(probed(), target)
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]  # a Literal in playwright
    faults: list[str] = []
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "request",
        lambda asked: (
            None if asked.url.startswith(("file:", "data:", "blob:")) else faults.append(asked.url)
        ),
    )
    page.goto(target.as_uri())
    drawn = "[...document.querySelectorAll('.chart')].every(c => c.querySelector('svg'))"
    for _ in range(200):
        if page.evaluate(drawn):
            break
        page.wait_for_timeout(50)
    assert page.evaluate(drawn)
    assert page.evaluate("document.querySelectorAll('.chart').length") == 5
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    folder = os.environ.get("TONOTOPY_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"probe_{width}_{scheme}.png", full_page=True)
    assert faults == []
    page.close()
