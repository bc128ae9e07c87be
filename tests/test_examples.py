"""The examples and the doctests run as they stand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tonotopy.protocols._rbl_data import read_vectors

ROOT = Path(__file__).resolve().parents[1]


def test_your_own_loop(tmp_path: Path, write_tone: Callable[..., Path]) -> None:
    for label, frequency in (("low", 300.0), ("high", 3000.0)):
        for number in range(6):
            path = tmp_path / "sounds" / label / f"{number}.wav"
            write_tone(path, seconds=0.3, frequency=frequency + 10 * number)
    command = [sys.executable, str(ROOT / "examples" / "your_own_loop.py"), "sounds"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "kNN accuracy" in done.stdout.splitlines()[-1]
    assert (tmp_path / "my-model" / "model.safetensors").is_file()


FROGS = {"Bufo": ("ToadA", "ToadB"), "Hyla": ("TreeA", "TreeB"), "Rana": ("PondA",)}
SIZES = (30, 12, 9, 2)


def test_frogs_keep_records_apart(tmp_path: Path) -> None:
    table = tmp_path / "Frogs.parquet"
    _write_frogs(table, SIZES)
    tested: list[str] = []
    for turn in ("1", "2", "3"):
        done = _frogs(table, tmp_path / turn, "--turn", turn, "--train", "10", "--tested", "5")
        assert done.returncode == 0, done.stderr
        frame = pl.read_parquet(tmp_path / turn / "embeddings.parquet")
        records = frame.with_columns(record=pl.col("name").str.split("_").list.first())
        assert (records.group_by("record").agg(pl.col("split").n_unique())["split"] == 1).all()
        assert set(frame.group_by("fine", "split").len()["split"]) == {"train", "val", "test"}
        sizes = frame.group_by("fine", "split").len().sort("fine", "split")
        assert sizes["len"].to_list() == [5, 10, 5] * 5
        tested += records.filter(pl.col("split") == "test")["record"].unique().to_list()

        train = read_vectors(tmp_path / turn).splits["train"].vectors
        np.testing.assert_allclose(train.mean(0), 0.0, atol=1e-9)
        np.testing.assert_allclose(train.std(0, correction=0), 1.0, atol=1e-3)
    assert sorted(map(int, tested)) == list(range(20))


def test_frogs_refuse_a_species_of_two_records(tmp_path: Path) -> None:
    _write_frogs(tmp_path / "Frogs.parquet", (9, 9))
    done = _frogs(tmp_path / "Frogs.parquet", tmp_path / "out")
    assert done.returncode == 1
    assert "has 2 records" in done.stderr
    assert not (tmp_path / "out").exists()


def _write_frogs(table: Path, sizes: tuple[int, ...]) -> None:
    """Write syllables of five species, the last first, with records of these sizes."""
    random = np.random.default_rng(0)
    species = [(family, name) for family, names in FROGS.items() for name in names]
    rows = [
        (family, name, len(sizes) * place + record)
        for place, (family, name) in enumerate(species)
        for record, size in enumerate(sizes)
        for _ in range(size)
    ]
    frame = pl.DataFrame(rows[::-1], schema=["Family", "Species", "RecordID"], orient="row")
    numbers = random.normal(3.0, 2.0, (len(frame), 4))
    frame.with_columns(
        pl.Series(f"MFCCs_{number}", column) for number, column in enumerate(numbers.T)
    ).write_parquet(table)


def _frogs(table: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "examples" / "frogs.py"), str(table), str(out), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "script", ["loading.py", "evaluation.py", "training_step.py", "tree_step.py"]
)
def test_benchmarks_explain_themselves(script: str) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / script), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "usage" in done.stdout
