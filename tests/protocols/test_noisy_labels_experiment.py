"""Labels flipped on purpose: which, what trains on them, how methods are compared."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from rich.console import Console

from tonotopy._components import Component
from tonotopy._errors import DataError, UsageError
from tonotopy.cli import main
from tonotopy.cli._reproduce_noisy_labels import _show
from tonotopy.clips import ClipTable, scan_files
from tonotopy.protocols._label_noise import LABEL_IS_RIGHT, TRUE_LABEL, flip_labels
from tonotopy.protocols.confidence import evaluate_confidence, read_confidence
from tonotopy.protocols.noisy_labels_experiment import (
    AMC_WEIGHTS,
    MEASURES,
    METHODS,
    NoisyLabelsPlan,
    Trial,
    compare,
    run_noisy_labels_experiment,
)
from tonotopy.training import FitConfig, OptimiserOptions

FREQUENCIES = {"low": 300.0, "middle": 900.0, "high": 3000.0}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipTable:
    """Three classes of tones in three folds."""
    import soundfile

    root = tmp_path_factory.mktemp("tones")
    rows = []
    for at, (name, frequency) in enumerate(FREQUENCIES.items()):
        for number in range(12):
            time = np.arange(3200) / 16000
            wave = 0.5 * np.sin(2 * np.pi * (frequency + 7 * number) * time)
            file = f"{name}-{number}.wav"
            soundfile.write(root / file, wave, 16000)
            rows.append((file, (f"group{at // 2}", name), str(1 + number // 4), None))
    return scan_files(root, rows)


@pytest.fixture
def plan(clips: ClipTable, tmp_path: Path) -> NoisyLabelsPlan:
    base = FitConfig(
        data=tmp_path / "never read",
        encoder=Component("ConvNet", {"width": 2, "embedding_dim": 4}),
        batches=Component("PKBatchSampler", {"classes_per_batch": 3, "clips_per_class": 3}),
        optimiser=OptimiserOptions(epochs=1, warmup_epochs=0),
        accelerator="cpu",
        threads=1,
        cache=tmp_path / "cache",
    )
    return NoisyLabelsPlan(base, clips, flip=0.4, test_fold="3")


def many(count: int) -> ClipTable:
    """A table of clips that need not exist."""
    names = ["a", "b", "c", "d", "e"]
    frame = pl.DataFrame(
        {
            "path": [f"{at}.wav" for at in range(count)],
            "content": [str(at) for at in range(count)],
            "label": [[names[at % 5]] for at in range(count)],
            "seconds": [1.0] * count,
            "sample_rate": [16000] * count,
            "channels": [1] * count,
            "fold": [str(1 + at % 4) for at in range(count)],
            "group": pl.Series([None] * count, dtype=pl.String),
        }
    )
    return ClipTable(frame, Path("/nowhere"))


def test_flips_are_uniform_over_the_other_classes_and_spare_the_test() -> None:
    clips = many(8000)
    flipped = flip_labels(clips, 0.4, seed=0, spare=["4"])
    assert [tuple(label) for label in flipped.frame[TRUE_LABEL].to_list()] == clips.labels
    pairs: Counter[tuple[str, str]] = Counter()
    for given, true, kept, fold in zip(
        flipped.labels,
        clips.labels,
        flipped.frame[LABEL_IS_RIGHT],
        clips.frame["fold"],
        strict=True,
    ):
        assert kept == (given == true)
        if fold == "4":
            assert kept
        elif not kept:
            pairs[(true[0], given[0])] += 1
    count = sum(pairs.values())
    assert abs(count / 6000 - 0.4) < 0.03
    assert len(pairs) == 20
    assert all(abs(number / count - 1 / 20) < 0.012 for number in pairs.values())


def test_flips_depend_on_seed_and_clip_alone() -> None:
    clips = many(300)
    labels = dict(
        zip(clips.frame["path"], flip_labels(clips, 0.4, seed=1, spare=[]).labels, strict=True)
    )
    shuffled = replace(clips, frame=clips.frame.sample(fraction=0.5, shuffle=True, seed=3))
    again = flip_labels(shuffled, 0.4, seed=1, spare=[])
    assert all(
        labels[path] == label for path, label in zip(again.frame["path"], again.labels, strict=True)
    )
    assert flip_labels(clips, 0.4, seed=2, spare=[]).labels != list(labels.values())
    assert flip_labels(clips, 0.0, seed=1, spare=[]).labels == clips.labels
    fewer = flip_labels(clips, 0.2, seed=1, spare=[])
    for path, true, given in zip(clips.frame["path"], clips.labels, fewer.labels, strict=True):
        assert given in (true, labels[path])  # what is flipped at 0.2 is flipped so at 0.4


@pytest.mark.parametrize("flip", [-0.1, 1.0, math.nan])
def test_impossible_flips_are_refused(flip: float) -> None:
    with pytest.raises(UsageError, match="flip is a probability"):
        flip_labels(many(10), flip, seed=0, spare=[])


def test_clips_without_labels_cannot_be_flipped() -> None:
    clips = many(10)
    one = clips.filter(pl.col("label").list.first() == "a")
    with pytest.raises(DataError, match="two classes or more"):
        flip_labels(one, 0.4, seed=0, spare=[])


def test_every_method_trains_on_the_same_wrong_labels(
    plan: NoisyLabelsPlan, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = run_noisy_labels_experiment(plan, out, seeds=[0])
    assert [trial["method"] for trial in result["trials"]] == list(METHODS)
    labels = None
    for method in METHODS:
        run = out / Trial(method, 0).folder
        metrics = json.loads((run / "metrics.json").read_text())
        clips = ClipTable.read(run / "clips.parquet")
        assert metrics["split"] == "test"
        assert len(metrics["noise"]["test_right"]) == metrics["num_clips"] == 12
        right = sum(metrics["noise"]["test_right"]) / 12
        assert right == pytest.approx(metrics["classification"]["accuracy"])
        train = clips.frame.filter(pl.col("split") == "train")
        assert set(train["fold"]) == {"1", "2"}
        assert metrics["noise"]["num_flipped"] == int((~train[LABEL_IS_RIGHT]).sum()) > 0
        assert clips.frame.filter(pl.col("split") == "test")[LABEL_IS_RIGHT].all()
        assert labels in (None, clips.labels)
        labels = clips.labels
        log = (run / "logs" / "metrics.csv").read_text()
        assert "val/" not in log
        assert ("train/amc" in log) == ("amc" in method)
    for row in result["table"].values():
        assert set(row) == set(MEASURES)
    assert set(result["differences"]) == set(METHODS) - {"ce"}
    text = (out / "results.md").read_text()
    assert "95 % over clips" in text
    assert set(json.loads((out / "results.json").read_text())) >= {"trials", "table", "differences"}


def test_only_the_layer_method_reads_a_layer(plan: NoisyLabelsPlan, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_noisy_labels_experiment(plan, out, methods=["ce+amc", "ce+amc-layer"], seeds=[0])
    texts = [
        (out / Trial(method, 0).folder / "config.yaml").read_text()
        for method in ("ce+amc", "ce+amc-layer")
    ]
    assert ["layer: layers.3.conv" in text for text in texts] == [False, True]
    assert all(f"- {AMC_WEIGHTS[0]}" in text for text in texts)


def test_finished_trials_are_kept_and_another_plan_is_refused(
    plan: NoisyLabelsPlan, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run_noisy_labels_experiment(plan, out, methods=["ce"], seeds=[0])
    model = out / Trial("ce", 0).folder / "model.safetensors"
    before = model.stat().st_mtime_ns
    result = run_noisy_labels_experiment(plan, out, methods=["ce"], seeds=[0, 1])
    assert model.stat().st_mtime_ns == before
    assert result["table"]["ce"]["test accuracy"]["n"] == 2
    assert result["differences"] == {}
    with pytest.raises(UsageError, match="whose flip differ"):
        run_noisy_labels_experiment(replace(plan, flip=0.2), out, methods=["ce"], seeds=[0])
    with pytest.raises(UsageError, match="'arc'"):
        run_noisy_labels_experiment(plan, out, methods=["arc"])


def test_methods_are_compared_clip_by_clip() -> None:
    random = np.random.default_rng(0)
    ours, theirs = (random.random((3, 200)) < share for share in (0.7, 0.6))
    found = compare([ours, theirs])
    differences = [float(a.mean() - b.mean()) for a, b in zip(ours, theirs, strict=True)]
    assert found["mean"] == pytest.approx(np.mean(differences))
    half = 4.302653 * np.std(differences, ddof=1) / math.sqrt(3)  # t of 2 degrees of freedom
    low, high = found["over_seeds"]
    assert (low, high) == pytest.approx((found["mean"] - half, found["mean"] + half), rel=1e-5)
    # The bootstrap is near the normal interval of the mean over clips.
    error = (ours.astype(float) - theirs).mean(axis=0).std() / math.sqrt(200)
    low, high = found["over_clips"]
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.1)
    alone = compare([ours[:1], theirs[:1]])
    assert math.isnan(alone["over_seeds"][0])
    assert compare([ours, ours])["over_clips"] == [0.0, 0.0]


def test_a_run_is_judged_by_any_column_of_confidences(
    plan: NoisyLabelsPlan, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run_noisy_labels_experiment(plan, out, methods=["ce"], seeds=[0])
    run = out / Trial("ce", 0).folder
    found = evaluate_confidence(run, column=LABEL_IS_RIGHT, unverified=0.4)
    assert set(found) == {"train", "test"}
    assert found["test"]["unverified"] == 0
    train = found["train"]
    weights = train["verified"] + 0.4 * train["unverified"]
    right = train["verified"] * train["accuracy_verified"]
    right += 0.4 * train["unverified"] * train["accuracy_unverified"]
    assert train["accuracy_weighted"] == pytest.approx(right / weights)
    with pytest.raises(UsageError, match="no column 'manually_verified'; they have: path"):
        evaluate_confidence(run)
    with pytest.raises(DataError, match="'path'"):
        evaluate_confidence(run, column="path")
    for unverified in (2.0, 1.0):  # at 1 nothing would tell them from verified clips
        with pytest.raises(UsageError, match="below 1"):
            evaluate_confidence(run, column=LABEL_IS_RIGHT, unverified=unverified)


def test_the_table_fits_a_terminal_of_80_columns() -> None:
    printed = StringIO()
    row = {name: {"mean": 0.612, "sd": 0.034, "n": 3} for name in MEASURES}
    _show(Console(width=80, file=printed), dict.fromkeys(METHODS, row))
    assert "…" not in printed.getvalue()
    lines = printed.getvalue().splitlines()
    for method in METHODS:
        shown = [line.split() for line in lines if f" {method} " in line]
        assert [words.count("0.612") for words in shown] == [3, 3]  # each on one line


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pl.Series([True, False]), [1.0, 0.0]),
        (pl.Series([1, 0]), [1.0, 0.0]),
        (pl.Series([0.25, 1.0]), [0.25, 1.0]),
        (pl.Series(["1", " 0.5 "]), [1.0, 0.5]),
        (pl.Series(["True", "false"]), [1.0, 0.0]),
    ],
)
def test_confidences_may_be_written_in_many_ways(values: pl.Series, expected: list[float]) -> None:
    assert torch.equal(read_confidence(values, "x"), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([True, None]),
        pl.Series([1.0, 1.5]),
        pl.Series([1.0, math.nan]),
        pl.Series(["1", "yes"]),
        pl.Series(["1", ""]),
        pl.Series([["1"], ["0"]]),
    ],
)
def test_other_confidences_are_refused(values: pl.Series) -> None:
    with pytest.raises(DataError, match=r"'sure'"):
        read_confidence(values, "sure")


def test_the_command_line_runs_it(
    clips: ClipTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, config, out = tmp_path / "clips.parquet", tmp_path / "my.yaml", tmp_path / "out"
    clips.write(table)
    config.write_text(
        "encoder: {class_path: ConvNet, init_args: {width: 2, embedding_dim: 4}}\n"
        "optimiser: {epochs: 1, warmup_epochs: 0}\naccelerator: cpu\n"
        f"cache: {tmp_path / 'cache'}\n"
        "batches: {class_path: PKBatchSampler, init_args: {classes_per_batch: 3, "
        "clips_per_class: 3}}\n"
    )
    options = ["--data", str(table), "--out", str(out), "--config", str(config), "--fold", "3"]
    options += ["--methods", "[ce, ce+amc]", "--seeds", "1", "--threads", "1"]
    assert main(["reproduce", "noisy-labels", *options]) == 0
    assert "2 trials" in capsys.readouterr().out
    assert main(["reproduce", "noisy-labels", *options, "--amc_weights", "[1]"]) == 2
    assert main(["reproduce", "noisy-labels", *options, "--seeds", "0"]) == 2
    run = str(out / Trial("ce", 0).folder)
    assert main(["evaluate", run, "--confidence", LABEL_IS_RIGHT, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    measured = evaluate_confidence(Path(run), column=LABEL_IS_RIGHT)
    assert printed["confidence"]["train"] == measured["train"]
    assert printed["confidence"]["test"]["accuracy_unverified"] is None  # its labels are all right
    assert main(["evaluate", run, "--confidence", LABEL_IS_RIGHT]) == 0
    assert "by confidence" in capsys.readouterr().out
    assert main(["evaluate", run, str(table), "--confidence", LABEL_IS_RIGHT]) == 2
