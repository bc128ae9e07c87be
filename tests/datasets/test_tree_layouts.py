"""Miniature copies of official layouts with label trees become clip tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tonotopy._errors import DataError, UsageError
from tonotopy.clips import ClipTable
from tonotopy.datasets import find_dataset

WriteTone = Callable[..., Path]

Row = tuple[tuple[str, ...], str | None, str | None]

ORCHIDEASOL_HEADER = (
    "Path,Family (abbr.),Family (in full),Instrument (abbr.),Instrument (in full),"
    "Technique (abbr.),Technique (in full),Pitch,Pitch ID (if applicable),Dynamics,"
    "Dynamics ID (if applicable),Instance ID,Mute (abbr.),Mute (in full),"
    "String ID (if applicable),Needed digital retuning,Fold"
)
ORCHIDEASOL_LINES = (
    "Brass/Bass_Tuba+sordina/ordinario/BTb+S-ord-A#0-f-N-N.wav,Brass,Brass,BTb,Bass Tuba,ord,"
    "ordinario,A#0,22.0,f,3.0,0.0,S,Sordina,,False,2",
    "Brass/Bass_Tuba+sordina/ordinario/BTb+S-ord-A#0-p-N-T30d.wav,Brass,Brass,BTb,Bass Tuba,ord,"
    "ordinario,A#0,22.0,p,1.0,0.0,S,Sordina,,True,0",
    "Brass/Bass_Tuba/ordinario/BTb-ord-A#0-f-N-N.wav,Brass,Brass,BTb,Bass Tuba,ord,"
    "ordinario,A#0,22.0,f,3.0,0.0,N,None,,False,4",
    "Strings/Viola/on_the_bridge/Va-on_br-N-mf-N-N.wav,Strings,Violin Family,Va,Viola,on_br,"
    "on_the_bridge,N,,mf,2.0,0.0,N,None,,False,1",
)
TINYSOL_HEADER = (
    "Path,Fold,Family,Instrument (abbr.),Instrument (in full),Technique (abbr.),"
    "Technique (in full),Pitch,Pitch ID,Dynamics,Dynamics ID,Instance ID,String ID,Resampled"
)
TINYSOL_LINES = (
    "Brass/Bass_Tuba/ordinario/BTb-ord-F#1-pp-N-N.wav,2,Brass,BTb,Bass Tuba,ord,ordinario,F#1,30,"
    "pp,0,0,,FALSE",
    "Strings/Viola/ordinario/Va-ord-C3-mf-4c-N.wav,0,Strings,Va,Viola,ord,ordinario,C3,48,mf,2,0,"
    "4,FALSE",
    "Strings/Viola/ordinario/Va-ord-C3-ff-4c-N.wav,3,Strings,Va,Viola,ord,ordinario,C3,48,ff,4,0,"
    "4,TRUE",
)
SCENES = {
    "audio/b020_90_120.wav": ("beach", "1"),
    "audio/b020_120_150.wav": ("beach", "1"),
    "audio/a001_0_30.wav": ("cafe/restaurant", "2"),
    "audio/a077_60_90.wav": ("tram", "3"),
    "audio/b001_30_60.wav": ("metro_station", "4"),
}
NOTES = {
    "train": (
        "flute_acoustic_013-060-025",
        "flute_acoustic_013-060-127",
        "bass_synthetic_033-022-050",
    ),
    "valid": ("guitar_acoustic_010-021-100", "keyboard_electronic_098-107-050"),
    "test": ("string_acoustic_056-108-025",),
}


def rows(table: ClipTable) -> dict[str, Row]:
    """Path to (label, fold, group)."""
    columns = (table.frame["path"], table.labels, table.frame["fold"], table.frame["group"])
    return {path: (label, fold, group) for path, label, fold, group in zip(*columns, strict=True)}


def make_orchideasol(root: Path, write_tone: WriteTone) -> None:
    root.mkdir(parents=True, exist_ok=True)
    table = "\n".join((ORCHIDEASOL_HEADER, *ORCHIDEASOL_LINES)) + "\n"
    (root / "OrchideaSOL_metadata.csv").write_text(table)
    for line in ORCHIDEASOL_LINES:
        write_tone(root / "OrchideaSOL2020" / line.split(",")[0], sample_rate=44100)


def make_tinysol(root: Path, write_tone: WriteTone, audio: str = "TinySOL2020") -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "TinySOL_metadata.csv").write_text("\n".join((TINYSOL_HEADER, *TINYSOL_LINES)) + "\n")
    for line in TINYSOL_LINES:
        write_tone(root / audio / line.split(",")[0], sample_rate=44100)


def make_tut2016(root: Path, write_tone: WriteTone) -> None:
    (root / "evaluation_setup").mkdir(parents=True)
    (root / "meta.txt").write_text(
        "".join(f"{path}\t{scene}\n" for path, (scene, _) in SCENES.items())
    )
    for fold in "1234":
        parts: dict[str, list[str]] = {"train": [], "evaluate": []}
        for path, (scene, tested) in SCENES.items():
            parts["evaluate" if tested == fold else "train"].append(f"{path}\t{scene}\n")
        parts["test"] = [f"{line.split(chr(9))[0]}\n" for line in parts["evaluate"]]
        for part, lines in parts.items():
            (root / "evaluation_setup" / f"fold{fold}_{part}.txt").write_text("".join(lines))
    for path in SCENES:
        write_tone(root / path, channels=2, sample_rate=44100)


def note(name: str) -> dict[str, Any]:
    instrument, pitch, velocity = name.rsplit("-", 2)
    family, source, number = instrument.rsplit("_", 2)
    return {
        "note_str": name,
        "instrument": int(number),
        "instrument_str": instrument,
        "instrument_family_str": family,
        "instrument_source_str": source,
        "pitch": int(pitch),
        "velocity": int(velocity),
        "sample_rate": 16000,
    }


def make_nsynth(root: Path, write_tone: WriteTone) -> None:
    for part, names in NOTES.items():
        for name in names:
            write_tone(root / f"nsynth-{part}" / "audio" / f"{name}.wav")
        text = json.dumps({name: note(name) for name in names})
        (root / f"nsynth-{part}" / "examples.json").write_text(text)


MAKERS: dict[str, Callable[[Path, WriteTone], None]] = {
    "nsynth": make_nsynth,
    "orchideasol": make_orchideasol,
    "tinysol": make_tinysol,
    "tut-acoustic-scenes-2016": make_tut2016,
}

FLUTE = ("flute", "flute_acoustic_013")
TUBA = ("Brass", "Bass_Tuba")

EXPECTED: dict[str, dict[str, Row]] = {
    "nsynth": {
        "nsynth-train/audio/flute_acoustic_013-060-025.wav": (
            FLUTE,
            "train",
            "flute_acoustic_013-060",
        ),
        "nsynth-train/audio/flute_acoustic_013-060-127.wav": (
            FLUTE,
            "train",
            "flute_acoustic_013-060",
        ),
        "nsynth-valid/audio/guitar_acoustic_010-021-100.wav": (
            ("guitar", "guitar_acoustic_010"),
            "val",
            "guitar_acoustic_010-021",
        ),
        "nsynth-test/audio/string_acoustic_056-108-025.wav": (
            ("string", "string_acoustic_056"),
            "test",
            "string_acoustic_056-108",
        ),
    },
    "orchideasol": {
        "OrchideaSOL2020/Brass/Bass_Tuba+sordina/ordinario/BTb+S-ord-A#0-f-N-N.wav": (
            (*TUBA, "sordina", "ordinario"),
            "2",
            "Brass/Bass_Tuba+sordina/ordinario/A#0",
        ),
        "OrchideaSOL2020/Brass/Bass_Tuba+sordina/ordinario/BTb+S-ord-A#0-p-N-T30d.wav": (
            (*TUBA, "sordina", "ordinario"),
            "0",
            "Brass/Bass_Tuba+sordina/ordinario/A#0",
        ),
        "OrchideaSOL2020/Brass/Bass_Tuba/ordinario/BTb-ord-A#0-f-N-N.wav": (
            (*TUBA, "open", "ordinario"),
            "4",
            "Brass/Bass_Tuba/ordinario/A#0",
        ),
        "OrchideaSOL2020/Strings/Viola/on_the_bridge/Va-on_br-N-mf-N-N.wav": (
            ("Strings", "Viola", "open", "on_the_bridge"),
            "1",
            None,
        ),
    },
    "tinysol": {
        "TinySOL2020/Brass/Bass_Tuba/ordinario/BTb-ord-F#1-pp-N-N.wav": (
            TUBA,
            "2",
            "Brass/Bass_Tuba/ordinario/F#1",
        ),
        "TinySOL2020/Strings/Viola/ordinario/Va-ord-C3-mf-4c-N.wav": (
            ("Strings", "Viola"),
            "0",
            "Strings/Viola/ordinario/C3",
        ),
        "TinySOL2020/Strings/Viola/ordinario/Va-ord-C3-ff-4c-N.wav": (
            ("Strings", "Viola"),
            "3",
            "Strings/Viola/ordinario/C3",
        ),
    },
    "tut-acoustic-scenes-2016": {
        "audio/b020_90_120.wav": (("outdoor", "beach"), "1", "b020"),
        "audio/b020_120_150.wav": (("outdoor", "beach"), "1", "b020"),
        "audio/a001_0_30.wav": (("indoor", "cafe/restaurant"), "2", "a001"),
        "audio/a077_60_90.wav": (("vehicle", "tram"), "3", "a077"),
        "audio/b001_30_60.wav": (("indoor", "metro_station"), "4", "b001"),
    },
}


@pytest.mark.parametrize("name", list(MAKERS))
def test_the_official_layout_becomes_a_table(
    name: str, tmp_path: Path, write_tone: WriteTone
) -> None:
    MAKERS[name](tmp_path, write_tone)
    table = find_dataset(name).load(tmp_path)
    assert rows(table) == EXPECTED[name]
    assert table.quarantine.is_empty()
    assert all(path.is_file() for path in table.paths)


@pytest.mark.parametrize("name", list(MAKERS))
def test_a_missing_clip_is_quarantined(name: str, tmp_path: Path, write_tone: WriteTone) -> None:
    MAKERS[name](tmp_path, write_tone)
    missing = min(EXPECTED[name])
    (tmp_path / missing).unlink()
    table = find_dataset(name).load(tmp_path)
    assert table.quarantine["path"].to_list() == [missing]
    assert set(rows(table)) == set(EXPECTED[name]) - {missing}


@pytest.mark.parametrize("name", list(MAKERS))
def test_the_folder_above_gets_a_hint(name: str, tmp_path: Path, write_tone: WriteTone) -> None:
    MAKERS[name](tmp_path / "unpacked", write_tone)
    with pytest.raises(UsageError, match=r"did you mean .*unpacked\?"):
        find_dataset(name).load(tmp_path)


def test_the_tree_of_orchideasol_is_even_and_its_nodes_are_paths(
    tmp_path: Path, write_tone: WriteTone
) -> None:
    make_orchideasol(tmp_path, write_tone)
    tree = find_dataset("orchideasol").load(tmp_path).tree
    assert {len(label) for label, *_ in EXPECTED["orchideasol"].values()} == {4}
    # `ordinario` with a mute and without one are two leaves of one name.
    assert sorted(tree.leaf_names) == [
        "Brass/Bass_Tuba/open/ordinario",
        "Brass/Bass_Tuba/sordina/ordinario",
        "Strings/Viola/open/on_the_bridge",
    ]


def test_an_older_table_of_orchideasol_has_another_order_of_columns(
    tmp_path: Path, write_tone: WriteTone
) -> None:
    make_orchideasol(tmp_path, write_tone)
    lines = []
    for line in (ORCHIDEASOL_HEADER, *ORCHIDEASOL_LINES):
        cells = line.split(",")
        lines.append(",".join([cells[0], cells[-1], *cells[1:-1]]))
    (tmp_path / "OrchideaSOL_metadata.csv").write_text("\n".join(lines) + "\n")
    assert rows(find_dataset("orchideasol").load(tmp_path)) == EXPECTED["orchideasol"]


@pytest.mark.parametrize(
    "path",
    [
        "Brass/Horn/Hn-ord-A3-f-N-N.wav",
        "x/Brass/Horn/ordinario/Hn-ord-A3-f-N-N.wav",
        "Brass/Horn+/ordinario/Hn-ord-A3-f-N-N.wav",
        "Brass/+sordina/ordinario/Hn-ord-A3-f-N-N.wav",
        "",
    ],
)
@pytest.mark.parametrize("name", ["orchideasol", "tinysol"])
def test_a_path_of_another_form_is_refused(
    name: str, path: str, tmp_path: Path, write_tone: WriteTone
) -> None:
    MAKERS[name](tmp_path, write_tone)
    table = next(tmp_path.glob("*_metadata.csv"))
    head, line, *_ = table.read_text().splitlines()
    table.write_text(f"{head}\n{path},{line.split(',', 1)[1]}\n")
    with pytest.raises(DataError, match=r"_metadata\.csv is not the official table: .*\+mute"):
        find_dataset(name).load(tmp_path)


def test_tinysol_without_a_folder_of_its_own(tmp_path: Path, write_tone: WriteTone) -> None:
    make_tinysol(tmp_path, write_tone, audio="")
    expected = {path.split("/", 1)[1]: row for path, row in EXPECTED["tinysol"].items()}
    assert rows(find_dataset("tinysol").load(tmp_path)) == expected


def test_tinysol_without_recordings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "TinySOL_metadata.csv").write_text(TINYSOL_HEADER + "\n")
    with pytest.raises(UsageError, match=r"tinysol: expected Brass/.* in TinySOL2020/ or beside"):
        find_dataset("tinysol").load(tmp_path)


def test_every_scene_of_tut_has_its_place(tmp_path: Path, write_tone: WriteTone) -> None:
    places = {
        "indoor": "cafe/restaurant grocery_store home library metro_station office",
        "outdoor": "beach city_center forest_path park residential_area",
        "vehicle": "bus car train tram",
    }
    make_tut2016(tmp_path, write_tone)
    expected = {(place, scene) for place, scenes in places.items() for scene in scenes.split()}
    assert len(expected) == 15
    lines = []
    for number, (_, scene) in enumerate(sorted(expected)):
        path = f"audio/c{number:03}_0_30.wav"
        write_tone(tmp_path / path)
        lines.append(f"{path}\t{scene}\n")
    with (tmp_path / "meta.txt").open("a") as meta:
        meta.writelines(lines)

    table = find_dataset("tut-acoustic-scenes-2016").load(tmp_path)

    assert set(table.labels) == expected
    folds = dict(zip(table.frame["path"], table.frame["fold"], strict=True))
    assert folds["audio/c000_0_30.wav"] is None  # no fold tests it
    assert folds["audio/b020_90_120.wav"] == "1"


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("meta.txt", "audio/b020_90_120.wav\tvolcano\n", "'volcano' is none of the 15 scenes"),
        ("meta.txt", "\naudio/b020_90_120.wav beach\n", "line 2 has no tab"),
        ("meta.txt", "audio/b020_90_120.wav\tbeach\n", r"it lacks audio/a001_0_30\.wav"),
        (
            "evaluation_setup/fold2_evaluate.txt",
            "audio/b020_90_120.wav\tbeach\n",
            r"fold 1 tests audio/b020_90_120\.wav too",
        ),
    ],
)
def test_a_damaged_list_of_tut_is_refused(
    file: str, text: str, message: str, tmp_path: Path, write_tone: WriteTone
) -> None:
    make_tut2016(tmp_path, write_tone)
    (tmp_path / file).write_text(text)
    with pytest.raises(DataError, match=message):
        find_dataset("tut-acoustic-scenes-2016").load(tmp_path)


def test_a_list_of_tut_that_is_not_utf8_is_refused(tmp_path: Path, write_tone: WriteTone) -> None:
    make_tut2016(tmp_path, write_tone)
    (tmp_path / "meta.txt").write_bytes(b"audio/\xff.wav\tbeach\n")
    with pytest.raises(DataError, match=r"meta\.txt is damaged: it is not UTF-8"):
        find_dataset("tut-acoustic-scenes-2016").load(tmp_path)


def test_lists_of_tut_may_have_the_line_ends_of_windows(
    tmp_path: Path, write_tone: WriteTone
) -> None:
    make_tut2016(tmp_path, write_tone)
    for file in (tmp_path / "meta.txt", *(tmp_path / "evaluation_setup").iterdir()):
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    name = "tut-acoustic-scenes-2016"
    assert rows(find_dataset(name).load(tmp_path)) == EXPECTED[name]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "damaged: it is no JSON"),
        (b"\xff\xfe", "damaged: it is no JSON"),
        ("[]", "no object of notes by name"),
        ('{"flute_acoustic_013-060-025": {"pitch": 60}}', "note 'flute_acoustic_013-060-025' has"),
        ('{"a": 1}', "note 'a' has no proper instrument_source_str"),
        (json.dumps({"a": note("flute_acoustic_013-060-025") | {"pitch": "C"}}), "note 'a' has"),
    ],
)
def test_damaged_examples_of_nsynth_are_refused(
    text: str | bytes, message: str, tmp_path: Path, write_tone: WriteTone
) -> None:
    make_nsynth(tmp_path, write_tone)
    table = tmp_path / "nsynth-valid" / "examples.json"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message) as caught:
        find_dataset("nsynth").load(tmp_path)
    assert str(table) in str(caught.value)


def test_only_the_missing_part_of_nsynth_is_reported(tmp_path: Path, write_tone: WriteTone) -> None:
    make_nsynth(tmp_path, write_tone)
    (tmp_path / "nsynth-test" / "examples.json").unlink()
    with pytest.raises(UsageError, match=r"found no nsynth-test/examples\.json$"):
        find_dataset("nsynth").load(tmp_path)
