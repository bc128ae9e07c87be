"""The experiment of the rank-based loss paper: resumable, honest about its data, table right."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from tonotopy._errors import DataError, UsageError
from tonotopy.cli import main
from tonotopy.losses import RankBasedLoss
from tonotopy.protocols._rbl_batches import shuffled_batches
from tonotopy.protocols._rbl_data import LabelledVectors, read_vectors
from tonotopy.protocols._rbl_measures import silhouettes
from tonotopy.protocols._rbl_training import train_layer
from tonotopy.protocols.rbl_experiment import (
    DISTANCES,
    INITIAL,
    METHODS,
    RECIPES,
    Recipe,
    run_rbl_experiment,
)

FINE = {"cat": "animal", "dog": "animal", "car": "machine", "fan": "machine"}
NEW = {"fox": "animal", "saw": "machine"}
SHORT = Recipe(epochs=3, learning_rate=1e-2)


def make_frame(seed: int = 0) -> pl.DataFrame:
    """Clusters of clusters: 6 clips a class to train, 4 to validate, 3 to test, 3 a new one."""
    random = np.random.default_rng(seed)
    centre = {coarse: 2 * random.normal(size=8) for coarse in ("animal", "machine")}
    own = {fine: centre[coarse] + random.normal(size=8) for fine, coarse in (FINE | NEW).items()}
    counts = [("train", FINE, 6), ("val", FINE, 4), ("test", FINE, 3), ("unseen", NEW, 3)]
    rows = [
        (f"{split}-{fine}-{number}", split, fine, coarse, *(own[fine] + random.normal(size=8)))
        for split, classes, count in counts
        for number in range(count)
        for fine, coarse in classes.items()
    ]
    columns = ["name", "split", "fine", "coarse", *(f"e{number:03}" for number in range(8))]
    return pl.DataFrame(rows, schema=columns, orient="row")


def write_frame(folder: Path, frame: pl.DataFrame) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(folder / "embeddings.parquet")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_frame(tmp_path / "data", make_frame())


def test_every_method_is_tabulated_on_known_and_new_classes(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run_rbl_experiment(data, out, seeds=[0, 1], recipe=SHORT)
    rows = [(row["split"], row["method"], row["distance"]) for row in result["table"]]
    trained = [(method, distance) for method in METHODS for distance in DISTANCES]
    expected = [(INITIAL, "cosine"), *trained]
    assert rows == [(split, *row) for split in ("test", "unseen") for row in expected]
    for row in result["table"]:
        assert row["runs"] == (1 if row["method"] == INITIAL else 2)
        values = {name: value["mean"] for name, value in row["measures"].items()}
        assert math.isnan(values.pop("knn_fine")) == (row["split"] == "unseen")
        assert all(math.isfinite(value) for value in values.values())
        assert values["silhouette"] == pytest.approx(
            (values["silhouette_fine"] + values["silhouette_coarse"]) / 2
        )
        trials = [
            {**trial["train"], **trial[row["split"]]}
            for trial in result["trials"]
            if (trial["method"], trial["distance"]) == (row["method"], row["distance"])
        ]
        for name in ("silhouette_coarse", "misplaced"):
            numbers = [trial[name] for trial in trials]
            assert row["measures"][name]["mean"] == pytest.approx(sum(numbers) / len(numbers))
    assert json.loads((out / "results.json").read_text())["clips"]["unseen"] == 6
    text = (out / "results.md").read_text()
    assert text.count("| rbl-released |") == 4
    assert "Fine classes not trained on" in text


def test_it_says_what_is_published(data: Path, tmp_path: Path) -> None:
    def published(recipe: Recipe, name: str) -> dict[str, str]:
        result = run_rbl_experiment(
            data, tmp_path / name, seeds=[0], distances=["cosine"], recipe=recipe
        )
        return {row["method"]: row["published"] for row in result["table"]}

    own = published(SHORT, "short")
    theirs = published(RECIPES["published"], "published")
    assert [own[m] for m in (INITIAL, "rbl-released", "rbl")] == ["yes", "loss", "no"]
    assert [theirs[m] for m in (INITIAL, "rbl-released", "rbl")] == ["yes", "yes", "training"]


def test_finished_trials_are_kept_and_the_rest_is_run(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    only: dict[str, Any] = {"methods": ["rbl"], "distances": ["cosine"], "recipe": SHORT}
    first = run_rbl_experiment(data, out, seeds=[0], **only)
    (file,) = (out / "trials").iterdir()
    before = file.stat().st_mtime_ns
    only["methods"] = ["rbl", "rbl"]  # naming one twice does not count it twice
    both = run_rbl_experiment(data, out, seeds=[0, 1], **only)
    assert file.stat().st_mtime_ns == before
    assert both["trials"][0] == first["trials"][0]
    assert [trial["seed"] for trial in both["trials"]] == [0, 1]
    file.unlink()
    again = run_rbl_experiment(data, out, seeds=[0], **only)["trials"][0]
    del again["training"]["seconds"], first["trials"][0]["training"]["seconds"]
    assert again == first["trials"][0]


def test_trials_of_other_data_or_another_recipe_are_not_mixed(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_rbl_experiment(data, out, methods=[INITIAL], recipe=SHORT)
    with pytest.raises(UsageError, match=r"recipe differ.*--out"):
        run_rbl_experiment(data, out, methods=[INITIAL], recipe=RECIPES["long"])
    other = write_frame(tmp_path / "other", make_frame(seed=1))
    with pytest.raises(UsageError, match=r"embeddings differ.*--out"):
        run_rbl_experiment(other, out, methods=[INITIAL], recipe=SHORT)


def test_tested_clips_have_no_part_in_the_training(data: Path, tmp_path: Path) -> None:
    tested = pl.col("split").is_in(["test", "unseen"])
    frame = make_frame()
    changed = frame.with_columns(
        pl.when(tested).then(-pl.col(c)).otherwise(c).alias(c) for c in frame.columns[4:]
    )
    other = write_frame(tmp_path / "other", changed)
    results = [
        run_rbl_experiment(folder, tmp_path / name, methods=["rbl"], seeds=[0], recipe=SHORT)
        for folder, name in ((data, "a"), (other, "b"))
    ]
    for one, two in zip(*(result["trials"] for result in results), strict=True):
        assert one["training"]["epoch"] == two["training"]["epoch"]
        assert one["train"] == two["train"]
        assert one["val"] == two["val"]
        assert one["test"] != two["test"]


def test_the_best_epoch_on_validation_clips_is_kept(data: Path) -> None:
    clips = read_vectors(data).splits
    batches, loss = shuffled_batches(clips["train"], 0), RankBasedLoss()

    def trained_for(epochs: int) -> float:
        recipe = Recipe(epochs, learning_rate=0.3)
        layer = train_layer(batches, clips["val"], loss, recipe, seed=0, name="")
        return silhouettes(layer.embed(clips["val"].vectors), clips["val"].codes).average

    scores = [trained_for(epochs) for epochs in range(1, 9)]
    assert scores == sorted(scores)  # the best so far never falls
    recipe = Recipe(8, learning_rate=0.3)
    layer = train_layer(batches, clips["val"], loss, recipe, seed=0, name="")
    assert layer.epoch == 1 + scores.index(max(scores))
    assert layer.epochs_run == 8


def test_patience_stops_when_the_best_epoch_lies_too_far_back() -> None:
    generator = torch.Generator().manual_seed(0)
    clips = LabelledVectors(
        torch.randn(16, 4, generator=generator, dtype=torch.float64),
        torch.tensor([[0, 1], [0, 2], [3, 4], [3, 5]] * 4),
    )
    layer = train_layer(
        # Nothing moves without a learning rate, so that the first epoch stays the best.
        shuffled_batches(clips, 0),
        clips,
        RankBasedLoss(),
        Recipe(50, 0.0, 5),
        seed=0,
        name="",
    )
    assert (layer.epoch, layer.epochs_run) == (1, 7)


@pytest.mark.parametrize(
    ("seed", "fine", "coarse", "knn"),
    [(0, -0.280299, 0.131278, (10, 12, 12, 21)), (2, -0.3703, -0.0875, (14, 12, 11, 13))],
)
def test_the_authors_script_is_repeated(
    seed: int, fine: float, coarse: float, knn: tuple[int, ...], shared_data: Path, tmp_path: Path
) -> None:
    """What their unmodified code gives on their scenes after `torch.manual_seed(seed)`."""
    result = run_rbl_experiment(
        shared_data / "tut2016_vggish",
        tmp_path,
        methods=["rbl-released"],
        distances=["cosine"],
        seeds=[seed],
        recipe=RECIPES["published"],
    )
    (trial,) = result["trials"]
    assert trial["test"]["silhouette_fine"] == pytest.approx(fine, abs=5e-5)
    assert trial["test"]["silhouette_coarse"] == pytest.approx(coarse, abs=5e-5)
    right = [round(30 * trial["test"][name]) for name in ("knn_fine", "knn_coarse")]
    assert (trial["k_fine"], trial["k_coarse"], *right) == knn


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda f: f.drop("coarse"), UsageError, "no column coarse"),
        (lambda f: f.drop(f.columns[4:]), UsageError, "e000"),
        (lambda f: f.filter(pl.col("split") != "val"), DataError, "split 'val'"),
        (
            lambda f: f.with_columns(fine=pl.when(pl.col("fine") != "cat").then("fine")),
            DataError,
            "is empty",
        ),
        (lambda f: f.with_columns(e003=pl.lit(float("nan"))), DataError, "not finite"),
        (
            lambda f: f.filter((pl.col("split") != "train") | (pl.col("fine") != "fan")),
            DataError,
            "machine/fan, which 'val' has",
        ),
        (
            lambda f: f.with_columns(fine=pl.col("fine").replace("fox", "cat")),
            DataError,
            "animal/cat of the split 'unseen' is trained on",
        ),
        (
            lambda f: f.filter((pl.col("split") != "test") | (pl.col("coarse") == "animal")),
            DataError,
            "1 coarse classes",
        ),
    ],
)
def test_a_table_that_cannot_be_used_says_why(
    change: Any, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        read_vectors(write_frame(tmp_path, change(make_frame())))


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "embeddings.parquet").write_bytes(b"no table")
    with pytest.raises(DataError, match=r"embeddings\.parquet"):
        read_vectors(tmp_path)


def test_the_command(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command = ["reproduce", "rbl", "--data", str(data), "--out", str(out), "--seeds", "1"]
    command += ["--methods", "[init-emb, rbl-released]", "--distances", "[cosine]"]
    assert main([*command, "--setting", "published"]) == 0
    shown = capsys.readouterr().out
    assert "2 trials, published setting; table in" in shown
    assert main([*command, "--setting", "published", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["trials"]) == 2
    assert main([*command, "--setting", "long"]) == 2
    assert "--out" in capsys.readouterr().err


def test_misuse_of_the_command(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--data", str(data), "--out", str(tmp_path / "out")]
    for arguments, message in (
        (["rbl", *given, "--methods", "[arc]"], "no method 'arc'; there are: init-emb, quadl"),
        (["rbl", *given, "--model", "runs/x"], "holds vectors already"),
        (["rlb", *given], "no experiment 'rlb'; there are: acl, add, asd, fan-features"),
        ([], "name the experiment"),
        (["--data", str(data)], "name the experiment"),
    ):
        assert main(["reproduce", *arguments]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("experiment", ["add", "rbl"])
def test_an_experiment_explains_itself(experiment: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["reproduce", experiment, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert f"usage: tonotopy reproduce {experiment}" in shown
    assert "--data" in shown
