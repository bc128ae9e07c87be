"""The official layouts of DCASE Task 2, of every year, become tables of clips of machines."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tonotopy._errors import DataError, UsageError
from tonotopy.clips import ClipTable, auxiliary_classes
from tonotopy.datasets import find_dataset, load_dcase_task2
from tonotopy.datasets.download import Archive, fetch

WriteTone = Callable[..., Path]
Make = Callable[..., dict[str, Any]]

YEARS = (2020, 2021, 2022, 2023, 2024)
COLUMNS = ("machine_type", "section", "attributes", "domain", "condition", "split", "part")


def rows(table: ClipTable) -> dict[str, tuple[Any, ...]]:
    return dict(zip(table.frame["path"], table.frame.select(COLUMNS).rows(), strict=True))


def load(folder: Path, year: int) -> ClipTable:
    return find_dataset(f"dcase{year}-task2").load(folder)


@pytest.mark.parametrize("truth", [True, False], ids=["with truth", "without"])
@pytest.mark.parametrize("year", YEARS)
def test_every_layout_becomes_a_table(
    year: int, truth: bool, tmp_path: Path, make_dcase: Make
) -> None:
    expected = make_dcase(tmp_path, year, truth)
    table = load(tmp_path, year)
    assert rows(table) == expected
    assert table.quarantine.is_empty()
    assert table.labels == [row[:2] for _, row in sorted(expected.items())]
    assert table.frame["machine"].to_list() == ["/".join(label) for label in table.labels]


@pytest.mark.parametrize("year", YEARS)
def test_development_data_alone(year: int, tmp_path: Path, make_dcase: Make) -> None:
    expected = make_dcase(tmp_path, year, truth=False)
    shutil.rmtree(tmp_path / "eval_data")
    dev = {path: row for path, row in expected.items() if row[-1] == "dev"}
    assert rows(load(tmp_path, year)) == dev


@pytest.mark.parametrize("year", YEARS)
def test_additional_training_data_before_the_evaluation_data(
    year: int, tmp_path: Path, make_dcase: Make
) -> None:
    expected = make_dcase(tmp_path, year)
    for folder in (tmp_path / "eval_data").glob("*/*test"):
        shutil.rmtree(folder)
    kept = {path: row for path, row in expected.items() if row[-2:] != ("test", "eval")}
    assert rows(load(tmp_path, year)) == kept


@pytest.mark.parametrize("year", YEARS)
def test_a_baseline_puts_everything_one_folder_deeper(
    year: int, tmp_path: Path, make_dcase: Make
) -> None:
    expected = make_dcase(tmp_path, year)
    for part in ("dev_data", "eval_data"):
        (tmp_path / part).rename(tmp_path / "all")
        (tmp_path / part).mkdir()
        (tmp_path / "all").rename(tmp_path / part / "raw")
    deeper = {path.replace("_data/", "_data/raw/"): row for path, row in expected.items()}
    assert rows(load(tmp_path, year)) == deeper


def test_copies_that_a_baseline_makes_are_not_read(tmp_path: Path, make_dcase: Make) -> None:
    expected = make_dcase(tmp_path, 2021)
    for test in list(tmp_path.glob("*_data/*/*_test/*.wav")):
        for copies in ("test", "test_rename"):
            (test.parent.parent / copies).mkdir(exist_ok=True)
            shutil.copy(test, test.parent.parent / copies / test.name)
    assert rows(load(tmp_path, 2021)) == expected
    for folder in tmp_path.glob("*_data/*/*_test"):
        if folder.name != "test":
            shutil.rmtree(folder)
    merged = {
        path.replace("source_test/", "test/").replace("target_test/", "test/"): row
        for path, row in expected.items()
    }
    assert rows(load(tmp_path, 2021)) == merged


@pytest.mark.parametrize("place", ["", "eval_data", "evaluator"])
@pytest.mark.parametrize("year", [2020, 2021, 2023])
def test_places_of_the_ground_truth(
    year: int, place: str, tmp_path: Path, make_dcase: Make
) -> None:
    expected = make_dcase(tmp_path, year)
    found = [*tmp_path.glob("eval_data_list.csv"), *tmp_path.glob("*evaluator/*")]
    for item in found:
        (tmp_path / place).mkdir(exist_ok=True)
        item.rename(tmp_path / place / item.name)
    assert rows(load(tmp_path, year)) == expected


def test_without_domains_the_conditions_are_still_known(tmp_path: Path, make_dcase: Make) -> None:
    make_dcase(tmp_path, 2022)
    shutil.rmtree(tmp_path / "dcase2022_task2_evaluator" / "ground_truth_domain")
    found = rows(load(tmp_path, 2022))["eval_data/fan/test/section_05_0003.wav"]
    assert found == ("fan", "05", None, None, "anomaly", "test", "eval")


@pytest.mark.parametrize("year", [2022, 2023, 2024])
def test_clips_that_a_table_names_and_that_are_missing_are_quarantined(
    year: int, tmp_path: Path, make_dcase: Make
) -> None:
    expected = make_dcase(tmp_path, year)
    dev = min(path for path in expected if path.startswith("dev_data"))
    tested = min(path for path in expected if "eval_data" in path and "/test/" in path)
    for path in (dev, tested):
        (tmp_path / path).unlink()
    table = load(tmp_path, year)
    assert table.quarantine["path"].to_list() == [dev, tested]
    assert rows(table) == {p: row for p, row in expected.items() if p not in (dev, tested)}


def test_a_missing_evaluation_clip_of_2021_is_quarantined(tmp_path: Path, make_dcase: Make) -> None:
    make_dcase(tmp_path, 2021)
    missing = "eval_data/fan/target_test/section_04_target_test_0001.wav"
    (tmp_path / missing).unlink()
    assert load(tmp_path, 2021).quarantine["path"].to_list() == [missing]


def test_a_damaged_recording_is_quarantined(tmp_path: Path, make_dcase: Make) -> None:
    expected = make_dcase(tmp_path, 2020)
    (tmp_path / min(expected)).write_bytes(b"")
    assert load(tmp_path, 2020).quarantine.row(0)[:2] == (min(expected), "empty")


def test_other_files_and_folders_are_passed_over(
    tmp_path: Path, make_dcase: Make, write_tone: WriteTone
) -> None:
    expected = make_dcase(tmp_path, 2023)
    write_tone(tmp_path / "dev_data" / "fan" / "supplemental" / "section_00_machine_0001_.wav")
    write_tone(tmp_path / "dev_data" / "fan" / "train" / "._section_00_0000.wav")
    (tmp_path / "dev_data" / "fan" / "train" / "readme.txt").write_text("x")
    (tmp_path / "dev_data" / "readme.md").write_text("x")
    assert rows(load(tmp_path, 2023)) == expected


@pytest.mark.parametrize(
    ("year", "name"),
    [
        (2020, "dev_data/fan/train/normal_id_0_00000000.wav"),
        (2020, "dev_data/fan/test/abnormal_id_00_00000000.wav"),
        (2021, "dev_data/fan/train/section_00_source_train_normal.wav"),
        (2022, "dev_data/fan/train/section_02_sauce_train_normal_0000_vel_1.wav"),
        (2023, "eval_data/bandsaw/test/clip.wav"),
    ],
)
def test_damaged_names_are_refused(
    year: int, name: str, tmp_path: Path, make_dcase: Make, write_tone: WriteTone
) -> None:
    make_dcase(tmp_path, year)
    write_tone(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name} is not named as DCASE files are: expected such"):
        load(tmp_path, year)


@pytest.mark.parametrize(
    ("year", "name", "message"),
    [
        (2020, "dev_data/fan/train/anomaly_id_00_00000009.wav", "is not called normal: move it"),
        (
            2021,
            "dev_data/fan/source_test/section_00_target_test_normal_0009.wav",
            "its domain is 'target' by its name, 'source' by its folder",
        ),
        (
            2022,
            "dev_data/fan/train/section_00_source_test_normal_0009_vel_1.wav",
            "its split is 'test' by its name, 'train' by its folder",
        ),
    ],
)
def test_names_that_contradict_their_folder_are_refused(
    year: int, name: str, message: str, tmp_path: Path, make_dcase: Make, write_tone: WriteTone
) -> None:
    make_dcase(tmp_path, year)
    write_tone(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name}.* {message}"):
        load(tmp_path, year)


@pytest.mark.parametrize(("there", "asked"), [(2020, 2022), (2023, 2020)])
def test_another_year_is_noticed(there: int, asked: int, tmp_path: Path, make_dcase: Make) -> None:
    make_dcase(tmp_path, there)
    with pytest.raises(DataError, match=rf"files of {asked} are.*is it of another year"):
        load(tmp_path, asked)


def test_an_unknown_year_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="year must be 2020 to 2024, got 2019"):
        load_dcase_task2(tmp_path, 2019)


@pytest.mark.parametrize("year", [2022, 2023, 2024])
@pytest.mark.parametrize("part", ["dev_data/fan", "eval_data"])
def test_a_missing_table_of_attributes_is_refused(
    year: int, part: str, tmp_path: Path, make_dcase: Make
) -> None:
    make_dcase(tmp_path, year)
    table = min((tmp_path / part).rglob("attributes_*.csv"))  # of a type that withholds nothing
    table.unlink()
    with pytest.raises(DataError, match=rf"{table} is missing.*unpack the archive again"):
        load(tmp_path, year)


@pytest.mark.parametrize("machine", ["dev_data/ToyTrain", "eval_data/AirCompressor"])
def test_withheld_attributes_need_no_table(machine: str, tmp_path: Path, make_dcase: Make) -> None:
    expected = make_dcase(tmp_path, 2024)
    (tmp_path / machine / "attributes_00.csv").unlink()
    assert rows(load(tmp_path, 2024)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,d1p,d1v\n", r"has no column file_name; its columns are file, d1p, d1v"),
        ("", r"has no column file_name; its columns are"),
        ("file_name,d1p,d1v,speed\nx,vel,1,2\n", r"unknown column speed; expected file_name, d1p"),
        ("file_name,d1p,d1v\nx\n", "line 2 is not as long as the header"),
        ("file_name,d1p,d1v\nx,vel,1,2\n", "line 2 is not as long as the header"),
        (b"file_name,d1p,d1v\n\xff,a,b\n", "is not UTF-8"),
    ],
)
def test_damaged_tables_of_attributes_are_refused(
    text: str | bytes, message: str, tmp_path: Path, make_dcase: Make
) -> None:
    make_dcase(tmp_path, 2022)
    table = tmp_path / "dev_data" / "bearing" / "attributes_01.csv"
    table.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(DataError, match=rf"attributes_01\.csv .*{message}"):
        load(tmp_path, 2022)


DATA = "dcase2022_task2_evaluator/ground_truth_data/ground_truth_fan_section_05_test.csv"
GOOD = "".join(f"section_05_000{n}.wav,0\n" for n in range(4))


@pytest.mark.parametrize(
    ("year", "file", "text", "message"),
    [
        (2022, DATA, None, "is missing: take all of the evaluator's files, or none"),
        (2022, DATA, GOOD + "section_05_0004.wav\n", "line 5 is not a file name and 0 or 1"),
        (2022, DATA, GOOD + "section_05_0004.wav,2\n", "line 5 is not a file name and 0 or 1"),
        (2022, DATA, GOOD + "section_05_0003.wav,1\n", "0003.wav both normal and anomaly"),
        (2022, DATA, GOOD[:-23], r"lacks the condition of .*section_05_0003\.wav"),
        (2022, DATA.replace("_data", "_domain"), GOOD[23:], r"lacks the domain of .*05_0000\.wav"),
        (2020, "eval_data_list.csv", "pump\nid_00_00000000.wav,x,0\n", "says nothing of ToyCar"),
        (2020, "eval_data_list.csv", "id_05_00000000.wav,x,0\n", "line 1 is neither"),
        (2020, "eval_data_list.csv", "ToyCar\nid_05_00000000.wav,x\n", "line 2 is neither"),
        (2020, "eval_data_list.csv", b"ToyCar\n\xff\n", "it is not UTF-8"),
    ],
)
def test_damaged_ground_truth_is_refused(
    year: int,
    file: str,
    text: str | bytes | None,
    message: str,
    tmp_path: Path,
    make_dcase: Make,
) -> None:
    make_dcase(tmp_path, year)
    if text is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(DataError, match=message):
        load(tmp_path, year)


def test_lists_that_baselines_bring_for_later_years_are_not_the_truth(
    tmp_path: Path, make_dcase: Make
) -> None:
    """That of 2022 has 608 conditions that are not those of the evaluator."""
    expected = make_dcase(tmp_path, 2022, truth=False)
    (tmp_path / "eval_data_list.csv").write_text("fan\nsection_05_0000.wav,x,1\n")
    assert rows(load(tmp_path, 2022)) == expected


@pytest.mark.parametrize("year", YEARS)
def test_the_folder_above_gets_a_hint(year: int, tmp_path: Path, make_dcase: Make) -> None:
    make_dcase(tmp_path / "unpacked", year)
    with pytest.raises(UsageError, match=r"did you mean .*unpacked\?"):
        load(tmp_path, year)


def test_a_folder_without_machine_types_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "dev_data" / "fan").mkdir(parents=True)
    with pytest.raises(DataError, match=r"dev_data holds no machine type: expected .*fan/train"):
        load(tmp_path, 2024)


def test_classes_of_the_training_clips(tmp_path: Path, make_dcase: Make) -> None:
    make_dcase(tmp_path, 2024)
    frame = load(tmp_path, 2024).frame
    names = auxiliary_classes(frame, ["machine_type", "section", "attributes", "domain"])
    of_path = dict(zip(frame["path"], names, strict=True))
    s = "section_00_source_train_normal_0000"
    assert of_path[f"dev_data/fan/train/{s}_vel_0_loc_A.wav"] == "fan, 00, vel_0_loc_A, source"
    assert of_path[f"dev_data/ToyTrain/train/{s}_noAttribute.wav"] == "ToyTrain, 00, source"


@pytest.mark.parametrize("year", [2020, 2023])
def test_archives_go_into_their_part(year: int) -> None:
    for archive in find_dataset(f"dcase{year}-task2").archives:
        assert archive.into == ("dev_data" if "/dev_" in archive.url else "eval_data")
        assert archive.bare
        assert archive.md5


def test_unpacked_archives_make_the_layout(tmp_path: Path, make_dcase: Make) -> None:
    expected = make_dcase(tmp_path / "made", 2020, truth=False)
    archives = []
    for part in ("dev_data", "eval_data"):
        shutil.make_archive(str(tmp_path / part), "zip", tmp_path / "made" / part)
        url = (tmp_path / f"{part}.zip").as_uri()
        archives.append(Archive(url, "dcase2020-task2", bare=True, into=part))
    assert rows(load(fetch(archives, tmp_path / "data"), 2020)) == expected


@pytest.mark.parametrize("year", [2021, 2022, 2024])
def test_what_is_not_fetched_says_where_it_is(year: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"by hand. Unpack .*zenodo.*dev_data/.*eval_data/"):
        find_dataset(f"dcase{year}-task2").get(tmp_path)
