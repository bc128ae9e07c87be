"""A log survives restarts and power cuts and never mixes columns."""

from __future__ import annotations

import json
import math
from pathlib import Path

import polars as pl
import pytest

from tonotopy._errors import UsageError
from tonotopy.detection import RowLog

COLUMNS = ["start", "decision", "score"]


def row(start: float, score: float | None = 0.5) -> dict[str, object]:
    return {"start": start, "decision": 'a "b", c', "score": score, "not logged": 1}


def test_rows_are_on_disk_at_once_and_a_log_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "made" / "log.csv"
    for start in range(3):
        with RowLog(path, COLUMNS) as log:
            log.write(row(start, None if start == 1 else 0.5))
            assert len(pl.read_csv(path)) == start + 1
    frame = pl.read_csv(path)
    assert frame.columns == COLUMNS
    assert frame["start"].to_list() == [0, 1, 2]
    assert frame["decision"][0] == 'a "b", c'
    assert frame["score"].to_list() == [0.5, None, 0.5]


def test_json_lines_hold_plain_json(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with RowLog(path, COLUMNS) as log:
        log.write(row(0.0, math.nan))
        log.write(row(1.0))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows[0] == {"start": 0.0, "decision": 'a "b", c', "score": None}
    assert rows[1]["score"] == 0.5


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
@pytest.mark.parametrize("rest", [1, 7, 9000])
def test_half_a_row_is_taken_away(tmp_path: Path, name: str, rest: int) -> None:
    path = tmp_path / name
    with RowLog(path, COLUMNS) as log:
        log.write(row(0.0))
    whole = path.read_bytes()
    path.write_bytes(whole + b"9" * rest)
    with RowLog(path, COLUMNS):
        assert path.read_bytes() == whole


def test_a_log_that_lost_even_its_header_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(b"start,deci")
    with RowLog(path, COLUMNS) as log:
        log.write(row(0.0))
    assert pl.read_csv(path).columns == COLUMNS


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_other_columns_are_refused_and_kept(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with RowLog(path, COLUMNS) as log:
        log.write(row(0.0))
    before = path.read_bytes()
    with pytest.raises(UsageError, match="other columns"):
        RowLog(path, ["start"])
    assert path.read_bytes() == before


def test_other_kinds_of_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must end in \.csv or \.jsonl"):
        RowLog(tmp_path / "log.parquet", COLUMNS)
