"""The verb `explain`, from a run folder to pictures, numbers and a page."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import soundfile
import torch
from torch import Tensor

from tonotopy import AudioEmbedder
from tonotopy._components import Component
from tonotopy._errors import UsageError
from tonotopy.audio import FrontEnd, LogMel, Waveform
from tonotopy.cli import main
from tonotopy.detection import Detector, DetectorOptions, References
from tonotopy.encoders import ConvNet, Encoder, TwoBranchNet
from tonotopy.protocols.explanation import ExplanationOptions, explain_recordings

RATE = 8000
SECONDS = 2.0


def _hum(seed: int, seconds: float = SECONDS) -> Tensor:
    """A machine: a hum of 250 Hz with two harmonics, and noise."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(round(seconds * RATE)) / RATE
    tones = [torch.sin(2 * math.pi * 250 * k * time) / k for k in (1, 2, 3)]
    return 0.1 * torch.stack(tones).sum(0) + 0.01 * torch.randn(len(time), generator=generator)


def _whistling(seed: int, start: float, seconds: float = SECONDS) -> Tensor:
    """The same machine with a whistle of 3 kHz for half a second."""
    time = torch.arange(round(seconds * RATE)) / RATE
    gate = ((time >= start) & (time < start + 0.5)).float()
    return _hum(seed, seconds) + gate * 0.3 * torch.sin(2 * math.pi * 3000 * time)


def _write(path: Path, waveform: Tensor) -> Path:
    soundfile.write(path, waveform.numpy(), RATE)
    return path


def _make_run(
    folder: Path, front_end: FrontEnd, encoder: Encoder, machines: tuple[str, ...] = ("fan/id_00",)
) -> Path:
    run = folder / "run"
    (folder / "normal").mkdir(parents=True)
    embedder = AudioEmbedder(front_end, encoder).eval()
    clips = [_hum(seed) for seed in range(12 * len(machines))]
    front_end.fit_normalisation(clips)
    paths = [_write(folder / "normal" / f"{i:02d}.wav", clip) for i, clip in enumerate(clips)]
    embeddings = embedder.embed(list(paths))
    frame = pl.DataFrame(
        {
            "path": [str(path) for path in paths],
            "start": pl.Series([None] * len(paths), dtype=pl.Float64),
            "content": [path.name for path in paths],
            "machine": [machines[i % len(machines)] for i in range(len(paths))],
            "domain": ["target" if i < 3 else "source" for i in range(len(paths))],
            "attributes": pl.Series([None] * len(paths), dtype=pl.String),
            "embedding": pl.Series(
                embeddings.numpy(), dtype=pl.Array(pl.Float32, embedder.embedding_dim)
            ),
        }
    )
    references = References.from_frame(frame, embedder)
    nothing = References.from_frame(frame.head(0), embedder)
    options = DetectorOptions(SECONDS, Component("NearestNeighbourScorer"), false_alarm_rate=0.1)
    embedder.save_pretrained(run)
    Detector.fit(embedder, references, nothing, options, {}).save(run)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an untrained network with twelve normal clips."""
    torch.manual_seed(0)
    front_end = LogMel(RATE, n_fft=256, hop_length=128, n_mels=32, normalise="dataset")
    return _make_run(tmp_path_factory.mktemp("mel"), front_end, ConvNet(32, 16))


@pytest.fixture(scope="module")
def odd(run: Path) -> Path:
    """A recording of three windows and a half, with a whistle at 4.8 to 5.3 s."""
    return _write(run.parent / "odd.wav", _whistling(77, 4.8, 7.0))


@pytest.mark.parametrize("options", [{}, {"fill": "floor"}, {"mode": "stft"}])
def test_a_whistle_is_found_in_the_window_that_has_it(
    run: Path, odd: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    page, (found,) = explain_recordings(
        run, [odd], options=ExplanationOptions(masks=400, **options), out=tmp_path
    )

    assert found["start"] == 4.0
    assert found["anomaly"] is True
    assert found["score"] > found["threshold"]
    assert found["p_value"] < 0.1
    region = found["region"]
    assert region["start"] < 5.05 < region["end"]
    assert region["low"] < 3200
    assert region["high"] > 2800
    assert json.loads((tmp_path / "odd.json").read_text())["score"] == found["score"]
    assert page.is_file()


def test_the_score_is_that_of_the_detector(run: Path, odd: Path, tmp_path: Path) -> None:
    detector = Detector.load(run)
    whole = torch.from_numpy(soundfile.read(odd, dtype="float32")[0])
    embedding = detector.embed([whole[4 * RATE : 6 * RATE]])
    score = float(detector.machine().score(embedding)[0])

    for mode in ("wave", "stft"):
        options = ExplanationOptions(mode=mode, masks=8)
        _, (found,) = explain_recordings(run, [odd], options=options, out=tmp_path)
        assert found["score"] == pytest.approx(score, rel=1e-3)
        assert [near["name"] for near in found["neighbours"]] == [
            Path(detector.machine().references.frame["path"][row]).name
            for row in detector.machine().nearest(embedding, 3)[1][0].tolist()
        ]


def test_models_that_see_two_views_are_explained(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = TwoBranchNet(num_samples=16000, sample_rate=RATE, embedding_dim=16)
    run = _make_run(tmp_path, Waveform(RATE, SECONDS), encoder)
    clip = _write(tmp_path / "odd.wav", _whistling(5, 1.0))

    options = ExplanationOptions(masks=8, mode="stft", fill="floor")
    _, (found,) = explain_recordings(run, [clip], options=options)
    assert found["evaluations"] == 9
    assert (run / "explanations" / "odd.png").is_file()


def test_the_verb_writes_pictures_numbers_and_a_page(
    run: Path, odd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").mkdir()
    other = _write(tmp_path / "other" / "odd.wav", _hum(3, 0.3))
    out = tmp_path / "out"
    command = ["explain", str(run), str(odd), str(other), "--out", str(out)]

    assert main([*command, "--masks", "8", "--fill", "zero", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    names = sorted(path.name for path in out.iterdir())
    assert names == ["explanation.html", "odd-2.json", "odd-2.png", "odd.json", "odd.png"]
    assert printed["page"] == str(out / "explanation.html")
    assert [clip["path"] for clip in printed["clips"]] == [str(odd), str(other)]
    assert [clip["evaluations"] for clip in printed["clips"]] == [9, 9]
    assert [clip["fill"] for clip in printed["clips"]] == ["zero", "zero"]

    assert main([*command[:3], "--out", str(out), "--method", "occlusion"]) == 0
    assert "1 clip explained" in capsys.readouterr().out
    assert json.loads((out / "odd.json").read_text())["split_half_correlation"] is None


def test_the_same_seed_gives_the_same_numbers(run: Path, odd: Path, tmp_path: Path) -> None:
    numbers = []
    for seed in (1, 1, 2):
        options = ExplanationOptions(masks=40, seed=seed)
        explain_recordings(run, [odd], options=options, out=tmp_path)
        numbers.append((tmp_path / "odd.json").read_text())

    assert numbers[0] == numbers[1]
    assert numbers[0] != numbers[2]


def test_a_page_needs_nothing_but_itself(run: Path, odd: Path, tmp_path: Path) -> None:
    options = ExplanationOptions(masks=8)
    page, _ = explain_recordings(run, [odd], options=options, out=tmp_path)
    text = page.read_text(encoding="utf-8")

    assert text.count("<audio") == 4
    assert text.count("data:audio/ogg") == 4
    assert text.count("data:image/png") == 2
    assert "<script" not in text
    assert set(re.findall(r'(?:src|href)="([a-z]*:|#)', text)) == {"data:", "#"}


def test_references_that_are_gone_are_left_silent(odd: Path, run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "run"
    shutil.copytree(run, moved)
    detector = Detector.load(moved)
    frame = detector.references.frame.with_columns(pl.lit("/nowhere").alias("path"))
    gone = References(frame, detector.references.model)
    Detector.fit(detector.embedder, gone, detector.held_out, detector.options, {}).save(moved)

    options = ExplanationOptions(masks=8)
    page, (found,) = explain_recordings(moved, [odd], options=options, out=tmp_path / "out")
    assert page.read_text().count("<audio") == 1
    assert "its file is not where it was" in page.read_text()
    assert len(found["neighbours"]) == 3
    with pytest.raises(UsageError, match="--fill floor needs recordings"):
        explain_recordings(
            moved, [odd], options=ExplanationOptions(masks=8, fill="floor"), out=tmp_path
        )


def test_several_machines_are_told_apart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    front_end = LogMel(RATE, n_fft=256, hop_length=128, n_mels=16)
    run = _make_run(tmp_path, front_end, ConvNet(16, 8), ("fan/id_00", "fan/id_02"))
    clip = _write(tmp_path / "odd.wav", _whistling(5, 1.0))
    (tmp_path / "fan" / "id_02").mkdir(parents=True)
    placed = _write(tmp_path / "fan" / "id_02" / "odd.wav", _whistling(6, 1.0))
    options = ExplanationOptions(masks=8)

    _, (found,) = explain_recordings(run, [clip], machine="fan/id_02", options=options)
    assert found["machine"] == "fan/id_02"
    assert all(int(near["name"][:2]) % 2 for near in found["neighbours"])

    page, guessed = explain_recordings(run, [clip, placed], options=options)
    assert [about["machine"] for about in guessed] == ["any", "fan/id_02"]
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/png") == 4
    assert "2 machines" in text
    assert all(int(near["name"][:2]) % 2 for near in guessed[1]["neighbours"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.wav"], "no such file: nowhere.wav"),
        (["{odd}", "--machine", "pump"], "'pump'"),
        (["{odd}", "--method", "occlusion", "--masks", "9"], "--masks is for --method rise"),
        (["{odd}", "--masks", "2"], "--masks must be at least 4"),
    ],
)
def test_wrong_use_is_explained(
    run: Path,
    odd: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["explain", str(run), *(part.format(odd=odd) for part in arguments)]) == 2
    assert message in capsys.readouterr().err


def test_a_run_without_a_detector_is_refused(odd: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="detector"):
        explain_recordings(tmp_path, [odd])


def test_the_help_names_all_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["explain", "--help"])
    text = capsys.readouterr().out
    for option in ("machine", "method", "masks", "mode", "fill", "seed", "out"):
        assert f"--{option}" in text


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_the_page_opens_without_faults_and_plays(
    run: Path, odd: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no program called chromium: the page cannot be opened")
    page_file, _ = explain_recordings(
        run, [odd], options=ExplanationOptions(masks=64), out=tmp_path
    )
    faults: list[str] = []
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=flags)
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda message: faults.append(message.text))
        page.on("requestfailed", lambda request: faults.append(request.url[:100]))
        page.goto(page_file.as_uri())
        player = page.locator("audio").first
        player.evaluate("sound => sound.load()")
        _wait_until(lambda: bool(player.evaluate("sound => sound.duration > 0")))

        assert player.evaluate("sound => sound.duration") == pytest.approx(SECONDS, abs=0.1)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        loaded = "[...document.images].every(image => image.naturalWidth > 500)"
        assert page.evaluate(loaded)
        folder = os.environ.get("TONOTOPY_SCREENSHOTS")
        if folder:
            page.screenshot(path=Path(folder) / f"explanation_{width}.png", full_page=True)
        browser.close()
    assert faults == []


def _wait_until(is_true: Callable[[], bool]) -> None:
    import time

    for _ in range(200):
        if is_true():
            return
        time.sleep(0.05)
    raise AssertionError("the sound never loaded")
