"""Files of scores and decisions: names of every year, what evaluators read, round trips."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tonotopy._errors import DataError, UsageError
from tonotopy.protocols.dcase_files import (
    file_name,
    read_decisions,
    read_scores,
    write_decisions,
    write_scores,
)

YEARS = (2020, 2021, 2022, 2023, 2024)


def clips(year: int) -> pl.DataFrame:
    """Clips of two machine types, not in order, with scores of many digits."""
    sections = ("id_05", "id_07") if year == 2020 else ("03", "04")
    rows = [
        (f"eval_data/{kind}/test/{section}_{domain}_{n:04}.wav", kind, section, domain)
        for n in (1, 0)
        for kind in ("ToyCar", "fan")
        for section in sections
        for domain in ("source", "target")
    ]
    frame = pl.DataFrame(
        rows, schema=["path", "machine_type", "section", "domain"], orient="row"
    ).sort("path", descending=True)
    scores = [(-1) ** row * math.pi * 10.0 ** (row - 8) for row in range(len(rows))]
    decisions = [row % 3 == 0 for row in range(len(rows))]
    return frame.with_columns(pl.Series("score", scores), pl.Series("decision", decisions))


@pytest.mark.parametrize(
    ("year", "section", "domain", "name"),
    [
        (2020, "id_05", None, "anomaly_score_ToyCar_id_05.csv"),
        (2021, "03", "source", "anomaly_score_ToyCar_section_03_source_test.csv"),
        (2021, "05", "target", "anomaly_score_ToyCar_section_05_target_test.csv"),
        (2022, "03", None, "anomaly_score_ToyCar_section_03_test.csv"),
        (2023, "00", "source", "anomaly_score_ToyCar_section_00_test.csv"),
        (2024, "00", None, "anomaly_score_ToyCar_section_00_test.csv"),
    ],
)
def test_names_are_those_of_the_year(
    year: int, section: str, domain: str | None, name: str
) -> None:
    assert file_name(year, "anomaly_score", "ToyCar", section, domain) == name
    if year > 2020:
        decisions = name.replace("anomaly_score", "decision_result")
        assert file_name(year, "decision_result", "ToyCar", section, domain) == decisions


@pytest.mark.parametrize(
    ("year", "section", "domain"),
    [(2020, "05", None), (2022, "id_05", None), (2023, "0", None), (2021, "03", None)],
)
def test_a_section_of_another_form_is_refused(year: int, section: str, domain: str | None) -> None:
    with pytest.raises(UsageError, match=f"no file of {year} for 'fan', section '{section}'"):
        file_name(year, "anomaly_score", "fan", section, domain)


def test_2020_has_no_decisions_and_2019_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="2020 took scores only"):
        write_decisions(tmp_path, 2020, clips(2020))
    with pytest.raises(UsageError, match="2020 took scores only"):
        read_decisions(tmp_path, 2020)
    with pytest.raises(UsageError, match="year must be 2020 to 2024, got 2019"):
        read_scores(tmp_path, 2019)


def expected(year: int, column: str) -> dict[tuple[Any, ...], Any]:
    return {
        (kind, section, domain if year == 2021 else None, Path(path).name): value
        for path, kind, section, domain, value in clips(year)
        .select("path", "machine_type", "section", "domain", column)
        .rows()
    }


@pytest.mark.parametrize("year", YEARS)
def test_scores_survive_bit_for_bit(year: int, tmp_path: Path) -> None:
    files = write_scores(tmp_path, year, clips(year))
    assert len(files) == (8 if year == 2021 else 4)
    assert sorted(tmp_path.iterdir()) == files
    found = {tuple(row[:4]): row[4] for row in read_scores(tmp_path, year).rows()}
    assert found == expected(year, "score")


@pytest.mark.parametrize("year", YEARS[1:])
def test_decisions_survive(year: int, tmp_path: Path) -> None:
    write_decisions(tmp_path, year, clips(year))
    found = {tuple(row[:4]): row[4] for row in read_decisions(tmp_path, year).rows()}
    assert found == expected(year, "decision")


def test_what_an_evaluator_reads(tmp_path: Path) -> None:
    """Read as the evaluators do: rows of two cells, sorted by name, a number in the second."""
    write_scores(tmp_path, 2023, clips(2023))
    write_decisions(tmp_path, 2023, clips(2023))
    for kind, convert in (("anomaly_score", float), ("decision_result", int)):
        text = (tmp_path / f"{kind}_fan_section_03_test.csv").read_text()
        lines = list(csv.reader(text.splitlines()))
        assert [line[0] for line in lines] == sorted(line[0] for line in lines)
        assert all(len(line) == 2 and line[0].endswith(".wav") for line in lines)
        assert len([convert(line[1]) for line in lines]) == 4
    assert text.endswith("\n")
    assert {line[1] for line in lines} <= {"0", "1"}


def test_scores_and_decisions_lie_side_by_side_and_older_files_are_replaced(
    tmp_path: Path,
) -> None:
    frame = clips(2024)
    write_scores(tmp_path, 2024, frame)
    write_decisions(tmp_path, 2024, frame)
    write_scores(tmp_path, 2024, frame.with_columns(score=pl.lit(1.5)))
    assert set(read_scores(tmp_path, 2024)["score"]) == {1.5}
    assert len(read_decisions(tmp_path, 2024)) == len(frame)


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_score_that_is_no_number_leaves_no_file(value: float | None, tmp_path: Path) -> None:
    frame = clips(2022)
    scores = pl.Series("score", [*frame["score"][1:], value], dtype=pl.Float64)
    with pytest.raises(DataError, match=r"the score of eval_data/.*wav is .*not a finite number"):
        write_scores(tmp_path, 2022, frame.with_columns(scores))
    assert not list(tmp_path.iterdir())


def test_two_clips_of_one_name_are_refused(tmp_path: Path) -> None:
    twice = clips(2022).with_columns(path=pl.lit("x/same.wav"))
    with pytest.raises(DataError, match=r"4 clips of anomaly_score_.*csv are called same\.wav"):
        write_scores(tmp_path, 2022, twice)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("column", ["path", "section", "score"])
def test_missing_columns_are_named(column: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"column '{column}'"):
        write_scores(tmp_path, 2022, clips(2022).drop(column))


def test_decisions_must_be_boolean(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'decision' must be there, Boolean"):
        write_decisions(tmp_path, 2022, clips(2022).with_columns(decision=pl.lit(1)))
    with pytest.raises(UsageError, match="'decision' must be there, Boolean"):
        write_decisions(tmp_path, 2022, clips(2022).drop("decision"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a.wav\n", "line 1 is not a file name and a score"),
        (b"a.wav,1,2\n", "line 1 is not a file name and a score"),
        (b"a.wav,1\n\nb.wav,high\n", "line 3 is not a file name and a score"),
        (b"a.wav,nan\n", "line 1 is not a file name and a score"),
        (b"a.wav,1\na.wav,2\n", r"line 2 names a\.wav again"),
        (b"\xff.wav,1\n", "it is not UTF-8"),
    ],
)
def test_damaged_files_are_refused(text: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "anomaly_score_fan_section_00_test.csv").write_bytes(text)
    with pytest.raises(DataError, match=rf"fan_section_00_test\.csv is damaged: {message}"):
        read_scores(tmp_path, 2023)


def test_a_decision_that_is_neither_0_nor_1_is_refused(tmp_path: Path) -> None:
    (tmp_path / "decision_result_fan_section_00_test.csv").write_text("a.wav,2\n")
    with pytest.raises(DataError, match="line 1 is not a file name and 0 or 1"):
        read_decisions(tmp_path, 2023)


def test_files_of_another_year_are_passed_over(tmp_path: Path) -> None:
    write_scores(tmp_path, 2020, clips(2020))
    with pytest.raises(UsageError, match=r"holds no anomaly_score_\.\.\.csv of 2023"):
        read_scores(tmp_path, 2023)
