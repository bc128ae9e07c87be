"""Probes of a random encoder on synthetic clips: what they measure, and what they refuse."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import torch

from tonotopy import AudioEmbedder
from tonotopy._errors import AudioError, DataError, UsageError
from tonotopy.clips import ClipTable
from tonotopy.metrics import CLIP_ACCURACIES
from tonotopy.protocols import ProbeOptions, probe_embedder
from tonotopy.training.config import SplitOptions

MakeEmbedder = Callable[..., AudioEmbedder]
QUICK = ProbeOptions(patch_seconds=0.5, shots=(1, 3), draws=4, curve_draws=3, bootstrap=50)


@pytest.fixture(scope="module")
def embedder(make_embedder: MakeEmbedder) -> AudioEmbedder:
    return make_embedder()


@pytest.fixture(scope="module")
def result(embedder: AudioEmbedder, sounds: ClipTable) -> dict[str, Any]:
    return probe_embedder(embedder, sounds, QUICK)


def test_counts_clips_and_patches(result: dict[str, Any], sounds: ClipTable) -> None:
    assert result["classes"] == ["high", "low", "middle"]
    assert result["clips"] == {"train": 18, "val": 6, "test": 12}
    # Clips of 1.25 s hold four patches of 0.5 s, half of one apart; the short ones are one patch.
    short = sounds.frame["seconds"] < 0.5
    tests = sounds.frame["split"] == "test"
    assert result["patches"]["test"] == 4 * int((tests & ~short).sum()) + int((tests & short).sum())


def test_pitches_are_told_apart_and_every_accuracy_has_an_interval(result: dict[str, Any]) -> None:
    for method in ("linear", "knn"):
        found = result[method]["accuracy"]
        assert list(found) == list(CLIP_ACCURACIES)
        assert found["accuracy_clip_micro"]["value"] > 0.8
        for entry in found.values():
            assert 0 <= entry["low"] <= entry["value"] <= entry["high"] <= 1
        assert result[method]["chosen_on"] == "validation clips"
        assert len(result[method]["tried"]) == len(result[method]["tried_val_accuracy_clip_macro"])
    assert np.sum(result["linear"]["confusion"]) == 12
    assert result["finetune"] is None


def test_learning_curves_end_at_the_probe_itself(result: dict[str, Any]) -> None:
    for method in ("linear", "knn"):
        rows = result["learning_curves"][method]
        assert [row["clips_per_class"] for row in rows] == [1, 2, 4, 6]
        assert [row["draws"] for row in rows] == [3, 3, 3, 1]
        assert rows[-1]["clips"] == 18
        for name in CLIP_ACCURACIES:
            whole = result[method]["accuracy"][name]["value"]
            assert rows[-1]["accuracy"][name]["mean"] == pytest.approx(whole)


def test_few_shot_gives_the_spread_over_draws(result: dict[str, Any]) -> None:
    for method in ("centroid", "linear"):
        rows = result["few_shot"][method]
        assert [row["clips_per_class"] for row in rows] == [1, 3]
        assert [row["clips"] for row in rows] == [3, 9]
        for row in rows:
            entry = row["accuracy"]["accuracy_clip_micro"]
            assert entry["low"] <= entry["mean"] <= entry["high"]
        assert rows[1]["accuracy"]["accuracy_clip_macro"]["mean"] > 0.7


def test_the_same_call_gives_the_same_numbers(
    result: dict[str, Any], embedder: AudioEmbedder, sounds: ClipTable
) -> None:
    # In training mode, with other random numbers, and in another order of the clips.
    torch.manual_seed(7)
    again = probe_embedder(embedder.train(), sounds, QUICK)
    embedder.eval()
    assert {**again, "tonotopy": 0} == {**result, "tonotopy": 0}


def test_the_model_is_left_as_it_is(sounds: ClipTable, make_embedder: MakeEmbedder) -> None:
    embedder = make_embedder()
    before = {name: value.clone() for name, value in embedder.state_dict().items()}
    probe_embedder(embedder.train(), sounds, QUICK)
    assert embedder.training
    for name, value in embedder.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_test_labels_choose_nothing(
    result: dict[str, Any], embedder: AudioEmbedder, sounds: ClipTable
) -> None:
    """With the labels of the test clips exchanged the same settings are chosen."""
    turned = {"low": "middle", "middle": "high", "high": "low"}
    labels = [
        [turned[label[0]]] if split == "test" else list(label)
        for label, split in zip(sounds.labels, sounds.frame["split"], strict=True)
    ]
    other = probe_embedder(embedder, sounds.with_columns(pl.Series("label", labels)), QUICK)
    for method, chosen in (("linear", "penalty"), ("knn", "k")):
        assert other[method][chosen] == result[method][chosen]
        assert other[method]["accuracy"]["accuracy_clip_micro"]["value"] < 0.2


class CountingEmbedder(AudioEmbedder):
    """Counts what it embeds."""

    count = 0

    def embed(self, clips: Any, **options: Any) -> torch.Tensor:
        self.count += len(clips)
        return super().embed(clips, **options)


def test_nothing_is_embedded_twice(
    sounds: ClipTable,
    make_embedder: MakeEmbedder,
    tmp_path: Path,
    result: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tonotopy.protocols._probe_patches.SHARD", 5)
    half = sounds.filter([row % 5 > 0 for row in range(len(sounds))])
    plain = make_embedder()
    embedder = CountingEmbedder(plain.front_end, plain.encoder).eval()
    probe_embedder(embedder, half, QUICK, folder=tmp_path)
    first = embedder.count
    assert first > 0
    # What was interrupted goes on: only the other half is embedded.
    whole = probe_embedder(embedder, sounds, QUICK, folder=tmp_path)
    total = sum(result["patches"].values())
    assert embedder.count == total
    assert whole["linear"] == result["linear"]
    probe_embedder(embedder, sounds, QUICK, folder=tmp_path)
    assert embedder.count == total
    # Other weights or other patches are other embeddings.
    other = make_embedder(seed=1)
    assert probe_embedder(other, sounds, QUICK, folder=tmp_path)["linear"] != result["linear"]
    longer = ProbeOptions(methods=("knn",), patch_seconds=1.0, bootstrap=10)
    probe_embedder(embedder, sounds, longer, folder=tmp_path)
    assert embedder.count > total


def test_random_shares_and_folds(embedder: AudioEmbedder, sounds: ClipTable) -> None:
    plain = ClipTable(sounds.frame.drop("split"), sounds.root)
    knn = ProbeOptions(methods=("knn",), patch_seconds=0.5, bootstrap=10)
    drawn = probe_embedder(embedder, plain, knn)
    assert drawn["split_by"] == "shares drawn with seed 0"
    assert all(drawn["clips"].values())
    folds = sounds.with_columns(pl.Series("fold", [str(row % 3) for row in range(len(sounds))]))
    named = ProbeOptions(
        methods=("knn",),
        patch_seconds=0.5,
        bootstrap=10,
        split=SplitOptions(test_fold="0", val_fold="1"),
    )
    found = probe_embedder(embedder, folds, named)
    assert found["split_by"] == "folds: test 0, val 1"
    assert found["clips"] == {"train": 12, "val": 12, "test": 12}


def test_without_validation_clips_defaults_are_taken_and_told(
    embedder: AudioEmbedder, sounds: ClipTable
) -> None:
    found = probe_embedder(embedder, sounds.filter(pl.col("split") != "val"), QUICK)
    assert found["linear"]["penalty"] == 0.01
    assert found["knn"]["k"] == 10
    assert "default" in found["linear"]["chosen_on"]
    assert found["clips"]["val"] == 0


def test_two_classes(embedder: AudioEmbedder, sounds: ClipTable) -> None:
    pair = sounds.filter([label != ("middle",) for label in sounds.labels])
    found = probe_embedder(embedder, pair, QUICK)
    assert found["classes"] == ["high", "low"]
    assert found["linear"]["accuracy"]["accuracy_clip_micro"]["value"] > 0.8


def test_classes_that_cannot_be_learnt_are_left_out_and_told(
    embedder: AudioEmbedder, sounds: ClipTable
) -> None:
    lost = [
        label == ("middle",) and split == "train"
        for label, split in zip(sounds.labels, sounds.frame["split"], strict=True)
    ]
    found = probe_embedder(embedder, sounds.filter([not row for row in lost]), QUICK)
    assert found["classes"] == ["high", "low"]
    assert found["clips"]["test"] == 8
    assert found["cautions"] == [
        "1 class is left out with all its clips, for lack of training clips: middle."
    ]


def test_repeated_audio_and_missing_labels_are_told(
    embedder: AudioEmbedder, sounds: ClipTable
) -> None:
    frame = sounds.frame
    twin = frame.filter(pl.col("split") == "train").head(2).with_columns(split=pl.lit("test"))
    blank = frame.head(1).with_columns(label=pl.lit([], dtype=pl.List(pl.String)))
    table = ClipTable(pl.concat([frame, twin, blank]), sounds.root)
    knn = ProbeOptions(methods=("knn",), patch_seconds=0.5, bootstrap=10)
    assert probe_embedder(embedder, table, knn)["cautions"] == [
        "1 clip is left out for lack of a complete label.",
        "2 test clips are of the same audio as a training clip.",
    ]


def test_labels_that_do_not_suffice(embedder: AudioEmbedder, sounds: ClipTable) -> None:
    none = sounds.with_columns(pl.Series("label", [[]] * len(sounds), dtype=pl.List(pl.String)))
    with pytest.raises(DataError, match="no clip has a label"):
        probe_embedder(embedder, none, QUICK)
    one = sounds.filter([label == ("low",) for label in sounds.labels])
    with pytest.raises(DataError, match="at least two classes, only 'low' has"):
        probe_embedder(embedder, one, QUICK)
    with pytest.raises(DataError, match="none has"):
        probe_embedder(embedder, sounds.filter(pl.col("split") != "train"), QUICK)
    with pytest.raises(UsageError, match="no clip is kept for the test"):
        probe_embedder(embedder, sounds.filter(pl.col("split") != "test"), QUICK)
    strange = sounds.with_columns(pl.Series("split", ["dev"] * len(sounds)))
    with pytest.raises(UsageError, match="'dev'"):
        probe_embedder(embedder, strange, QUICK)


def test_a_table_that_does_not_match_its_audio(
    embedder: AudioEmbedder, make_sounds: Callable[..., ClipTable], tmp_path: Path
) -> None:
    clips = make_sounds(tmp_path / "sounds", clips=6)
    victim = clips.paths[0]
    kept = tmp_path / "kept.wav"
    shutil.copy(victim, kept)
    soundfile.write(victim, np.zeros(8000, dtype=np.float32), 8000)
    with pytest.raises(AudioError, match="changed"):
        probe_embedder(embedder, clips, QUICK)
    victim.unlink()
    with pytest.raises(AudioError, match=victim.name):
        probe_embedder(embedder, clips, QUICK)


def test_an_embedding_that_is_not_finite_names_its_clip(
    sounds: ClipTable, make_embedder: MakeEmbedder
) -> None:
    embedder = make_embedder()
    with torch.no_grad():
        next(embedder.encoder.parameters()).fill_(float("nan"))
    with pytest.raises(DataError, match=r"\.wav: the model's embedding holds NaN"):
        probe_embedder(embedder, sounds, QUICK)


def test_options_are_checked() -> None:
    with pytest.raises(UsageError, match="not 'forest'"):
        ProbeOptions(methods=("forest",))  # type: ignore[arg-type]  # what a user may type
    with pytest.raises(UsageError, match="--methods needs"):
        ProbeOptions(methods=())
    with pytest.raises(UsageError, match="--draws"):
        ProbeOptions(draws=0)
    with pytest.raises(UsageError, match="--shots"):
        ProbeOptions(shots=())
