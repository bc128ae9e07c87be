"""Anomalous sounds of machines: one model, several back ends, the evaluator's files, resuming."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import torch
from sklearn.metrics import roc_auc_score

from tonotopy._components import Component
from tonotopy._errors import DataError, UsageError
from tonotopy.cli import main
from tonotopy.clips import ClipTable
from tonotopy.datasets import load_dcase_task2
from tonotopy.protocols._asd_scores import (
    OFFICIAL,
    ScoredMachine,
    measure_part,
    score_machines,
    sum_scores,
    with_decisions,
)
from tonotopy.protocols._asd_tables import markdown
from tonotopy.protocols.asd_experiment import run_asd_experiment
from tonotopy.protocols.dcase_files import read_decisions, read_scores
from tonotopy.training import FitConfig, OptimiserOptions

NEAREST = Component("NearestNeighbourScorer")
MACHINES = {
    ("dev", "fan", "00"): 300.0,
    ("dev", "ToyCar", "00"): 900.0,
    ("eval", "bandsaw", "00"): 2700.0,
}


def _hum(path: Path, frequency: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    time = np.arange(4800) / 16000
    wave = 0.3 * np.sin(2 * np.pi * frequency * time) + 0.05 * random.standard_normal(len(time))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, 16000)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official layout of 2023 with three machine types; anomalies hum a fourth higher."""
    root = tmp_path_factory.mktemp("dcase2023")
    truth: dict[str, list[str]] = {}
    seed = 0
    for (part, kind, section), pitch in MACHINES.items():
        folder, listed, number = root / f"{part}_data" / kind, ["file_name,d1p,d1v"], 0
        for domain, count in (("source", 6), ("target", 2)):
            frequency = pitch * (1.06 if domain == "target" else 1.0)
            for n in range(count):
                name = f"section_{section}_{domain}_train_normal_{n:04}_vel_1.wav"
                _hum(folder / "train" / name, frequency, seed := seed + 1)
                listed.append(f"{kind}/train/{name},vel,1")
            for n, condition in enumerate(("normal", "anomaly") * 3):
                name = f"section_{section}_{domain}_test_{condition}_{n:04}_vel_1.wav"
                if part == "eval":
                    name = f"section_{section}_{number:04}.wav"
                    for what, bit in (("data", condition == "anomaly"), ("domain", count == 2)):
                        truth.setdefault(what, []).append(f"{name},{int(bit)}")
                    number += 1
                higher = 1.33 if condition == "anomaly" else 1.0
                _hum(folder / "test" / name, frequency * higher, seed := seed + 1)
        (folder / "attributes_00.csv").write_text("\n".join(listed) + "\n")
    for what, lines in truth.items():
        file = root / f"ground_truth_{what}" / "ground_truth_bandsaw_section_00_test.csv"
        file.parent.mkdir()
        file.write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def clips(layout: Path) -> ClipTable:
    return load_dcase_task2(layout, 2023)


@pytest.fixture(scope="module")
def base(layout: Path, tmp_path_factory: pytest.TempPathFactory) -> FitConfig:
    return FitConfig(
        data=layout,
        task="anomaly",
        front_end=Component("LogMel"),
        encoder=Component("ConvNet", {"width": 4, "embedding_dim": 8}),
        augmentations=[],
        batches=Component("ShuffledBatchSampler", {"batch_size": 8}),
        optimiser=OptimiserOptions(epochs=2, warmup_epochs=0),
        keep="last",
        accelerator="cpu",
        threads=1,
        cache=tmp_path_factory.mktemp("cache"),
    )


BACK_ENDS = ["k-means", "nearest/density"]
SEEDS = [3, 7]


@pytest.fixture(scope="module")
def finished(
    clips: ClipTable, base: FitConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """An experiment that has run to its end, and what it returned."""
    out = tmp_path_factory.mktemp("experiment")
    return out, run_asd_experiment(base, clips, 2023, out, back_ends=BACK_ENDS, seeds=SEEDS)


@pytest.fixture
def again(
    finished: tuple[Path, dict[str, Any]], clips: ClipTable, base: FitConfig, tmp_path: Path
) -> Callable[..., dict[str, Any]]:
    """A function that goes on with a copy of that experiment, which lies in `tmp_path / "out"`."""
    shutil.copytree(finished[0], tmp_path / "out")

    def run(table: ClipTable = clips, seeds: Sequence[int] = SEEDS) -> dict[str, Any]:
        out = tmp_path / "out"
        return run_asd_experiment(base, table, 2023, out, back_ends=BACK_ENDS, seeds=seeds)

    return run


def official(scores: pl.DataFrame, clips: ClipTable, part: str) -> Any:
    """The official score of 2023, from the evaluator's files and the truth, by scikit-learn."""
    frame = clips.frame.with_columns(name=pl.col("path").str.split("/").list.last())
    values = []
    for machine in sorted(set(frame.filter(pl.col("part") == part)["machine_type"])):
        own = scores.filter(pl.col("machine_type") == machine).join(
            frame.filter(pl.col("split") == "test", pl.col("machine_type") == machine), on="name"
        )
        truth, found = (own["condition"] == "anomaly").to_numpy(), own["score"].to_numpy()
        for domain in ("source", "target"):
            used = truth | (own["domain_right"] == domain).to_numpy()
            values.append(roc_auc_score(truth[used], found[used]))
        values.append(roc_auc_score(truth, found, max_fpr=0.1))
    return len(values) / sum(1 / value for value in values)


def test_the_whole_experiment(finished: tuple[Path, dict[str, Any]], clips: ClipTable) -> None:
    out, result = finished
    assert result["seeds"] == SEEDS
    assert result["notes"] == {}
    assert json.loads((out / "results.json").read_text()) == result
    assert (out / "results.md").read_text() == markdown(result)
    for name in BACK_ENDS:
        folder = out / "evaluator" / name.replace("/", "-")
        seeds = [read_scores(folder / f"seed-{seed}", 2023) for seed in SEEDS]
        ensemble = read_scores(folder / "ensemble", 2023)
        keys = ["machine_type", "section", "name"]
        summed = seeds[0].join(seeds[1], on=keys).join(ensemble, on=keys, suffix="_sum")
        assert len(summed) == len(ensemble) == 36
        torch.testing.assert_close(
            (summed["score"] + summed["score_right"]).to_torch(), summed["score_sum"].to_torch()
        )
        for part, machines in (("dev", {"fan/00", "ToyCar/00"}), ("eval", {"bandsaw/00"})):
            table = result["parts"][part][name]
            assert set(table) == {"all", *machines}
            each = [official(scores, clips, part) for scores in seeds]
            runs = table["all"]["runs"][OFFICIAL]
            assert runs["mean"] == pytest.approx(np.mean(each))
            assert runs["sd"] == pytest.approx(np.std(each, ddof=1))
            assert runs["n"] == 2
            together = table["all"]["ensemble"][OFFICIAL]
            assert together == pytest.approx(official(ensemble, clips, part))
        decided = read_decisions(folder / "ensemble", 2023).join(ensemble, on=keys)
        for _, own in decided.group_by("machine_type"):
            pairs = sorted(zip(own["score"], own["decision"], strict=True))
            assert [called for _, called in pairs] == sorted(called for _, called in pairs)


def test_only_official_training_clips_train(
    finished: tuple[Path, dict[str, Any]], clips: ClipTable
) -> None:
    trained = ClipTable.read(finished[0] / "seed-3" / "clips.parquet")
    train = trained.filter(pl.col("split") == "train")
    assert sorted(train.frame["path"]) == sorted(
        path for path in clips.frame["path"] if "/train/" in path
    )
    assert set(train.frame["part"]) == {"dev", "eval"}
    assert set(train.labels) == {
        (f"{kind}, {section}, vel_1, {domain}",)
        for _, kind, section in MACHINES
        for domain in ("source", "target")
    }
    assert set(trained.frame["split"]) == {"train", "test"}
    log = (finished[0] / "seed-3" / "logs" / "metrics.csv").read_text()
    assert "val/" not in log


def test_finished_models_are_kept_and_the_rest_is_trained(
    finished: tuple[Path, dict[str, Any]], again: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    model = tmp_path / "out" / "seed-3" / "model.safetensors"
    before = model.stat().st_mtime_ns
    shutil.rmtree(tmp_path / "out" / "seed-7")
    assert again() == finished[1]  # the seed gives the same weights
    assert model.stat().st_mtime_ns == before


def test_an_interrupted_embedding_goes_on(
    finished: tuple[Path, dict[str, Any]], again: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "out" / "seed-3" / "embeddings.parquet").unlink()
    assert again() == finished[1]


def test_one_model_has_no_spread_and_is_its_own_ensemble(
    again: Callable[..., dict[str, Any]],
) -> None:
    row = again(seeds=[3])["parts"]["dev"]["k-means"]["all"]
    assert math.isnan(row["runs"][OFFICIAL]["sd"])
    assert row["runs"][OFFICIAL]["n"] == 1
    assert row["ensemble"][OFFICIAL] == row["runs"][OFFICIAL]["mean"]


def test_without_ground_truth_the_evaluation_data_is_scored_only(
    finished: tuple[Path, dict[str, Any]],
    again: Callable[..., dict[str, Any]],
    clips: ClipTable,
    tmp_path: Path,
) -> None:
    unknown = pl.when((pl.col("part") != "eval") | (pl.col("split") == "train"))
    frame = clips.frame.with_columns(condition=unknown.then("condition"))
    result = again(ClipTable(frame, clips.root))
    out = tmp_path / "out"
    assert result["parts"]["eval"] == {}
    assert "evaluator's files are missing" in result["notes"]["eval"]
    assert "Bandsaw/00 has test clips of unknown condition" in (out / "results.md").read_text()
    assert result["parts"]["dev"] == finished[1]["parts"]["dev"]
    assert len(read_scores(out / "evaluator" / "k-means" / "seed-3", 2023)) == 36
    # The truth can come later: nothing is trained again for it.
    before = (out / "seed-3" / "model.safetensors").stat().st_mtime_ns
    assert again() == finished[1]
    assert (out / "seed-3" / "model.safetensors").stat().st_mtime_ns == before


def test_models_of_other_clips_are_refused(
    again: Callable[..., dict[str, Any]], clips: ClipTable
) -> None:
    with pytest.raises(UsageError, match=r"seed-3 is of other clips than .*--out"):
        again(clips.filter(pl.col("machine_type") != "fan"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"back_ends": ["nearset"]}, "no back end 'nearset'"),
        ({"back_ends": []}, "at least one back end"),
        ({"seeds": []}, "at least one back end and one seed"),
        ({"base": {"task": "classes", "losses": {}}}, "of the task anomaly"),
    ],
)
def test_wrong_use(
    changed: dict[str, Any], message: str, clips: ClipTable, base: FitConfig, tmp_path: Path
) -> None:
    base = replace(base, **changed.pop("base", {}))
    with pytest.raises(UsageError, match=message):
        run_asd_experiment(base, clips, 2023, tmp_path / "out", **changed)
    assert not (tmp_path / "out").exists()


def embedded(seed: int = 0) -> pl.DataFrame:
    """Two machines with 6 training and 4 test clips each, in no order."""
    random = np.random.default_rng(seed)
    rows = [
        (f"{machine}/{split}/{n}.wav", machine, split, ("source", "target")[n % 2])
        for machine in ("fan/00", "fan/01")
        for split, count in (("train", 6), ("test", 4))
        for n in range(count)
    ]
    frame = pl.DataFrame(rows, schema=["path", "machine", "split", "domain"], orient="row")
    vectors = random.standard_normal((len(rows), 5)).astype(np.float32)
    frame = frame.with_columns(pl.Series("embedding", vectors, dtype=pl.Array(pl.Float32, 5)))
    return frame.sample(fraction=1.0, shuffle=True, seed=seed)


def test_a_clip_is_compared_with_its_own_machine_only() -> None:
    frame = embedded()
    for name, machine in score_machines(frame, NEAREST).items():
        own = frame.filter(pl.col("machine") == name).sort("path")
        known = own.filter(pl.col("split") == "train")["embedding"].to_numpy()
        tested = own.filter(pl.col("split") == "test")
        assert machine.clips["path"].to_list() == tested["path"].to_list()
        for vector, score in zip(tested["embedding"].to_numpy(), machine.scores, strict=True):
            cosines = [v @ vector / np.linalg.norm(v) / np.linalg.norm(vector) for v in known]
            assert float(score) == pytest.approx((1 - max(cosines)) / 2, abs=1e-6)
        assert len(machine.calibration) == len(known)


def test_machines_without_test_clips_are_passed_over_and_without_training_refused() -> None:
    frame = embedded()
    untested = frame.filter(~((pl.col("machine") == "fan/01") & (pl.col("split") == "test")))
    assert set(score_machines(untested, NEAREST)) == {"fan/00"}
    untrained = frame.filter(~((pl.col("machine") == "fan/01") & (pl.col("split") == "train")))
    with pytest.raises(DataError, match="fan/01 has test clips, but 0 training clips"):
        score_machines(untrained, NEAREST)


def test_an_ensemble_sums_scores_and_calibration() -> None:
    models = [score_machines(embedded(seed), NEAREST) for seed in (1, 2, 3)]
    total = sum_scores(models)
    for name in total:
        scores = sum(model[name].scores for model in models)
        calibration = sum(model[name].calibration for model in models)
        torch.testing.assert_close(total[name].scores, scores)
        torch.testing.assert_close(total[name].calibration, calibration)
    fewer = score_machines(embedded().filter(pl.col("path") != "fan/00/test/0.wav"), NEAREST)
    with pytest.raises(UsageError, match="scored different clips"):
        sum_scores([models[0], fewer])


def test_decisions_are_above_the_conformal_threshold_of_their_machine() -> None:
    clips = pl.DataFrame({"path": [str(n) for n in range(4)]})
    machine = ScoredMachine(clips, torch.tensor([8.0, 8.5, 0.0, 9.0]), torch.arange(10.0))
    # Rank ceil(11 * 0.8) = 9 of 0 ... 9.
    frame = with_decisions({"fan": machine}, 0.2)
    assert frame["decision"].to_list() == [False, True, False, True]
    assert frame["score"].to_list() == [8.0, 8.5, 0.0, 9.0]


def scored(
    machine: str, year: int, conditions: Sequence[str | None], domains: Sequence[str | None]
) -> ScoredMachine:
    random = np.random.default_rng(len(machine) + year)
    bad = np.array([condition == "anomaly" for condition in conditions])
    scores = torch.from_numpy(random.standard_normal(len(bad)) + bad)
    clips = pl.DataFrame(
        {
            "path": [f"{machine}/{n}.wav" for n in range(len(bad))],
            "part": ["dev"] * len(bad),
            "condition": pl.Series(list(conditions), dtype=pl.String),
            "domain": pl.Series(list(domains), dtype=pl.String),
        }
    )
    return ScoredMachine(clips, scores, torch.zeros(2))


@pytest.mark.parametrize("year", [2020, 2021, 2022, 2024])
def test_the_measures_of_a_year(year: int) -> None:
    conditions, domains = ["normal", "anomaly"] * 20, ["source", "source", "target", "target"] * 10
    given = domains if year > 2020 else [None] * 40
    found = {name: scored(name, year, conditions, given) for name in ("a/0", "a/01", "pump/0")}
    rows, note = measure_part(found, "dev", year)
    assert note == ""
    assert set(rows) == {"all", *found}
    bad = np.array(conditions) == "anomaly"
    expected: dict[str, list[float]] = {}
    for name, machine in found.items():
        scores = machine.scores.numpy()
        of_domain = {d: np.array(domains) == d for d in ("source", "target")}
        if year == 2020:
            row = [roc_auc_score(bad, scores), roc_auc_score(bad, scores, max_fpr=0.1)]
        elif year == 2021:
            row = [
                roc_auc_score(bad[mask], scores[mask], max_fpr=limit)
                for limit in (None, 0.1)
                for mask in of_domain.values()
            ]
        else:
            used = [mask | bad for mask in of_domain.values()]
            row = [roc_auc_score(bad[mask], scores[mask]) for mask in used]
            row.append(roc_auc_score(bad, scores, max_fpr=0.1))
        expected[name] = row
        assert list(rows[name].values()) == pytest.approx(row)
    if year == 2020:
        by_type = [
            np.mean([np.mean(expected[n]) for n in ns]) for ns in (["a/0", "a/01"], ["pump/0"])
        ]
        total = np.mean(by_type)
    else:
        values = [value for row in expected.values() for value in row]
        total = len(values) / sum(1 / value for value in values)
    assert rows["all"][OFFICIAL] == pytest.approx(total)


def test_what_is_missing_for_the_official_score_is_said() -> None:
    found = {"fan/00": scored("fan/00", 2023, ["normal", "anomaly"] * 4, [None] * 8)}
    rows, note = measure_part(found, "dev", 2023)
    assert math.isnan(rows["all"][OFFICIAL])
    assert "fan/00 has no auc_source" in note
    assert 0 <= rows["fan/00"]["pAUC"] <= 1
    assert measure_part(found, "eval", 2023) == ({}, "there are no test clips")
    unknown = {"fan/00": scored("fan/00", 2023, ["normal", None], ["source", "target"])}
    rows, note = measure_part(unknown, "dev", 2023)
    assert rows == {}
    assert "unknown condition" in note


def test_tables_tell_models_from_their_ensemble() -> None:
    one = {"runs": {"AUC": {"mean": 0.75, "sd": 0.05, "n": 2}}, "ensemble": {"AUC": 0.8}}
    result = {
        "year": 2020,
        "seeds": [0, 1],
        "parts": {"dev": {"nearest": {"all": one, "fan/id_00": one}}, "eval": {}},
        "notes": {"eval": "there are no test clips"},
    }
    lines = markdown(result).splitlines()
    assert lines[0] == "# DCASE 2020 Task 2"
    assert lines[6:9] == [
        "| back end | AUC | AUC, ensemble |",
        "| --- | --- | --- |",
        "| nearest | 0.750 ± 0.050 | 0.800 |",
    ]
    assert "| fan/id_00 | 0.750 ± 0.050 | 0.800 |" in lines
    assert lines[-1] == "There are no test clips."


def test_the_command(layout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(
        "front_end: LogMel\n"
        "encoder: {class_path: ConvNet, init_args: {width: 2, embedding_dim: 4}}\n"
        "augmentations: []\nkeep: last\naccelerator: cpu\n"
        "optimiser: {epochs: 1, warmup_epochs: 0}\n"
        f"cache: {tmp_path / 'cache'}\n"
    )
    out = tmp_path / "out"
    options = ["--data", layout, "--year", 2023, "--out", out, "--config", config]
    command = ["reproduce", "asd", *map(str, options), "--seeds", "1", "--threads", "1"]
    assert main([*command, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["parts"]["dev"]) == {"k-means", "nearest"}
    assert main(command) == 0
    assert f"1 models; tables in {out / 'results.md'}" in capsys.readouterr().out
    assert main(["reproduce", "asd", "--data", str(layout), "--year", "2019"]) == 2
