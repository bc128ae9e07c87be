"""The fan experiment: a fair draw, one recipe, every back end, tables that add up."""

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
from tonotopy.detection import NearestNeighbourScorer
from tonotopy.metrics import harmonic_mean, official_score, section_scores
from tonotopy.protocols._fan_data import TABLE, draw_clips, draw_references, read_fan_table
from tonotopy.protocols._fan_methods import AUXILIARY, METHODS, ONE_CLASS, tasks_of
from tonotopy.protocols._fan_scoring import BACK_ENDS, OWN
from tonotopy.protocols._fan_tables import GROUPS, compare_density, compare_groups
from tonotopy.protocols._fan_training import Recipe, auxiliary_classes, train_encoder
from tonotopy.protocols.fan_features_experiment import run_fan_features_experiment

SHORT = Recipe(epochs=1, batch_size=16)
FEATURES = 12


def make_frame(reference: int = 30, test: int = 8, seed: int = 0) -> pl.DataFrame:
    """Two fans at two ratios; an anomaly is the same recording shifted, less so in noise."""
    random = np.random.default_rng(seed)
    rows: list[tuple[Any, ...]] = []
    for section in ("id_00", "id_02"):
        centre = 5 * random.normal(size=FEATURES)
        for split, condition, count in (
            ("reference", "normal", reference),
            ("test", "normal", test),
            ("test", "anomaly", test),
        ):
            for number in range(count):
                sound = centre + random.normal(size=FEATURES)
                sound[0] += 12 * (condition == "anomaly")
                for ratio in (0, 6):
                    noise = random.normal(size=FEATURES) * (1.0 if ratio == 0 else 0.3)
                    name = f"{section}/{condition}/{split}{number:03}"
                    rows.append((section, ratio, condition, split, name, *(sound + noise)))
    columns = ["id", "snr_db", "condition", "split", "recording"]
    columns += [f"f{number:03}" for number in range(FEATURES)]
    return pl.DataFrame(rows, schema=columns, orient="row")


def write(folder: Path, frame: pl.DataFrame) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(folder / TABLE)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "data", make_frame())


@pytest.mark.parametrize("source", [0, 6])
def test_no_recording_is_reference_of_both_domains(data: Path, source: int) -> None:
    table = read_fan_table(data)
    drawn = draw_references(table, source, seed=3)
    assert drawn["recording"].n_unique() == len(drawn) == 60
    assert set(drawn["split"]) == {"reference"}
    for section in table.sections:
        own = drawn.filter(pl.col("id") == section)["snr_db"]
        assert (own != source).sum() == 10
        assert (own == source).sum() == 20
    assert draw_references(table, source, seed=3).equals(drawn)
    other = draw_references(table, source, seed=4)
    target = pl.col("snr_db") != source
    assert set(other.filter(target)["recording"]) != set(drawn.filter(target)["recording"])


def test_only_references_set_the_scale(data: Path, tmp_path: Path) -> None:
    table = read_fan_table(data)
    references, test = draw_clips(table, 0, seed=0)
    assert references.vectors.mean(dim=0).abs().max() < 1e-5
    assert (references.vectors.std(dim=0, correction=0) - 1).abs().max() < 1e-5
    assert len(test) == 2 * 2 * 2 * 8
    assert int(test.anomalous.sum()) == len(test) // 2
    assert int(test.target.sum()) == len(test) // 2
    moved = table.frame.with_columns(
        pl.when(pl.col("split") == "test").then(pl.col("f003") + 100).otherwise(pl.col("f003")),
        pl.lit(7.0).alias("f004"),
    )
    again = draw_clips(read_fan_table(write(tmp_path / "moved", moved)), 0, seed=0)
    assert torch.equal(again[0].vectors[:, 3], references.vectors[:, 3])
    assert (again[1].vectors[:, 3] - test.vectors[:, 3]).min() > 10
    assert (again[0].vectors[:, 4] == 0).all()  # a constant feature
    frame = table.frame.filter(pl.col("split") == "test")
    assert test.domains == ["source" if r == 0 else "target" for r in frame["snr_db"]]
    assert test.anomalous.tolist() == (frame["condition"] == "anomaly").to_list()


def test_the_classes_of_the_tasks(data: Path) -> None:
    references, _ = draw_clips(read_fan_table(data), 6, seed=0)
    assert (auxiliary_classes(references, "none") == 0).all()
    assert torch.equal(auxiliary_classes(references, "id"), references.sections)
    both = auxiliary_classes(references, "id+domain").tolist()
    assert sorted(set(both)) == [0, 1, 2, 3]
    assert [code % 2 == 1 for code in both] == references.target.tolist()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_repeats(data: Path, method: str) -> None:
    references, test = draw_clips(read_fan_table(data), 0, seed=0)
    state = torch.get_rng_state()
    for task in tasks_of(method):
        first, again = (train_encoder(references, method, task, SHORT, seed=1) for _ in range(2))
        other = train_encoder(references, method, task, SHORT, seed=2)
        embedded = first.embed(test.vectors)
        assert embedded.isfinite().all()
        assert torch.equal(embedded, again.embed(test.vectors))
        assert torch.equal(embedded, other.embed(test.vectors)) == (method == "raw")
        assert (first.accuracy is not None) == (
            method in AUXILIARY and method != "class-compactness"
        )
        assert (first.own_score is not None) == (method == "deep-svdd")
        # Rows do not depend on each other once trained.
        assert torch.allclose(first.embed(test.vectors[:3]), embedded[:3], atol=1e-5)
    assert torch.equal(torch.get_rng_state(), state)


def test_training_learns_its_task(data: Path) -> None:
    references, test = draw_clips(read_fan_table(data), 0, seed=0)
    recipe = Recipe(epochs=20, batch_size=16)
    for method in ("ce", "adacos", "arcface"):
        assert train_encoder(references, method, "id", recipe, seed=0).accuracy == 1.0

    def spread(method: str) -> float:
        embedded = train_encoder(references, method, "none", recipe, seed=0).embed(test.vectors)
        units = torch.nn.functional.normalize(embedded)
        return float((units - units.mean(dim=0)).square().sum(dim=1).mean())

    assert spread("one-class-compactness") < 0.2 * spread("untrained")
    svdd = train_encoder(references, "deep-svdd", "none", recipe, seed=0)
    assert svdd.own_score is not None
    scores = svdd.own_score(svdd.embed(test.vectors))
    assert scores.shape == (len(test),)
    assert (scores >= 0).all()


def test_both_directions_are_tabulated(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    methods = ["raw", "deep-svdd", "adacos"]
    result = run_fan_features_experiment(data, out, methods=methods, seeds=[0, 1], recipe=SHORT)
    trained = [("raw", "none"), ("deep-svdd", "none")]
    trained += [("adacos", task) for task in ("id", "id+domain")]
    rows = [(r["source_ratio"], r["method"], r["task"], r["back_end"]) for r in result["table"]]
    assert rows == [
        (ratio, *row, back_end)
        for ratio in (0, 6)
        for row in trained
        for back_end in (*BACK_ENDS, *([OWN] if row[0] == "deep-svdd" else []))
    ]
    for row in result["table"]:
        assert (row["runs"], row["target_ratio"]) == (2, 6 - row["source_ratio"])
        found = [
            trial["back_ends"][row["back_end"]]
            for trial in result["trials"]
            if [trial[k] for k in ("source_ratio", "method", "task")]
            == [row[k] for k in ("source_ratio", "method", "task")]
        ]
        for name in ("official", "auc_source", "auc_within_target", "pauc"):
            values = [f[name] for f in found]
            assert row["measures"][name]["mean"] == pytest.approx(sum(values) / 2)
            assert row["measures"][name]["sd"] == pytest.approx(np.std(values, ddof=1))
        assert math.isfinite(row["measures"]["false_alarms_source"]["mean"]) == (
            row["back_end"] in ("nn", "nn+ldn")
        )
    text = (out / "results.md").read_text()
    assert text.count("| adacos | id+domain |") == 2 * (1 + len(BACK_ENDS))
    assert "Source 6 dB, target 0 dB" in text
    assert json.loads((out / "results.json").read_text())["groups"] is not None


def test_a_trial_is_scored_section_by_section(data: Path, tmp_path: Path) -> None:
    result = run_fan_features_experiment(data, tmp_path / "out", methods=["raw"], seeds=[5])
    (trial,) = [t for t in result["trials"] if t["source_ratio"] == 6]
    assert trial["references"] == {"source": 40, "target": 20}
    references, test = draw_clips(read_fan_table(data), 6, seed=5)
    rows = []
    for section in (0, 1):
        own, asked = references.sections == section, test.sections == section
        domains = [d for d, kept in zip(references.domains, own.tolist(), strict=True) if kept]
        scorer = NearestNeighbourScorer().fit(references.vectors[own], domains)
        there = [d for d, kept in zip(test.domains, asked.tolist(), strict=True) if kept]
        scores = scorer.score(test.vectors[asked])
        rows.append(section_scores("fan", scores, test.anomalous[asked], there))
    found = trial["back_ends"]["nn"]
    assert found["official"] == pytest.approx(official_score(rows, 2023), abs=1e-12)
    assert found["auc_target"] == pytest.approx(harmonic_mean(r.auc_target for r in rows))
    assert [s["pauc"] for s in found["sections"]] == pytest.approx([r.pauc for r in rows])
    # Anomalies are far off: all of them are found, and few normal clips.
    assert found["official"] > 0.8
    assert found["false_alarms_source"] < 0.5


def trial_of(method: str, task: str, seed: int, score: float) -> dict[str, Any]:
    measures = dict.fromkeys(("official", "auc_source", "auc_target", "pauc"), score)
    back_ends = dict.fromkeys(BACK_ENDS, measures)
    return {"source_ratio": 0, "method": method, "task": task, "seed": seed, "back_ends": back_ends}


def test_groups_are_compared_at_the_same_seed() -> None:
    trials = [trial_of(m, "none", s, 0.5 + 0.1 * s) for m in ONE_CLASS for s in (0, 1)]
    trials += [trial_of("ce", "id", s, 0.6 + 0.1 * s) for s in (0, 1)]
    # Of seed 1 one angular margin loss is missing, so the group has no mean there.
    trials += [trial_of("arcface", "id", s, 0.9) for s in (0, 1)]
    trials += [trial_of("adacos", "id", 0, 0.7)]
    rows = {r["group"]: r for r in compare_groups(trials) if r["back_end"] == "nn"}
    assert list(rows) == list(GROUPS)
    gain = rows["cross-entropy, id"]["gains"]["official"]
    assert (gain["mean"], gain["sd"]) == pytest.approx((0.1, 0.0))
    margin = rows["angular margin, id"]
    assert margin["runs"] == 1
    assert margin["measures"]["pauc"]["mean"] == pytest.approx(0.8)
    assert margin["gains"]["pauc"]["mean"] == pytest.approx(0.3)
    assert rows["raw features"]["runs"] == 0
    assert math.isnan(rows["raw features"]["gains"]["pauc"]["mean"])


def test_density_is_compared_at_the_same_seed() -> None:
    trials = [trial_of("raw", "none", seed, 0.5) for seed in (0, 1)]
    for seed, trial in enumerate(trials):
        plain = {"official": 0.5, "auc_source": 0.6, "auc_target": 0.9, "pauc": 0.5}
        dense = {"official": 0.7 + 0.2 * seed, "auc_source": 0.8, "auc_target": 0.7, "pauc": 0.5}
        trial["back_ends"] = trial["back_ends"] | {"nn": plain, "nn+ldn": dense}
    row = compare_density(trials)[0]
    assert (row["back_end"], row["group"]) == ("nn", "raw features")
    assert row["official"]["mean"] == pytest.approx(0.5)
    assert row["official_gain"]["mean"] == pytest.approx(0.3)
    assert row["official_gain"]["sd"] == pytest.approx(0.2 / math.sqrt(2))
    assert row["gap"]["mean"] == pytest.approx(0.3)
    assert row["gap_gain"]["mean"] == pytest.approx(-0.2)


def test_finished_trials_are_kept(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_fan_features_experiment(
        data, out, methods=["adacos"], tasks=["id"], seeds=[0], recipe=SHORT
    )
    files = {file: file.stat().st_mtime_ns for file in (out / "trials").iterdir()}
    assert len(files) == 2
    result = run_fan_features_experiment(
        data, out, methods=["adacos", "raw", "raw"], seeds=[0, 0], recipe=SHORT
    )
    assert len(result["trials"]) == 6
    assert all(file.stat().st_mtime_ns == before for file, before in files.items())
    lost = next(iter(files))
    before = json.loads(lost.read_text())
    lost.unlink()
    run_fan_features_experiment(data, out, methods=["adacos"], seeds=[0], recipe=SHORT)
    after = json.loads(lost.read_text())
    del before["seconds"], after["seconds"]
    assert after == before
    with pytest.raises(UsageError, match=r"another experiment, whose recipe differ.*--out"):
        run_fan_features_experiment(data, out)
    other = write(tmp_path / "other", make_frame(seed=1))
    with pytest.raises(UsageError, match="whose features differ"):
        run_fan_features_experiment(other, out, recipe=SHORT)


def test_what_cannot_be_run_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no 'adacoss'; there are: raw, untrained"):
        run_fan_features_experiment(data, tmp_path / "out", methods=["adacoss"])
    with pytest.raises(UsageError, match="no method is trained"):
        run_fan_features_experiment(data, tmp_path / "out", methods=["raw"], tasks=["id"])
    with pytest.raises(UsageError, match=f"no {TABLE}"):
        read_fan_table(tmp_path)
    frame = make_frame()
    broken = {
        "condition": frame.drop("condition"),
        "f000": frame.select(n for n in frame.columns if n[0] != "f"),
    }
    for name, table in broken.items():
        with pytest.raises(UsageError, match=f"no column {name}"):
            read_fan_table(write(tmp_path / "broken", table))
    wrong = {
        "f002 to f011|f000 to f011 is not finite": frame.with_columns(f002=pl.lit(math.nan)),
        r"two values.*got \[0\]": frame.filter(pl.col("snr_db") == 0),
        "unexpected rows.*broken": frame.with_columns(condition=pl.lit("broken")),
        "id_00 at 0 dB has 5 clips of reference normal, needs at least 12": make_frame(5),
        "id_00 at 6 dB has 0 clips of test anomaly": frame.filter(
            (pl.col("snr_db") == 0) | (pl.col("condition") == "normal")
        ),
    }
    for message, table in wrong.items():
        with pytest.raises(DataError, match=message):
            read_fan_table(write(tmp_path / "broken", table))
    (tmp_path / "broken" / TABLE).write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot read"):
        read_fan_table(tmp_path / "broken")


def test_the_command(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    arguments = ["reproduce", "fan-features", "--data", str(data), "--out", out]
    arguments += ["--methods", "[raw, ce]", "--seeds", "1", "--epochs", "1"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "source 6 dB, target 0 dB" in shown
    assert "6 trials" in shown
    assert main([*arguments, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["trials"]) == 6


def test_the_real_table(shared_data: Path, tmp_path: Path) -> None:
    data = shared_data / "mimii_fan_features"
    if not data.is_dir():
        pytest.skip(f"{data} is not here")
    table = read_fan_table(data)
    assert table.sections == ("id_00", "id_02", "id_04", "id_06")
    assert (table.ratios, len(table.features)) == ((0, 6), 164)
    references, test = draw_clips(table, 0, seed=0)
    sizes = torch.bincount(references.sections[~references.target]).tolist()
    assert sizes == [787, 819, 811, 791]
    assert int(test.anomalous.sum()) == 1480
    trained = train_encoder(references, "ce", "id", Recipe(epochs=1), seed=0)
    assert trained.accuracy is not None
    assert trained.accuracy > 0.98  # the fans are told apart at once
