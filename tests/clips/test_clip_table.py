"""The table: round trip, filters, duplicates, and the summary."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tonotopy._errors import DataError, UsageError
from tonotopy.clips import ClipTable, duplicates, load_clips, scan, scan_files, summarise
from tonotopy.clips.table import CLIP_SCHEMA

Tone = Callable[..., Path]


@pytest.fixture
def data(tmp_path: Path, write_tone: Tone) -> Path:
    """Two families; one file under two labels, one copied within its label, two bad files."""
    folder = tmp_path / "data"
    for number, name in enumerate(("a/x/1.wav", "a/x/2.wav", "a/y/3.wav", "b/4.wav", "5.wav")):
        write_tone(folder / name, seconds=0.5, sample_rate=8000, frequency=200 + 50 * number)
    write_tone(folder / "b" / "6.flac", seconds=1.0, sample_rate=16000, channels=2)
    shutil.copy(folder / "a/x/1.wav", folder / "b/same as 1.wav")
    shutil.copy(folder / "a/x/2.wav", folder / "a/x/copy of 2.wav")
    (folder / "b" / "empty.wav").touch()
    (folder / "b" / "text.wav").write_text("text")
    (folder / "b" / "notes.txt").touch()
    return folder


def same(a: ClipTable, b: ClipTable) -> bool:
    return (
        a.frame.equals(b.frame)
        and a.quarantine.equals(b.quarantine)
        and a.root == b.root
        and dict(a.ignored) == dict(b.ignored)
    )


def test_write_and_read_give_the_same_table(data: Path, tmp_path: Path) -> None:
    table = scan(data)
    table.write(tmp_path / "out" / "clips.parquet")
    assert same(ClipTable.read(tmp_path / "out" / "clips.parquet"), table)


def test_a_written_table_is_data_to_scan(data: Path, tmp_path: Path) -> None:
    table = scan(data)
    table.write(tmp_path / "clips.parquet")
    assert same(scan(tmp_path / "clips.parquet"), table)
    assert same(load_clips(tmp_path / "clips.parquet"), table)
    with pytest.raises(UsageError, match="earlier scan: --label_columns"):
        scan(tmp_path / "clips.parquet", label_columns=["label"])
    shutil.rmtree(data)
    with pytest.raises(DataError, match="which is not there now"):
        scan(tmp_path / "clips.parquet")
    assert same(ClipTable.read(tmp_path / "clips.parquet"), table)


def test_other_files_are_no_clip_tables(tmp_path: Path) -> None:
    pl.DataFrame({"path": ["a"]}).write_parquet(tmp_path / "other.parquet")
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="not a clip table"):
        ClipTable.read(tmp_path / "other.parquet")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        ClipTable.read(tmp_path / "damaged.parquet")
    with pytest.raises(UsageError, match="tonotopy scan"):
        ClipTable.read(tmp_path / "missing.parquet")


def test_a_newer_format_is_refused(data: Path, tmp_path: Path) -> None:
    about = {"tonotopy.clips": json.dumps({"format": 99})}
    scan(data).frame.write_parquet(tmp_path / "clips.parquet", metadata=about)
    with pytest.raises(DataError, match="newer version"):
        ClipTable.read(tmp_path / "clips.parquet")


def test_columns_are_checked(tmp_path: Path) -> None:
    frame = pl.DataFrame(schema=CLIP_SCHEMA)
    with pytest.raises(UsageError, match="no column 'content'"):
        ClipTable(frame.drop("content"), tmp_path)
    with pytest.raises(UsageError, match=r"'seconds' .* must be Float64, got String"):
        ClipTable(frame.with_columns(pl.col("seconds").cast(pl.String)), tmp_path)


def test_an_empty_table_has_everything(tmp_path: Path) -> None:
    table = ClipTable(pl.DataFrame(schema=CLIP_SCHEMA), tmp_path)
    assert (len(table), table.paths, table.labels, table.tree.num_nodes) == (0, [], [], 0)
    summary = summarise(table)
    assert (summary["clips"], summary["hours"], summary["labels"]) == (0, 0, [])


def test_filters_keep_rows_root_and_quarantine(data: Path) -> None:
    table = scan(data)
    split = pl.Series("split", ["train", "val"] * (len(table) // 2))
    marked = table.with_columns(split)
    assert "split" not in table.frame.columns
    by_expression = marked.filter(pl.col("split") == "val")
    by_list = marked.filter([name == "val" for name in split])
    assert same(by_expression, by_list)
    assert same(by_expression, marked.filter(split == "val"))
    assert by_expression.paths == table.paths[1::2]
    assert by_expression.quarantine.equals(table.quarantine)


def test_further_columns_survive_a_round_trip(data: Path, tmp_path: Path) -> None:
    table = scan(data)
    table.with_columns(pl.Series("split", ["train"] * len(table))).write(tmp_path / "c.parquet")
    assert ClipTable.read(tmp_path / "c.parquet").frame["split"].to_list() == ["train"] * len(table)


def test_the_tree_is_of_the_labels(data: Path) -> None:
    table = scan(data)
    assert table.tree.leaf_names == ("a/x", "a/y", "b")
    assert table.tree.decode(table.tree.encode(table.labels)) == table.labels


def test_duplicates_are_equal_content_under_contradicting_labels(data: Path) -> None:
    found = duplicates(scan(data))
    assert found.select("path", "label").rows() == [
        ("a/x/1.wav", ["a", "x"]),
        ("b/same as 1.wav", ["b"]),
    ]
    assert found["content"].n_unique() == 1


def test_a_label_that_stops_early_does_not_contradict(data: Path) -> None:
    same_file = [("a/x/1.wav", label, None, None) for label in (["a"], ["a", "x"], [])]
    assert len(duplicates(scan_files(data, same_file))) == 0
    fork = [("a/x/1.wav", label, None, None) for label in (["a"], ["a", "x"], ["a", "y"])]
    assert len(duplicates(scan_files(data, fork))) == 3


def test_scan_files_takes_labels_folds_and_groups_as_given(data: Path) -> None:
    rows = [("b/4.wav", ("q", "r"), "2", "g"), ("a/x/1.wav", (), None, None)]
    table = scan_files(data, [*rows, ("gone.wav", ("q",), None, None)])
    assert table.frame.select("path", "label", "fold", "group").rows() == [
        ("a/x/1.wav", [], None, None),
        ("b/4.wav", ["q", "r"], "2", "g"),
    ]
    assert table.quarantine.select("path", "reason").rows() == [("gone.wav", "unreadable")]
    with pytest.raises(DataError, match=r"1 unreadable .*gone\.wav"):
        scan_files(data, [("gone.wav", (), None, None)])


def test_the_summary_counts_everything(data: Path) -> None:
    summary = summarise(scan(data))
    assert summary["clips"] == 8
    assert summary["hours"] == pytest.approx((7 * 0.5 + 1.0) / 3600)
    assert summary["unlabelled"] == 1
    assert summary["copies"] == 2
    assert summary["sample_rates"] == {"8000": 7, "16000": 1}
    assert summary["channels"] == {"1": 7, "2": 1}
    assert summary["labels"] == [
        {"path": ["a"], "clips": 4},
        {"path": ["a", "x"], "clips": 3},
        {"path": ["a", "y"], "clips": 1},
        {"path": ["b"], "clips": 3},
    ]
    assert [row["path"] for row in summary["duplicates"]] == ["a/x/1.wav", "b/same as 1.wav"]
    assert [row["reason"] for row in summary["quarantined"]] == ["empty", "corrupt"]
    assert summary["ignored"] == {".txt": 1}


def test_the_summary_is_json(data: Path) -> None:
    summary = summarise(scan(data))
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
