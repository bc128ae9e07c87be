"""Machine columns: from columns, DCASE names, MIMII folders and labels, in that order."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tonotopy._errors import DataError, UsageError
from tonotopy.clips import ClipTable, MachineColumns, add_machines, auxiliary_classes, scan
from tonotopy.clips.machine_names import dcase_name
from tonotopy.clips.table import CLIP_SCHEMA

COLUMNS = ("machine_type", "section", "attributes", "domain", "condition", "machine")


def clips(
    paths: Sequence[str],
    labels: Sequence[Sequence[str]] | None = None,
    root: Path = Path("/data/plant"),
    **columns: Sequence[Any],
) -> ClipTable:
    """Make a table of clips that no file is behind; labels are the folders by default."""
    rows = len(paths)
    folders = [path.split("/")[:-1] for path in paths]
    frame = pl.DataFrame(
        {
            "path": list(paths),
            "content": [str(row) for row in range(rows)],
            "label": [list(label) for label in (labels or folders)],
            "seconds": [1.0] * rows,
            "sample_rate": [16000] * rows,
            "channels": [1] * rows,
            "fold": [None] * rows,
            "group": [None] * rows,
        },
        schema=CLIP_SCHEMA,
    ).with_columns(*(pl.Series(name, values) for name, values in columns.items()))
    return ClipTable(frame, root)


def found(table: ClipTable, **options: Any) -> list[tuple[Any, ...]]:
    result = add_machines(table, MachineColumns(**options))
    assert all(result.frame.schema[name] == pl.String for name in COLUMNS)
    assert result.frame.select(CLIP_SCHEMA.keys()).equals(table.frame.select(CLIP_SCHEMA.keys()))
    return result.frame.select(COLUMNS).rows()


S = "section_00_"
DCASE = {
    # 2020
    "dev_data/ToyCar/train/normal_id_01_00000000.wav": ("ToyCar", "id_01", None, None, "normal"),
    "dev_data/ToyCar/test/anomaly_id_01_00000263.wav": ("ToyCar", "id_01", None, None, "anomaly"),
    "eval_data/fan/test/id_05_00000514.wav": ("fan", "id_05", None, None, None),
    # 2021
    "dev_data/fan/train/section_01_target_train_normal_0002_strength_1.wav": (
        *("fan", "01", "strength_1", "target", "normal"),
    ),
    "dev_data/fan/source_test/section_00_source_test_anomaly_0099.wav": (
        *("fan", "00", None, "source", "anomaly"),
    ),
    "eval_data/fan/target_test/section_03_target_test_0199.wav": (
        *("fan", "03", None, "target", None),
    ),
    # 2022, with the folder that the baselines of later years put in between
    "dev_data/raw/bearing/train/section_02_source_train_normal_0989_vel_8_loc_A.wav": (
        *("bearing", "02", "vel_8_loc_A", "source", "normal"),
    ),
    "eval_data/slider/test/section_05_0199.wav": ("slider", "05", None, None, None),
    "eval_data/slider/test/section_05_test_0199.wav": ("slider", "05", None, None, None),
    # 2023 and 2024
    "dev_data/ToyTrain/test/section_00_target_test_anomaly_0001_car_A2_spd_28V_mic_1_noise_1.wav": (
        *("ToyTrain", "00", "car_A2_spd_28V_mic_1_noise_1", "target", "anomaly"),
    ),
    "dev_data/slider/train/section_00_source_train_normal_0001_noAttribute.flac": (
        *("slider", "00", None, "source", "normal"),
    ),
    "dev_data/valve/train/section_00_source_train_normal_0001_.wav": (
        *("valve", "00", None, "source", "normal"),
    ),
    "eval_data/3DPrinter/test/section_00_0001.wav": ("3DPrinter", "00", None, None, None),
}


def test_names_of_every_year_of_dcase() -> None:
    expected = [(*row, f"{row[0]}/{row[1]}") for row in DCASE.values()]
    assert found(clips(list(DCASE))) == expected


@pytest.mark.parametrize(
    "stem",
    [
        "section_00_source_train_normal",
        "section_00_source_train_broken_0001",
        "section_00_sauce_train_normal_0001",
        "section_00_source_normal_0001",
        "section_x_0001",
        "section_00_source_train_0001",
        "id_01",
        "normal_id_01_1",
        "abnormal_id_01_00000000",
        "note",
        "",
    ],
)
def test_other_names_are_not_taken_for_those_of_dcase(stem: str) -> None:
    assert dcase_name(stem) is None


@pytest.mark.parametrize("name", ["section_00_sauce_train_normal_0001.wav", "id_1.wav"])
def test_a_damaged_name_in_a_folder_of_dcase_is_refused(name: str) -> None:
    table = clips([f"fan/train/{S}source_train_normal_0000.wav", f"fan/train/{name}"])
    with pytest.raises(DataError, match=rf"fan/train/{name} is not named.*section_00_0000\.wav"):
        add_machines(table)
    assert (
        found(clips([f"fan/train/sectional_{name}", "fan/test/id_badge.wav"]))
        == [("fan", None, None, None, None, "fan")] * 2
    )
    assert found(clips([f"fan/mine/{name}"])) == [("fan", "mine", None, None, None, "fan/mine")]


def test_the_machine_type_is_the_folder_above_wherever_the_scan_began() -> None:
    name = f"{S}source_train_normal_0000_a_1.wav"
    expected = [("fan", "00", "a_1", "source", "normal", "fan/00")]
    for root, path in (
        ("/d", f"dev/fan/train/{name}"),
        ("/d/fan", f"train/{name}"),
        ("/d/fan/train", name),
        ("/d/fan", name),
    ):
        label = ["fan"] if root == "/d/fan" and path == name else path.split("/")[:-1]
        assert found(clips([path], [label], root=Path(root))) == expected


def test_folders_of_mimii() -> None:
    paths = ["0_dB/fan/id_00/normal/00000000.wav", "0_dB/pump/id_02/abnormal/00000000.wav"]
    assert found(clips(paths)) == [
        ("fan", "id_00", None, None, "normal", "fan/id_00"),
        ("pump", "id_02", None, None, "anomaly", "pump/id_02"),
    ]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("fan", ("fan", None, None, None, None, "fan")),
        ("fan/no 3", ("fan", "no 3", None, None, None, "fan/no 3")),
        ("fan/no 3/Anomalous", ("fan", "no 3", None, None, "anomaly", "fan/no 3")),
        ("fan/ABNORMAL", ("fan", None, None, None, "anomaly", "fan")),
        ("fan/3/speed 1/wet/normal", ("fan", "3", "speed 1_wet", None, "normal", "fan/3")),
        ("train/fan/normal", ("fan", None, None, None, "normal", "fan")),
        ("fan/test/anomaly", ("fan", None, None, None, "anomaly", "fan")),
        ("fan/Source/normal", ("fan", None, None, "source", "normal", "fan")),
        ("fan/target_test", ("fan", None, None, "target", None, "fan")),
        ("normal/fan", ("normal", "fan", None, None, None, "normal/fan")),
    ],
)
def test_labels_say_machine_and_condition(label: str, expected: tuple[Any, ...]) -> None:
    assert found(clips([f"{label}/1.wav"])) == [expected]


def test_without_any_type_all_clips_are_of_one_machine_with_a_warning() -> None:
    paths = ["normal/1.wav", "anomaly/2.wav"]
    with pytest.warns(UserWarning, match=r"all 2 count as one machine, 'plant'"):
        rows = found(clips(paths))
    assert rows == [
        ("plant", None, None, None, "normal", "plant"),
        ("plant", None, None, None, "anomaly", "plant"),
    ]


def test_a_machine_type_of_some_clips_only_is_refused() -> None:
    with pytest.raises(DataError, match=r"gives no machine type for b\.wav.*leave the clip out"):
        add_machines(clips(["fan/a.wav", "b.wav"]))
    table = clips(["a.wav", "b.wav"], kind=["fan", " "])
    with pytest.raises(DataError, match=r"column 'kind' gives no machine type for b\.wav"):
        add_machines(table, MachineColumns(type_column="kind"))


def test_named_columns_come_before_everything() -> None:
    table = clips(
        [f"fan/train/{S}source_train_normal_0000_speed_3.wav"] * 2,
        kind=["pump", "valve"],
        section=["7", None],
        unit=[3, None],
        state=["Anomalous", None],
        where=["target", None],
        speed=[28.5, None],
        load=["A", "B"],
        condition=["normal", "normal"],
    )
    rows = found(
        table,
        type_column="kind",
        section_column="unit",
        attribute_columns=["load", "speed"],
        domain_column="where",
        condition_column="state",
    )
    assert rows == [
        ("pump", "3", "load_A_speed_28.5", "target", "anomaly", "pump/3"),
        ("valve", None, "load_B", None, None, "valve"),
    ]


def test_columns_of_the_very_names_come_before_file_names() -> None:
    table = clips(
        [f"fan/train/{S}source_train_normal_0000_speed_3.wav"],
        machine_type=["pump"],
        attributes=["loud"],
        condition=[None],
    )
    assert found(table) == [("pump", "00", "loud", "source", None, "pump/00")]
    assert found(table, attribute_columns=[])[0][2] is None
    assert found(table, attribute_columns=["condition", "attributes"])[0][2] == "loud"


def test_a_column_machine_serves_as_machine_type() -> None:
    table = clips(["a.wav"], machine=["pump"])
    assert found(table) == [("pump", None, None, None, None, "pump")]
    with pytest.raises(DataError, match=r"'machine' gives the machine type 'pump/3' for a\.wav"):
        add_machines(clips(["a.wav"], machine=["pump/3"]))


def test_places_in_a_label_mean_nothing_once_a_column_tells_the_type() -> None:
    table = clips(["a.wav"], [["Monday", "shift 2", "anomaly"]], machine_type=["pump"])
    assert found(table) == [("pump", None, None, None, "anomaly", "pump")]


def test_adding_twice_changes_nothing() -> None:
    once = add_machines(clips(list(DCASE)))
    assert add_machines(once).frame.equals(once.frame)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (f"fan/source_test/{S}target_test_normal_0000.wav", "its domain is 'target' by its name"),
        ("fan/id_00/normal/anomaly_id_00_00000000.wav", "its condition is 'anomaly' by its name"),
        ("fan/id_02/normal/normal_id_00_00000000.wav", "'id_00' by its name, 'id_02' by its fold"),
    ],
)
def test_contradictions_are_refused(path: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"{re.escape(path)}: .*{message}.*rename the file"):
        add_machines(clips([path]))


def test_a_label_that_contradicts_the_name_is_refused_unless_a_column_decides() -> None:
    paths = [f"fan/test/{S}source_test_normal_0000.wav"]
    with pytest.raises(DataError, match=r"'normal' by its name, 'anomaly' by its label"):
        add_machines(clips(paths, [["anomaly"]]))
    assert found(clips(paths, [["anomaly"]], condition=["normal"]))[0][4] == "normal"


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("condition", "broken", r"column 'condition' says 'broken' of a\.wav: expected normal, "),
        ("domain", "0 dB", r"column 'domain' says '0 dB' of a\.wav: expected source, target"),
    ],
)
def test_other_words_are_refused(column: str, value: str, message: str) -> None:
    table = clips(["a.wav"], machine_type=["fan"]).with_columns(pl.Series(column, [value]))
    with pytest.raises(DataError, match=message):
        add_machines(table)


def test_a_column_that_is_not_there_or_holds_no_text_is_refused() -> None:
    table = clips(["a.wav"], kind=["fan"], many=[[1]])
    with pytest.raises(UsageError, match=r"no column 'knd' \(did you mean 'kind'\?\)"):
        add_machines(table, MachineColumns(type_column="knd"))
    with pytest.raises(UsageError, match=r"no column 'speed'"):
        add_machines(table, MachineColumns(attribute_columns=["kind", "speed"]))
    with pytest.raises(UsageError, match=r"column 'many' holds List"):
        add_machines(table, MachineColumns(section_column="many"))


def test_columns_of_a_scanned_table(tmp_path: Path, write_tone: Callable[..., Path]) -> None:
    for name in ("a.wav", "b.wav"):
        write_tone(tmp_path / name, seconds=0.1)
    (tmp_path / "t.csv").write_text("path,type,nr,state\na.wav,fan,01,normal\nb.wav,fan,02,\n")
    table = scan(tmp_path / "t.csv", label_columns="type")
    rows = found(table, type_column="type", section_column="nr", condition_column="state")
    assert rows == [
        ("fan", "01", None, None, "normal", "fan/01"),
        ("fan", "02", None, None, None, "fan/02"),
    ]


def test_real_folders_of_mimii(shared_data: Path) -> None:
    with (shared_data / "mimii" / "meta" / "clips.csv").open(encoding="utf-8") as file:
        official = {row["path"]: row for row in csv.DictReader(file)}
    paths = list(official)
    conditions = {"normal": "normal", "abnormal": "anomaly"}
    for (kind, section, _, _, condition, machine), path in zip(
        found(clips(paths, root=shared_data / "mimii")), paths, strict=True
    ):
        row = official[path]
        assert (kind, section) == (row["machine"], row["id"])
        assert condition == conditions[row["condition"]]
        assert machine == f"{kind}/{section}"


def test_classes_of_chosen_levels() -> None:
    frame = add_machines(clips(list(DCASE))).frame
    names = auxiliary_classes(frame, ["domain", "attributes", "machine_type", "section"])
    assert dict(zip(frame["path"], names, strict=True)) == {
        path: None
        if condition == "anomaly"
        else ", ".join(part for part in (kind, section, attributes, domain) if part)
        for path, (kind, section, attributes, domain, condition) in DCASE.items()
    }
    assert names[3] == "fan, 01, strength_1, target"
    assert auxiliary_classes(frame, ["machine_type"])[:3] == ["ToyCar", None, "fan"]
    assert auxiliary_classes(frame, ["attributes"])[:4] == [None, None, None, "strength_1"]
    assert auxiliary_classes(frame, [])[:3] == ["normal", None, "normal"]


def test_classes_that_would_be_written_alike_are_refused() -> None:
    table = add_machines(
        clips(
            ["a.wav", "b.wav"],
            machine_type=["fan"] * 2,
            section=["x", None],
            attributes=[None, "x"],
        )
    )
    with pytest.raises(DataError, match=r"two classes would be called 'fan, x'"):
        auxiliary_classes(table.frame, ["machine_type", "section", "attributes"])


def test_unknown_levels_and_missing_columns_are_refused() -> None:
    table = clips(["fan/a.wav"])
    with pytest.raises(UsageError, match=r"no level 'sections' \(did you mean 'section'\?\)"):
        auxiliary_classes(add_machines(table).frame, ["sections"])
    with pytest.raises(UsageError, match=r"no column 'machine_type': add_machines makes it"):
        auxiliary_classes(table.frame, ["machine_type"])
