"""Public data sets in miniature become vectors for the rank-based loss experiment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
import torch

from tonotopy._components import Component
from tonotopy._errors import DataError, UsageError
from tonotopy.audio import LogMel
from tonotopy.cli import main
from tonotopy.clips import ClipTable, scan_files
from tonotopy.clips.table import CLIP_SCHEMA
from tonotopy.datasets import find_dataset
from tonotopy.protocols._rbl_data import read_vectors
from tonotopy.protocols._rbl_features import (
    SOURCES,
    Source,
    draw_clips,
    log_mel_statistics,
    vectors_folder,
)
from tonotopy.protocols.rbl_experiment import Recipe, run_rbl_experiment
from tonotopy.training import FitConfig, OptimiserOptions, fit

NSYNTH, SCENES = SOURCES
SMALL = replace(SCENES, sizes={"test": 12, "val": 14, "train": 28}, unseen_each=2)


@pytest.fixture
def scenes(tmp_path: Path, write_tone: Callable[..., Path]) -> Path:
    """The official layout with 6 segments of each scene, two of a place, at its own frequency."""
    root = tmp_path / "TUT-acoustic-scenes-2016-development"
    (root / "evaluation_setup").mkdir(parents=True)
    lines = []
    for number, (place, scene) in enumerate((*SCENES.seen, *SCENES.unseen)):
        for segment in range(6):
            file = f"audio/a{number:02}{segment // 2}_{30 * segment}_{30 * segment + 30}.wav"
            frequency = {"indoor": 300, "outdoor": 1500, "vehicle": 5000}[place] + 40 * number
            write_tone(root / file, seconds=0.2 + 0.01 * segment, frequency=frequency)
            lines.append(f"{file}\t{scene}")
    (root / "meta.txt").write_text("\n".join(lines) + "\n")
    for fold in range(1, 5):
        part = [line for number, line in enumerate(lines) if number % 4 == fold - 1]
        (root / "evaluation_setup" / f"fold{fold}_evaluate.txt").write_text("\n".join(part))
    return root


def table_of(labels: list[tuple[str, ...]]) -> ClipTable:
    """Clips that have labels and nothing else."""
    frame = pl.DataFrame(
        {"path": [f"{row}.wav" for row in range(len(labels))], "label": labels},
        schema_overrides={"label": pl.List(pl.String)},
    )
    empty = [
        pl.lit(None, dtype=t).alias(n) for n, t in CLIP_SCHEMA.items() if n not in frame.columns
    ]
    return ClipTable(frame.with_columns(empty).select(list(CLIP_SCHEMA)), Path("audio"))


def test_the_authors_numbers_of_clips_are_drawn() -> None:
    # 78 segments of each scene, as in the data set.
    labels = [label for label in (*SCENES.seen, *SCENES.unseen) for _ in range(78)]
    drawn = draw_clips(table_of([*labels, ("indoor", "grocery_store")]), SCENES)
    assert Counter(drawn.frame["split"]) == {"train": 480, "val": 192, "test": 30, "unseen": 30}
    by_class = Counter(zip(drawn.frame["split"], drawn.labels, strict=True))
    for label in SCENES.seen:
        assert by_class["train", label] in (53, 54)
        assert by_class["val", label] in (21, 22)
        assert by_class["test", label] in (3, 4)
    assert all(by_class["unseen", label] == 6 for label in SCENES.unseen)
    again = draw_clips(table_of([*labels, ("indoor", "grocery_store")]), SCENES)
    assert drawn.frame.equals(again.frame)


def test_an_instrument_with_few_notes_gives_what_it_has() -> None:
    numbers = [88] + [300] * 8
    labels = [label for label, n in zip(NSYNTH.seen, numbers, strict=True) for _ in range(n)]
    drawn = draw_clips(table_of(labels + [u for u in NSYNTH.unseen for _ in range(10)]), NSYNTH)
    counts = Counter(drawn.frame["split"])
    assert counts == {"train": 1200, "val": 300, "test": 207, "unseen": 90}
    by_class = Counter(zip(drawn.frame["split"], drawn.labels, strict=True))
    assert {by_class["test", label] for label in NSYNTH.seen} == {23}
    assert sum(by_class[split, NSYNTH.seen[0]] for split in ("train", "val", "test")) == 88


def test_too_few_clips_are_named() -> None:
    labels = [label for label in SCENES.seen for _ in range(78)]
    with pytest.raises(
        DataError, match=r"unseen takes 6 clips of indoor/cafe/restaurant, but only 5"
    ):
        draw_clips(table_of(labels + [SCENES.unseen[0]] * 5), SCENES)
    with pytest.raises(DataError, match="train takes 480 clips"):
        draw_clips(table_of(labels[:500]), SCENES)


def test_statistics_are_those_of_the_bands(tmp_path: Path) -> None:
    wave = np.random.default_rng(0).normal(size=8000).astype(np.float32) * 0.1
    soundfile.write(tmp_path / "a.wav", wave, 16000, subtype="FLOAT")
    bands = LogMel(n_mels=64)(torch.from_numpy(wave)[None])[0][0].double().numpy()
    found = log_mel_statistics(tmp_path / "a.wav")
    assert found.shape == (128,)
    np.testing.assert_allclose(found[:64], bands.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found[64:], bands.std(axis=1), rtol=1e-4)


def test_a_data_set_is_standardised_and_kept(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert vectors_folder(scenes, out, sources=[SMALL]) == out
    data = read_vectors(out)
    assert {name: len(clips) for name, clips in data.splits.items()} == {
        "train": 28,
        "val": 14,
        "test": 12,
        "unseen": 10,
    }
    train = data.splits["train"].vectors
    assert train.shape == (28, 128)
    assert train.mean(dim=0).abs().max() < 1e-8
    assert ((train.std(dim=0, correction=0) - 1).abs() < 1e-2).float().mean() > 0.9
    assert "64 log-mel bands" in data.about
    assert "in place of the VGGish embeddings" in data.about
    table = out / "embeddings.parquet"
    place = {
        split: [name.split("/")[1].split("_")[0] for name in frame["name"]]
        for (split,), frame in pl.read_parquet(table).group_by("split")
    }
    shared = sum(name in place["train"] for name in place["test"])
    assert shared > 0
    assert f"{shared} of 12 test clips share a recording" in data.about
    before = table.stat().st_mtime_ns
    vectors_folder(scenes, out, sources=[SMALL])
    assert table.stat().st_mtime_ns == before
    with pytest.raises(UsageError, match=r"another model.*--out"):
        vectors_folder(scenes, out, model="runs/other", sources=[SMALL])


def test_the_experiment_runs_on_a_data_set(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    vectors_folder(scenes, out, sources=[SMALL])
    result = run_rbl_experiment(scenes, out, methods=["rbl"], seeds=[0], recipe=Recipe(2, 1e-3))
    assert [row["split"] for row in result["table"]] == ["test", "test", "unseen", "unseen"]
    assert "64 log-mel bands" in (out / "results.md").read_text()


def test_a_model_may_embed_the_clips(scenes: Path, tmp_path: Path) -> None:
    rows = [
        (str(path.relative_to(scenes)), (f"{number % 2}",), None, None)
        for number, path in enumerate(sorted((scenes / "audio").iterdir())[:8])
    ]
    scan_files(scenes, rows).write(tmp_path / "clips.parquet")
    run = fit(
        FitConfig(
            data=tmp_path / "clips.parquet",
            run=tmp_path / "run",
            encoder=Component("ConvNet", {"width": 2, "embedding_dim": 4}),
            batches=Component("PKBatchSampler", {"classes_per_batch": 2, "clips_per_class": 2}),
            optimiser=OptimiserOptions(epochs=1, warmup_epochs=0),
            accelerator="cpu",
            threads=1,
            cache=tmp_path / "cache",
        )
    )
    out = tmp_path / "out"
    data = read_vectors(vectors_folder(scenes, out, model=str(run), sources=[SMALL]))
    assert data.splits["train"].vectors.shape == (28, 4)
    assert f"embeddings of {run}" in data.about


def test_a_folder_of_neither_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "rbl", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr().err
    assert "embeddings.parquet nor nsynth or tut-acoustic-scenes-2016" in shown


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.dataset))
def test_three_known_classes_of_each_coarse_one_and_new_ones_besides(source: Source) -> None:
    assert find_dataset(source.dataset).name == source.dataset
    known = Counter(label[0] for label in source.seen)
    assert list(known.values()) == [3, 3, 3]
    assert not set(source.seen) & set(source.unseen)
    assert {label[0] for label in source.unseen} == set(known)
