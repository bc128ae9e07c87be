"""A miniature of FSDnoisy18k: its columns, its subsets, and what does not fit together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tonotopy._errors import DataError, UsageError
from tonotopy.cli import main
from tonotopy.clips import ClipTable
from tonotopy.datasets import find_dataset
from tonotopy.datasets import fsdnoisy18k as module
from tonotopy.datasets.fsdnoisy18k import CLASSES, SUBSETS

WriteTone = Callable[..., Path]

TRAIN = [
    "17.wav,Walk_or_footsteps,/m/07pbtc8,1,0",
    "30.wav,Fire,/m/02_41,0,1",
    "9.wav,Fire,/m/02_41,0,0",
    "112.wav,Coin_(dropping),/m/025l19,0,1",
]
TEST = ["564.wav,Walk_or_footsteps,/m/07pbtc8", "8.wav,Writing,/m/081rb"]
TRAIN_AUDIO, TEST_AUDIO = "FSDnoisy18k.audio_train", "FSDnoisy18k.audio_test"


def write_tables(root: Path, train: list[str], test: list[str]) -> None:
    meta = root / "FSDnoisy18k.meta"
    meta.mkdir(parents=True, exist_ok=True)
    header = "fname,label,aso_id"
    (meta / "train.csv").write_text(
        "\n".join([f"{header},manually_verified,noisy_small", *train]) + "\n"
    )
    (meta / "test.csv").write_text("\n".join([header, *test]) + "\n")


@pytest.fixture
def root(tmp_path: Path, write_tone: WriteTone) -> Path:
    """The folders as the archives of Zenodo unpack."""
    folder = tmp_path / "FSDnoisy18k"
    write_tables(folder, TRAIN, TEST)
    for number, (audio, line) in enumerate(
        [(TRAIN_AUDIO, line) for line in TRAIN] + [(TEST_AUDIO, line) for line in TEST]
    ):
        name = line.split(",")[0]
        write_tone(folder / audio / name, seconds=0.3, frequency=300 + 9 * number)
    return folder


@pytest.fixture
def _small_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COUNTS", {"clean": 1, "noisy": 3, "test": 2})


def load(root: Path, *subsets: str) -> ClipTable:
    return find_dataset("FSDnoisy18k").load(root, subsets)


@pytest.mark.usefixtures("_small_counts")
def test_the_official_layout_becomes_a_table(root: Path, tmp_path: Path) -> None:
    table = load(root)
    columns = ("path", "fold", "split", "manually_verified", "noisy_small", "aso_id")
    rows = list(zip(*(table.frame[name].to_list() for name in columns), table.labels, strict=True))
    walk, fire, coin = ("Walk_or_footsteps",), ("Fire",), ("Coin_(dropping)",)
    assert rows == [
        (f"{TEST_AUDIO}/564.wav", "test", "test", True, False, "/m/07pbtc8", walk),
        (f"{TEST_AUDIO}/8.wav", "test", "test", True, False, "/m/081rb", ("Writing",)),
        (f"{TRAIN_AUDIO}/112.wav", "train", "train", False, True, "/m/025l19", coin),
        (f"{TRAIN_AUDIO}/17.wav", "train", "train", True, False, "/m/07pbtc8", walk),
        (f"{TRAIN_AUDIO}/30.wav", "train", "train", False, True, "/m/02_41", fire),
        (f"{TRAIN_AUDIO}/9.wav", "train", "train", False, False, "/m/02_41", fire),
    ]
    assert table.quarantine.is_empty()
    table.write(tmp_path / "clips.parquet")
    assert ClipTable.read(tmp_path / "clips.parquet").frame.equals(table.frame)


@pytest.mark.usefixtures("_small_counts")
@pytest.mark.parametrize(
    ("subsets", "names"),
    [
        (["noisy"], {"112", "30", "9"}),
        (["clean"], {"17"}),
        (["noisy_small"], {"112", "30"}),
        (["all"], {"112", "17", "30", "9"}),
        (["test"], {"564", "8"}),
        (["clean", "test"], {"17", "564", "8"}),
    ],
)
def test_subsets(root: Path, subsets: list[str], names: set[str]) -> None:
    assert {Path(path).stem for path in load(root, *subsets).frame["path"]} == names


def test_the_subsets_are_those_of_the_paper() -> None:
    assert list(SUBSETS) == ["noisy", "clean", "noisy_small", "all", "test"]


@pytest.mark.usefixtures("_small_counts")
def test_an_unknown_subset_is_named(root: Path) -> None:
    with pytest.raises(UsageError, match="no subset 'dirty'; there are: noisy, clean"):
        load(root, "dirty")
    with pytest.raises(UsageError, match="esc-50 has no subset 'noisy'; it has none"):
        find_dataset("esc-50").load(root, ["noisy"])


@pytest.mark.filterwarnings("ignore:this is not all of FSDnoisy18k")
def test_class_ids_are_those_of_the_class_list(tmp_path: Path, write_tone: WriteTone) -> None:
    """Not those of sorted texts of numbers, where 10 comes before 2."""
    lines = [f"{900 - at}.wav,{name},/m/{at},0,0" for at, name in enumerate(CLASSES)]
    write_tables(tmp_path, lines, TEST[:1])
    for line in lines:
        write_tone(tmp_path / TRAIN_AUDIO / line.split(",")[0], seconds=0.05)
    write_tone(tmp_path / TEST_AUDIO / "564.wav", seconds=0.05)
    table = load(tmp_path)
    assert table.tree.leaf_names == CLASSES
    ids = dict(
        zip(table.frame["aso_id"], table.tree.leaf_index(table.labels).tolist(), strict=True)
    )
    assert all(ids[f"/m/{at}"] == at for at in range(len(CLASSES)))


def test_other_counts_than_the_stated_ones_are_told(root: Path) -> None:
    with pytest.warns(UserWarning, match=r"1 of 1,772 clean, 3 of 15,813 noisy, 2 of 947 test"):
        load(root)


@pytest.mark.usefixtures("_small_counts")
def test_audio_that_no_table_names_is_told_and_left_out(root: Path, write_tone: WriteTone) -> None:
    write_tone(root / TRAIN_AUDIO / "77.wav")
    (root / TRAIN_AUDIO / "._77.wav").write_bytes(b"\x00\x05")
    with pytest.warns(UserWarning, match=r"1 files of .*audio_train are not in .*\(77.wav\)"):
        assert len(load(root)) == 6


def test_a_missing_clip_is_an_error(root: Path) -> None:
    (root / TRAIN_AUDIO / "30.wav").unlink()
    with pytest.raises(DataError, match=r"train.csv does not match .* 1 of its 4 .*\(30.wav\)"):
        load(root)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("31.wav,Fires,/m/02_41,0,0", r"31.wav has the label 'Fires', which is none of the 20"),
        ("9.wav,Wind,/m/03m9d0z,0,0", r"it names 9.wav more than once"),
        ("9.wav,Fire,/m/02_41,0,0", r"it names 9.wav more than once"),
        ("31.wav,Fire,/m/02_41,2,0", r"31.wav has '2' for manually_verified, expected 0 or 1"),
        ("31.wav,Fire,/m/02_41,0,", r"31.wav has '' for noisy_small"),
        ("31.wav,Fire,/m/02_41,1,1", r"both manually_verified and noisy_small"),
        ("31.wav,Fire,/m/02_41", r"line 6 is short"),
    ],
)
def test_a_damaged_table_is_refused(root: Path, line: str, message: str) -> None:
    write_tables(root, [*TRAIN, line], TEST)
    with pytest.raises(DataError, match=message):
        load(root)


@pytest.mark.usefixtures("_small_counts")
def test_a_damaged_clip_is_quarantined(root: Path) -> None:
    (root / TRAIN_AUDIO / "30.wav").write_bytes(b"no audio")
    table = load(root)
    assert table.quarantine["path"].to_list() == [f"{TRAIN_AUDIO}/30.wav"]
    assert len(table) == 5


@pytest.mark.usefixtures("_small_counts")
def test_the_command_line_writes_subsets(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "noisy.parquet"
    options = ["--load", str(root), "--subsets", "[noisy, test]", "--out", str(out)]
    assert main(["datasets", "fsdnoisy18k", *options]) == 0
    assert len(ClipTable.read(out)) == 5
