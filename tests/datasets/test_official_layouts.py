"""Miniature copies of the official layouts, and the real ESC-50, become clip tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tonotopy._errors import DataError, UsageError
from tonotopy.clips import ClipTable
from tonotopy.datasets import DATASETS, PublicDataset, find_dataset

WriteTone = Callable[..., Path]

ESC50_HEADER = "filename,fold,target,category,esc10,src_file,take\n"
URBANSOUND8K_HEADER = "slice_file_name,fsID,start,end,salience,fold,classID,class\n"
EVALUATION = """\
% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
C-E3:\tNeutral;\t()
A-E3:\tval 3; act 2; dom  2;\t()

[10.0100 - 11.3925]\tSes01F_impro01_M001\txxx\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()

[14.8872 - 18.0175]\tSes01F_impro01_M002\tang\t[1.5000, 4.0000, 4.5000]
C-E2:\tAnger;\t()

[19.2900 - 20.7875]\tSes01F_impro01_F003\texc\t[4.5000, 4.0000, 3.5000]
C-E2:\tExcited;\t()
"""


Row = tuple[tuple[str, ...], str | None, str | None]


def rows(table: ClipTable) -> dict[str, Row]:
    """Path to (label, fold, group)."""
    columns = (table.frame["path"], table.labels, table.frame["fold"], table.frame["group"])
    return {path: (label, fold, group) for path, label, fold, group in zip(*columns, strict=True)}


def make_esc50(root: Path, write_tone: WriteTone) -> None:
    lines = [
        "1-100032-A-0.wav,1,0,dog,True,100032,A",
        "5-9032-A-0.wav,5,0,dog,True,9032,A",
        "1-17367-A-10.wav,1,10,rain,True,17367,A",
        "2-82274-A-49.wav,2,49,hand_saw,False,82274,A",
    ]
    (root / "meta").mkdir(parents=True)
    (root / "meta" / "esc50.csv").write_text(ESC50_HEADER + "\n".join(lines) + "\n")
    for number, line in enumerate(lines):
        name = line.split(",")[0]
        if number == 2:  # the Ogg variant of the data set keeps the names of the table
            name = name.replace(".wav", ".ogg")
        write_tone(root / "audio" / name, frequency=300.0 + number, sample_rate=44100)


def make_urbansound8k(root: Path, write_tone: WriteTone) -> None:
    lines = [
        "100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark",
        "100263-2-0-117.wav,100263,58.5,62.5,1,5,2,children_playing",
        "99812-1-0-0.wav,99812,0.0,0.4,1,10,1,car_horn",
    ]
    (root / "metadata").mkdir(parents=True)
    (root / "metadata" / "UrbanSound8K.csv").write_text(
        URBANSOUND8K_HEADER + "\n".join(lines) + "\n"
    )
    for line in lines:
        name, _, _, _, _, fold, *_ = line.split(",")
        write_tone(root / "audio" / f"fold{fold}" / name, channels=2, sample_rate=48000)


def make_speech_commands(root: Path, write_tone: WriteTone) -> None:
    for name in (
        "bed/00176480_nohash_0.wav",
        "bed/004ae714_nohash_0.wav",
        "bed/004ae714_nohash_1.wav",
        "yes/0a7c2a8d_nohash_0.wav",
        "_background_noise_/white_noise.wav",
    ):
        write_tone(root / name)
    (root / "validation_list.txt").write_text("bed/00176480_nohash_0.wav\n")
    (root / "testing_list.txt").write_text("yes/0a7c2a8d_nohash_0.wav\n")
    (root / "README.md").write_text("Speech Commands")


def make_iemocap(root: Path, write_tone: WriteTone) -> None:
    for session in "12345":
        (root / f"Session{session}" / "dialog" / "EmoEvaluation").mkdir(parents=True)
        (root / f"Session{session}" / "sentences" / "wav").mkdir(parents=True)
    write_iemocap_session(root, "1", EVALUATION, write_tone)
    scripted = EVALUATION.replace("Ses01F_impro01", "Ses04M_script02_2")
    write_iemocap_session(root, "4", scripted, write_tone)


def write_iemocap_session(root: Path, session: str, text: str, write_tone: WriteTone) -> None:
    dialogue = next(line for line in text.splitlines() if line.startswith("[")).split("\t")[1][:-5]
    evaluations = root / f"Session{session}" / "dialog" / "EmoEvaluation"
    (evaluations / f"{dialogue}.txt").write_text(text)
    (evaluations / f"._{dialogue}.txt").write_bytes(b"\x00\x05\x16\x07" + text.encode())
    for turn in ("F000", "M001", "M002", "F003"):
        name = f"{dialogue}_{turn}.wav"
        write_tone(root / f"Session{session}" / "sentences" / "wav" / dialogue / name)


def make_fsdd(root: Path, write_tone: WriteTone) -> None:
    for name in ("0_jackson_0", "0_jackson_5", "7_theo_4", "7_theo_49"):
        write_tone(root / "recordings" / f"{name}.wav", sample_rate=8000, seconds=0.4)
    (root / "recordings" / "notes.txt").write_text("not a clip")


MAKERS = {
    "esc-50": make_esc50,
    "urbansound8k": make_urbansound8k,
    "speech-commands": make_speech_commands,
    "iemocap": make_iemocap,
    "fsdd": make_fsdd,
}

EXPECTED: dict[str, dict[str, Row]] = {
    "esc-50": {
        "audio/1-100032-A-0.wav": (("animals", "dog"), "1", "100032"),
        "audio/1-17367-A-10.ogg": (("natural", "rain"), "1", "17367"),
        "audio/2-82274-A-49.wav": (("exterior", "hand_saw"), "2", "82274"),
        "audio/5-9032-A-0.wav": (("animals", "dog"), "5", "9032"),
    },
    "urbansound8k": {
        "audio/fold10/99812-1-0-0.wav": (("car_horn",), "10", "99812"),
        "audio/fold5/100032-3-0-0.wav": (("dog_bark",), "5", "100032"),
        "audio/fold5/100263-2-0-117.wav": (("children_playing",), "5", "100263"),
    },
    "speech-commands": {
        "bed/00176480_nohash_0.wav": (("bed",), "val", "00176480"),
        "bed/004ae714_nohash_0.wav": (("bed",), "train", "004ae714"),
        "bed/004ae714_nohash_1.wav": (("bed",), "train", "004ae714"),
        "yes/0a7c2a8d_nohash_0.wav": (("yes",), "test", "0a7c2a8d"),
    },
    "iemocap": {
        "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav": (("neutral",), "1", "1F"),
        "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M002.wav": (("angry",), "1", "1M"),
        "Session4/sentences/wav/Ses04M_script02_2/Ses04M_script02_2_F000.wav": (
            ("neutral",),
            "4",
            "4F",
        ),
        "Session4/sentences/wav/Ses04M_script02_2/Ses04M_script02_2_M002.wav": (
            ("angry",),
            "4",
            "4M",
        ),
    },
    "fsdd": {
        "recordings/0_jackson_0.wav": (("0",), "test", "jackson"),
        "recordings/0_jackson_5.wav": (("0",), "train", "jackson"),
        "recordings/7_theo_4.wav": (("7",), "test", "theo"),
        "recordings/7_theo_49.wav": (("7",), "train", "theo"),
    },
}


TREES = {"nsynth", "orchideasol", "tinysol", "tut-acoustic-scenes-2016"}
"""Those of test_tree_layouts.py."""

MACHINES = {f"dcase{year}-task2" for year in range(2020, 2025)}
"""Those of test_dcase_task2.py."""


def test_every_data_set_has_a_miniature() -> None:
    assert set(MAKERS) == set(EXPECTED)
    elsewhere = TREES | MACHINES | {"fsdnoisy18k"}  # the last in test_fsdnoisy18k.py
    assert {dataset.name for dataset in DATASETS} == set(MAKERS) | elsewhere


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
def test_a_table_survives_writing_and_reading(
    name: str, tmp_path: Path, write_tone: WriteTone
) -> None:
    MAKERS[name](tmp_path / "data", write_tone)
    table = find_dataset(name).load(tmp_path / "data")
    table.write(tmp_path / "clips.parquet")
    assert rows(ClipTable.read(tmp_path / "clips.parquet")) == EXPECTED[name]


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.name)
def test_another_layout_is_refused_by_name(dataset: PublicDataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        dataset.load(tmp_path)
    message = str(caught.value)
    assert str(tmp_path) in message
    assert dataset.name in message
    assert all(entry in message for entry in dataset.layout)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no folder .*nowhere"):
        find_dataset("fsdd").load(tmp_path / "nowhere")


def test_the_folder_above_gets_a_hint(tmp_path: Path, write_tone: WriteTone) -> None:
    make_esc50(tmp_path / "ESC-50-master", write_tone)
    with pytest.raises(UsageError, match=r"did you mean .*ESC-50-master\?"):
        find_dataset("esc-50").load(tmp_path)


def test_only_the_missing_part_is_reported_missing(tmp_path: Path, write_tone: WriteTone) -> None:
    make_iemocap(tmp_path, write_tone)
    (tmp_path / "Session5" / "dialog" / "EmoEvaluation").rmdir()
    with pytest.raises(UsageError, match=r"found no Session5/dialog/EmoEvaluation/$"):
        find_dataset("iemocap").load(tmp_path)


@pytest.mark.parametrize("missing", ["bed/00176480_nohash_0.wav", "yes/0a7c2a8d_nohash_0.wav"])
def test_a_listed_clip_that_is_missing_is_quarantined(
    missing: str, tmp_path: Path, write_tone: WriteTone
) -> None:
    make_speech_commands(tmp_path, write_tone)
    (tmp_path / missing).unlink()
    table = find_dataset("speech-commands").load(tmp_path)
    assert table.quarantine["path"].to_list() == [missing]
    assert set(rows(table)) == set(EXPECTED["speech-commands"]) - {missing}


def test_a_damaged_clip_is_quarantined(tmp_path: Path, write_tone: WriteTone) -> None:
    make_urbansound8k(tmp_path, write_tone)
    damaged = "audio/fold10/99812-1-0-0.wav"
    (tmp_path / damaged).write_bytes(b"no audio at all")
    table = find_dataset("urbansound8k").load(tmp_path)
    assert table.quarantine["path"].to_list() == [damaged]
    assert len(table) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,fold\n1.wav,1\n", "no column target, category, src_file"),
        ("", "no column filename"),
        (ESC50_HEADER + "1-1-A-0.wav,1,50,dog,True,1,A\n", "target '50'"),
        (ESC50_HEADER + "1-1-A-0.wav,1,-1,dog,True,1,A\n", "target '-1'"),
        (ESC50_HEADER + "1-1-A-0.wav,1\n", "line 2 is short"),
    ],
)
def test_a_table_of_another_form_is_refused(
    text: str, message: str, tmp_path: Path, write_tone: WriteTone
) -> None:
    make_esc50(tmp_path, write_tone)
    (tmp_path / "meta" / "esc50.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        find_dataset("esc-50").load(tmp_path)


def test_a_table_that_is_not_utf8_is_refused(tmp_path: Path, write_tone: WriteTone) -> None:
    make_esc50(tmp_path, write_tone)
    (tmp_path / "meta" / "esc50.csv").write_bytes(ESC50_HEADER.encode() + b"\xff\xfe,1,0,dog")
    with pytest.raises(DataError, match="not UTF-8"):
        find_dataset("esc-50").load(tmp_path)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path, write_tone: WriteTone) -> None:
    make_esc50(tmp_path, write_tone)
    table = tmp_path / "meta" / "esc50.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    assert rows(find_dataset("esc-50").load(tmp_path)) == EXPECTED["esc-50"]


def test_the_real_esc50(shared_data: Path) -> None:
    table = find_dataset("ESC50").load(shared_data / "esc50")

    assert table.quarantine.is_empty()
    assert len(table) == 1600
    assert set(Counter(table.labels).values()) == {32}
    assert set(Counter(table.frame["fold"]).values()) == {400}
    majors = Counter(path[0] for path in dict.fromkeys(table.labels))
    assert majors == dict.fromkeys(("animals", "natural", "human", "interior", "exterior"), 10)
    folds = table.frame.group_by("group").agg(pl.col("fold").n_unique())
    # The official folds keep the clips of a source recording together, but for these two.
    assert set(folds.filter(pl.col("fold") > 1)["group"]) == {"131943", "134049"}
