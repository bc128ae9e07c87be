"""Scanning CSV and Parquet tables: columns told or guessed, encodings, and missing values."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from tonotopy._errors import DataError, UsageError
from tonotopy.clips import ClipTable, scan, split_clips
from tonotopy.clips._columns import ColumnOptions, choose_columns
from tonotopy.clips.table import CLIP_SCHEMA

Tone = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path, write_tone: Tone) -> Path:
    for name in ("a.wav", "b.wav", "sub/c.wav"):
        write_tone(tmp_path / name, seconds=0.1)
    return tmp_path


def rows(table: ClipTable) -> list[tuple[str, tuple[str, ...]]]:
    return list(zip(table.frame["path"], table.labels, strict=True))


def write(folder: Path, text: str, encoding: str = "utf-8", name: str = "clips.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


EXPECTED = [("a.wav", ("dög",)), ("b.wav", ("cat",)), ("sub/c.wav", ("dög",))]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_separators_encodings_and_line_ends(
    folder: Path, separator: str, encoding: str, newline: str
) -> None:
    lines = [("path", "label"), *((path, *label) for path, label in EXPECTED)]
    text = newline.join(separator.join(line) for line in lines) + newline
    assert rows(scan(write(folder, text, encoding))) == EXPECTED


def test_parquet_holds_the_same(folder: Path) -> None:
    paths, labels = zip(*((path, label[0]) for path, label in EXPECTED), strict=True)
    pl.DataFrame({"path": paths, "label": labels}).write_parquet(folder / "t.parquet")
    assert rows(scan(folder / "t.parquet")) == EXPECTED


def test_a_list_column_holds_whole_label_paths(folder: Path) -> None:
    frame = pl.DataFrame({"path": ["a.wav", "b.wav"], "label": [["x", "y"], None]})
    frame.write_parquet(folder / "t.parquet")
    assert scan(folder / "t.parquet").labels == [("x", "y"), ()]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_labels_are_text_whatever_they_look_like(folder: Path, suffix: str) -> None:
    frame = pl.DataFrame({"path": ["a.wav", "b.wav"], "big": [1, 2], "small": [True, None]})
    table = folder / f"t{suffix}"
    frame.write_csv(table) if suffix == ".csv" else frame.write_parquet(table)
    assert scan(table, label_columns=["big", "small"]).labels == [("1", "true"), ("2",)]


def test_leading_zeros_and_quoted_separators_survive(folder: Path) -> None:
    table = write(folder, 'path,label\na.wav,007\nb.wav,"Rain, heavy"\nsub/c.wav,"say ""hi"""\n')
    assert scan(table).labels == [("007",), ("Rain, heavy",), ('say "hi"',)]


def test_several_label_columns_stop_at_the_first_missing(folder: Path) -> None:
    table = write(folder, "path,family,kind\na.wav,bird,owl\nb.wav,bird,\nsub/c.wav,,\n")
    found = scan(table, label_columns=["family", "kind"])
    assert found.labels == [("bird", "owl"), ("bird",), ()]
    assert scan(table, label_columns="kind").labels == [("owl",), (), ()]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".list"])
@pytest.mark.parametrize("hole", [["bird", None, "tawny"], [None, "owl", None], ["bird", " ", "x"]])
def test_a_label_behind_an_empty_one_names_the_row(
    folder: Path, suffix: str, hole: list[str | None]
) -> None:
    labels = [["bird", "owl", "tawny"], ["bird", "owl", None], hole]
    files = ["a.wav", "b.wav", "sub/c.wav"]
    columns = ["family", "genus", "kind"]
    if suffix == ".list":
        table = folder / "t.parquet"
        pl.DataFrame({"path": files, "label": labels}).write_parquet(table)
    else:
        table = folder / f"t{suffix}"
        cells = dict(zip(columns, zip(*labels, strict=True), strict=True))
        frame = pl.DataFrame({"path": files, **cells})
        frame.write_csv(table) if suffix == ".csv" else frame.write_parquet(table)
    with pytest.raises(DataError, match=r"row 3: the label '(tawny|owl|x)' follows an empty one"):
        scan(table, label_columns=None if suffix == ".list" else columns)


def test_one_fine_name_under_two_parents_is_two_classes(folder: Path) -> None:
    table = write(folder, "path,family,kind\na.wav,bird,other\nb.wav,frog,other\n")
    tree = scan(table, label_columns=["family", "kind"]).tree
    assert tree.leaf_names == ("bird/other", "frog/other")
    assert tree.leaf_index([("bird", "other"), ("frog", "other")]).tolist() == [0, 1]


def test_no_labels_on_request(folder: Path) -> None:
    assert scan(write(folder, "path,x\na.wav,1\n"), label_columns=[]).labels == [()]


def test_a_table_of_paths_alone(folder: Path) -> None:
    assert len(scan(write(folder, "file\na.wav\nb.wav\n"), label_columns=[])) == 2


def test_fold_and_group_are_guessed_or_told(folder: Path) -> None:
    text = "path,label,Fold,group,site\na.wav,x,1,r1,s\nb.wav,x,,r2,s\n"
    table = write(folder, text)
    guessed = scan(table).frame
    assert guessed.select("fold", "group").rows() == [("1", "r1"), (None, "r2")]
    assert scan(table, group_column="site").frame["group"].to_list() == ["s", "s"]


@pytest.mark.parametrize(
    ("names", "path", "label"),
    [
        (["label", "path"], "path", "label"),
        (["File Name", "Class"], "File Name", "Class"),
        (["filename", "fold", "target", "category", "esc10"], "filename", "category"),
        (["slice_file_name", "fsID", "fold", "classID", "class"], "slice_file_name", "class"),
        (["fname", "label", "manually_verified"], "fname", "label"),
        (["audio", "file", "species"], "file", "species"),
    ],
)
def test_columns_of_known_data_sets_are_guessed(names: list[str], path: str, label: str) -> None:
    columns = choose_columns(names, ColumnOptions(), "t.csv")
    assert (columns.path, columns.labels) == (path, (label,))


def test_what_cannot_be_guessed_is_asked_for(folder: Path) -> None:
    table = write(folder, "path,family,instrument\na.wav,x,y\n")
    with pytest.raises(UsageError, match=r"--label_columns.*path, family, instrument"):
        scan(table)
    with pytest.raises(UsageError, match=r"no column 'famly' \(did you mean 'family'\?\)"):
        scan(table, label_columns=["famly"])
    with pytest.raises(UsageError, match=r"--path_column.*where, label"):
        scan(write(folder, "where,label\na.wav,x\n"))


def test_missing_files_and_folders_are_quarantined(folder: Path) -> None:
    text = "path,label\na.wav,x\ngone.wav,x\nsub,x\n,x\nclips.csv,x\n"
    table = scan(write(folder, text))
    assert table.frame["path"].to_list() == ["a.wav"]
    reasons = dict(table.quarantine.select("path", "reason").rows())
    assert reasons == {
        "gone.wav": "unreadable",
        "sub": "unreadable",
        "clips.csv, row 4": "unreadable",
        "clips.csv": "corrupt",
    }
    details = dict(table.quarantine.select("path", "detail").rows())
    assert details["gone.wav"] == "No such file or directory"


def test_files_of_any_suffix_are_tried(folder: Path) -> None:
    (folder / "a.wav").rename(folder / "a.wave")
    (folder / "noise.raw").write_bytes(bytes(100))
    table = scan(write(folder, "path,label\na.wave,x\nnoise.raw,x\n"))
    assert table.frame["path"].to_list() == ["a.wave"]
    assert table.quarantine["path"].to_list() == ["noise.raw"]


def test_absolute_and_windows_paths(folder: Path) -> None:
    table = write(folder, f"path,label\n{folder / 'a.wav'},x\nsub\\c.wav,y\n")
    assert sorted(scan(table).paths) == [folder / "a.wav", folder / "sub" / "c.wav"]


def test_paths_are_relative_to_the_audio_folder_if_told(folder: Path) -> None:
    (folder / "meta").mkdir()
    table = write(folder / "meta", "path,label\na.wav,x\n")
    with pytest.raises(DataError, match=r"1 unreadable .*--audio_folder"):
        scan(table)
    assert scan(table, audio_folder=folder).paths == [folder / "a.wav"]


def test_repeated_rows_are_one_clip_and_two_labels_two(folder: Path) -> None:
    table = write(folder, "path,label\na.wav,x\na.wav,x\na.wav,y\n")
    assert rows(scan(table)) == [("a.wav", ("x",)), ("a.wav", ("y",))]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        ("path,label\na.wav,dög\n".encode("cp1252"), r"not UTF-8 \(line 2, byte 0xf6\).*iconv"),
        (b'path,label\na.wav,"open\n', "cannot be read as CSV"),
        (b"path,label\na.wav,x,y,z\n", "cannot be read as CSV"),
    ],
    ids=["empty", "cp1252", "open quote", "ragged"],
)
def test_a_table_that_cannot_be_read_says_why(folder: Path, data: bytes, message: str) -> None:
    (folder / "t.csv").write_bytes(data)
    with pytest.raises(DataError, match=message):
        scan(folder / "t.csv")


def test_a_damaged_parquet_file_says_so(folder: Path) -> None:
    (folder / "t.parquet").write_bytes(b"PAR1 no parquet")
    with pytest.raises(DataError, match=r"t\.parquet cannot be read as Parquet"):
        scan(folder / "t.parquet")


def test_a_label_column_without_text_is_refused(folder: Path) -> None:
    pl.DataFrame({"path": ["a.wav"], "label": [{"x": 1}]}).write_parquet(folder / "t.parquet")
    with pytest.raises(UsageError, match=r"column 'label' .* expected text or numbers"):
        scan(folder / "t.parquet")


def test_header_without_rows(folder: Path) -> None:
    with pytest.raises(DataError, match="no usable audio"):
        scan(write(folder, "path,label\n"))


def test_real_folds_and_categories(shared_data: Path, tmp_path: Path) -> None:
    """A tenth of ESC-50's official table, read where it lies beside its audio."""
    with (shared_data / "esc50" / "meta" / "esc50.csv").open(encoding="utf-8") as file:
        official = list(csv.DictReader(file))[::10]
    subset = tmp_path / "esc50.csv"
    pl.DataFrame(official).write_csv(subset)

    table = scan(subset, audio_folder=shared_data / "esc50" / "audio")
    expected = {row["filename"]: row for row in official}
    assert table.frame["path"].to_list() == sorted(expected)
    for path, label, fold in zip(
        table.frame["path"], table.labels, table.frame["fold"], strict=True
    ):
        assert (label, fold) == ((expected[path]["category"],), expected[path]["fold"])
    assert len(table.quarantine) == 0
    split = split_clips(table.frame, test_fold="4", val_fold="3")
    assert (split == "test").to_list() == (table.frame["fold"] == "4").to_list()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_further_columns_are_kept_as_text(folder: Path, suffix: str) -> None:
    frame = pl.DataFrame(
        {
            "path": ["sub/c.wav", "a.wav", "b.wav"],
            "speed": ["3", " 28V ", None],
            "kind": ["x", "y", "x"],
            "load": [1, None, 2],
        }
    )
    table = folder / f"t{suffix}"
    frame.write_csv(table) if suffix == ".csv" else frame.write_parquet(table)
    found = scan(table, label_columns="kind").frame
    assert found.columns == [*CLIP_SCHEMA, "speed", "kind", "load"]
    assert found.select("path", "speed", "kind", "load").rows() == [
        ("a.wav", "28V", "y", None),
        ("b.wav", None, "x", "2"),
        ("sub/c.wav", "3", "x", "1"),
    ]
    assert {found.schema[name] for name in ("speed", "kind", "load")} == {pl.String}


def test_an_empty_further_column_is_text_too(folder: Path) -> None:
    found = scan(write(folder, "path,label,site\na.wav,x,\nb.wav,y, \n")).frame
    assert found.schema["site"] == pl.String
    assert found["site"].to_list() == [None, None]


def test_columns_called_like_our_own_are_kept_under_another_name(folder: Path) -> None:
    text = "path,kind,label,seconds,fold,split,start,content\na.wav,x,L,99,f,s,1.5,C\n"
    found = scan(write(folder, text), label_columns="kind", fold_column="split").frame
    assert found["seconds"].to_list() == [0.1]
    assert found.select("label", "fold").rows() == [(["x"], "s")]
    others = found.select(pl.exclude(*CLIP_SCHEMA)).row(0, named=True)
    assert others == {
        "kind": "x",
        "label_in_table": "L",
        "seconds_in_table": "99",
        "fold_in_table": "f",
        "start_in_table": "1.5",
        "content_in_table": "C",
    }


def test_the_other_name_is_free(folder: Path) -> None:
    text = "path,label,seconds,seconds_in_table\na.wav,x,1,2\n"
    others = scan(write(folder, text)).frame.select(pl.exclude(*CLIP_SCHEMA))
    assert others.row(0, named=True) == {"seconds_in_table_in_table": "1", "seconds_in_table": "2"}


def test_columns_without_a_name_or_without_text_are_left_out(folder: Path) -> None:
    assert scan(write(folder, ",path,label\n0,a.wav,x\n")).frame.columns == list(CLIP_SCHEMA)
    frame = pl.DataFrame(
        {
            "path": ["a.wav"],
            "label": ["x"],
            "list": [[1]],
            "structure": [{"x": 1}],
            "bytes": [b"x"],
            "span": [timedelta(1)],
        }
    )
    frame.write_parquet(folder / "t.parquet")
    assert scan(folder / "t.parquet").frame.columns == list(CLIP_SCHEMA)


def test_a_repeated_row_keeps_the_further_columns_of_the_first(folder: Path) -> None:
    table = write(folder, "path,label,site\na.wav,x,1\na.wav,x,2\na.wav,y,3\n")
    found = scan(table).frame
    assert found.select(pl.col("label").list.first(), "site").rows() == [("x", "1"), ("y", "3")]


def test_further_columns_survive_a_file(folder: Path, tmp_path: Path) -> None:
    table = scan(write(folder, "path,label,site\na.wav,x,1\nb.wav,x,\n"))
    table.write(tmp_path / "clips.parquet")
    assert scan(tmp_path / "clips.parquet").frame.equals(table.frame)
