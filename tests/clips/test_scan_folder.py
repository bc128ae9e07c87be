"""Scanning folders: labels from nesting, every format, and every way a file can be unusable."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tonotopy._errors import DataError, UsageError
from tonotopy.clips import scan, summarise
from tonotopy.clips._listing import label_path

Tone = Callable[..., Path]


def labels_by_path(folder: Path) -> dict[str, tuple[str, ...]]:
    table = scan(folder)
    return dict(zip(table.frame["path"], table.labels, strict=True))


def test_nested_folders_are_labels_from_coarse_to_fine(tmp_path: Path, write_tone: Tone) -> None:
    for name in ("Strings/Violin/pizzicato/a.wav", "Strings/b.wav", "Voice/c.wav", "d.wav"):
        write_tone(tmp_path / name)
    assert labels_by_path(tmp_path) == {
        "Strings/Violin/pizzicato/a.wav": ("Strings", "Violin", "pizzicato"),
        "Strings/b.wav": ("Strings",),
        "Voice/c.wav": ("Voice",),
        "d.wav": (),
    }


@pytest.mark.parametrize(
    "suffix", [".wav", ".WAV", ".flac", ".Flac", ".ogg", ".OGG", ".mp3", ".MP3"]
)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_in_any_case_of_suffix(
    tmp_path: Path, write_tone: Tone, suffix: str, channels: int
) -> None:
    write_tone(tmp_path / "x" / f"tone{suffix}", seconds=0.5, sample_rate=44100, channels=channels)
    row = scan(tmp_path).frame.row(0, named=True)
    assert (row["path"], row["label"]) == (f"x/tone{suffix}", ["x"])
    assert (row["sample_rate"], row["channels"]) == (44100, channels)
    assert row["seconds"] == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("sample_rate", [8000, 11025, 22050, 48000, 96000])
def test_every_sample_rate(tmp_path: Path, write_tone: Tone, sample_rate: int) -> None:
    write_tone(tmp_path / "a.wav", seconds=0.25, sample_rate=sample_rate)
    row = scan(tmp_path).frame.row(0, named=True)
    assert row["sample_rate"] == sample_rate
    assert row["seconds"] == round(0.25 * sample_rate) / sample_rate


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_sample_format(tmp_path: Path, subtype: str) -> None:
    soundfile.write(tmp_path / "a.wav", np.linspace(-0.9, 0.9, 800), 8000, subtype=subtype)
    assert scan(tmp_path).frame["seconds"].to_list() == [0.1]


@pytest.mark.parametrize(
    "label",
    ["Häuser & Gärten", "a,b;c\td", "日本語", "🎻 violin", "[red]markup", "{braces}", "007", "nan"],
)
def test_odd_characters_in_labels_survive(tmp_path: Path, write_tone: Tone, label: str) -> None:
    write_tone(tmp_path / label / "a.wav")
    assert scan(tmp_path).labels == [(label,)]


def test_composed_and_decomposed_accents_are_one_label(tmp_path: Path, write_tone: Tone) -> None:
    write_tone(tmp_path / "caf\u00e9" / "a.wav")
    write_tone(tmp_path / "cafe\u0301" / "b.wav")
    assert scan(tmp_path).labels == [("caf\u00e9",)] * 2


def test_label_path_stops_at_the_first_missing_name() -> None:
    assert label_path(["a", None, "c"]) == ("a",)
    assert label_path(["a", "  ", "c"]) == ("a",)
    assert label_path([None, "b"]) == ()


def write_nan(path: Path) -> None:
    wave = np.zeros(1000, np.float32)
    wave[500] = np.nan
    soundfile.write(path, wave, 16000, subtype="FLOAT")


def write_infinite(path: Path) -> None:
    soundfile.write(path, np.array([0, np.inf], np.float32), 16000, subtype="FLOAT")


def write_no_samples(path: Path) -> None:
    soundfile.write(path, np.zeros(0, np.float32), 16000)


def cut_in_half(path: Path) -> None:
    noise = np.random.default_rng(0).normal(scale=0.1, size=32000)
    soundfile.write(path, noise, 16000)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def overwrite_the_middle(path: Path) -> None:
    noise = np.random.default_rng(0).normal(scale=0.1, size=32000)
    soundfile.write(path, noise, 16000)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    path.write_bytes(data)


BROKEN: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "empty": ("x.wav", "empty", Path.touch),
    "text": ("x.wav", "corrupt", lambda path: path.write_text("this is no audio")),
    "text as mp3": ("x.mp3", "corrupt", lambda path: path.write_text("this is no audio")),
    "header only": ("x.flac", "corrupt", lambda path: path.write_bytes(b"fLaC")),
    "cut flac": ("x.flac", "corrupt", cut_in_half),
    "cut mp3": ("x.mp3", "corrupt", cut_in_half),
    "damaged flac": ("x.flac", "corrupt", overwrite_the_middle),
    "no samples": ("x.wav", "zero-length", write_no_samples),
    "NaN": ("x.wav", "NaN", write_nan),
    "infinity": ("x.wav", "NaN", write_infinite),
    "dangling link": ("x.wav", "unreadable", lambda path: path.symlink_to("nowhere.wav")),
    "link to itself": ("x.wav", "unreadable", lambda path: path.symlink_to(path.name)),
    "pipe": ("x.wav", "empty", os.mkfifo),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_bad_file_is_quarantined_with_its_reason(
    tmp_path: Path, write_tone: Tone, case: str
) -> None:
    name, reason, make = BROKEN[case]
    write_tone(tmp_path / "good" / "a.wav")
    (tmp_path / "bad").mkdir()
    make(tmp_path / "bad" / name)
    table = scan(tmp_path)
    assert table.frame["path"].to_list() == ["good/a.wav"]
    assert table.quarantine.select("path", "reason").rows() == [(f"bad/{name}", reason)]
    assert table.quarantine["detail"].item()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_quarantined(tmp_path: Path, write_tone: Tone) -> None:
    write_tone(tmp_path / "a.wav")
    write_tone(tmp_path / "b.wav").chmod(0)
    assert scan(tmp_path).quarantine["reason"].to_list() == ["unreadable"]


def test_a_folder_that_cannot_be_listed_is_reported(
    tmp_path: Path, write_tone: Tone, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tone(tmp_path / "good" / "a.wav")
    write_tone(tmp_path / "locked" / "b.wav")
    list_folder = os.scandir

    def refuse(folder: Path) -> object:
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied")
        return list_folder(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    table = scan(tmp_path)
    assert table.frame["path"].to_list() == ["good/a.wav"]
    assert table.quarantine.row(0)[:2] == ("locked", "unreadable")
    assert "Permission denied" in table.quarantine["detail"][0]


def test_any_exception_of_a_decoder_quarantines_one_file(
    tmp_path: Path, write_tone: Tone, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tonotopy.audio import count_samples

    def fail(path: Path) -> int:
        if path.name == "b.wav":
            raise MemoryError("8 EiB")
        return count_samples(path)

    monkeypatch.setattr("tonotopy.clips._checking.count_samples", fail)
    for name in ("a.wav", "b.wav", "c.wav"):
        write_tone(tmp_path / name)
    table = scan(tmp_path)
    assert table.frame["path"].to_list() == ["a.wav", "c.wav"]
    assert table.quarantine.rows() == [("b.wav", "unreadable", "MemoryError: 8 EiB")]


@pytest.mark.skipif(os.name != "posix", reason="file names are text elsewhere")
def test_a_name_that_is_not_text_is_quarantined(tmp_path: Path, write_tone: Tone) -> None:
    tone = write_tone(tmp_path / "a.wav")
    os.link(tone, os.fsencode(tmp_path) + b"/caf\xe9.wav")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/x.caf\xe9"))).touch()
    table = scan(tmp_path)
    assert table.quarantine["path"].to_list() == ["caf\\xe9.wav"]
    assert table.ignored == {".caf\\xe9": 1}


def test_hidden_files_are_skipped_and_others_counted_by_suffix(
    tmp_path: Path, write_tone: Tone
) -> None:
    write_tone(tmp_path / "a" / "a.wav")
    write_tone(tmp_path / ".git" / "b.wav")
    write_tone(tmp_path / "a" / "._a.wav")
    for name in ("notes.txt", "more.TXT", "README", "a/table.csv"):
        (tmp_path / name).touch()
    table = scan(tmp_path)
    assert table.frame["path"].to_list() == ["a/a.wav"]
    assert len(table.quarantine) == 0
    assert table.ignored == {".txt": 2, ".csv": 1, "(none)": 1}


def test_loops_of_links_end_and_real_folders_come_first(tmp_path: Path, write_tone: Tone) -> None:
    write_tone(tmp_path / "data" / "a" / "x.wav")
    write_tone(tmp_path / "data" / "b" / "y.wav")
    write_tone(tmp_path / "elsewhere" / "z.wav")
    (tmp_path / "data" / "0up").symlink_to("..")
    (tmp_path / "data" / "a" / "self").symlink_to(".")
    (tmp_path / "data" / "a" / "b").symlink_to("../b")
    (tmp_path / "data" / "b" / "a").symlink_to("../a")
    (tmp_path / "data" / "c").symlink_to("../elsewhere")
    (tmp_path / "data" / "d").symlink_to("../elsewhere")
    assert labels_by_path(tmp_path / "data") == {
        "a/x.wav": ("a",),
        "b/y.wav": ("b",),
        "c/z.wav": ("c",),
    }


def test_a_linked_file_is_a_clip(tmp_path: Path, write_tone: Tone) -> None:
    tone = write_tone(tmp_path / "store" / "1.wav")
    (tmp_path / "data" / "dog").mkdir(parents=True)
    (tmp_path / "data" / "dog" / "1.wav").symlink_to(tone)
    assert labels_by_path(tmp_path / "data") == {"dog/1.wav": ("dog",)}


def test_a_folder_with_an_audio_suffix_is_a_label(tmp_path: Path, write_tone: Tone) -> None:
    write_tone(tmp_path / "kick.wav" / "a.wav")
    assert labels_by_path(tmp_path) == {"kick.wav/a.wav": ("kick.wav",)}


def test_two_scans_agree_whatever_the_order_on_disk(tmp_path: Path, write_tone: Tone) -> None:
    names = ["b/2.wav", "a/1.wav", "B/0.wav", "a-b/3.wav", "é/4.wav"]
    for place, order in (("first", names), ("second", names[::-1])):
        for name in order:
            write_tone(tmp_path / place / name, frequency=100 + 50 * names.index(name))
    first, second = scan(tmp_path / "first"), scan(tmp_path / "second")
    assert first.frame.equals(second.frame)
    assert first.frame["path"].to_list() == sorted(names)


def test_one_class_is_enough_to_scan(tmp_path: Path, write_tone: Tone) -> None:
    write_tone(tmp_path / "only" / "a.wav")
    assert summarise(scan(tmp_path))["labels"] == [{"path": ["only"], "clips": 1}]


def test_an_empty_folder_is_an_error_that_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected WAV, FLAC, OGG or MP3 files, found nothing"):
        scan(tmp_path)


def test_a_folder_without_usable_audio_says_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "b.wav").write_text("text")
    (tmp_path / "c.txt").touch()
    with pytest.raises(DataError, match=r"1 empty, 1 corrupt .*a\.wav.* and .*1 \.txt"):
        scan(tmp_path)


def test_wrong_use_is_a_usage_error(tmp_path: Path, write_tone: Tone) -> None:
    tone = write_tone(tmp_path / "a.wav")
    with pytest.raises(UsageError, match=r"no such file or folder: .*missing"):
        scan(tmp_path / "missing")
    with pytest.raises(UsageError, match=r"a\.wav is no kind of data"):
        scan(tone)
    with pytest.raises(UsageError, match="--label_columns cannot be used"):
        scan(tmp_path, label_columns=["label"])
    with pytest.raises(UsageError, match="--audio_folder cannot be used"):
        scan(tmp_path, audio_folder=tmp_path)
    with pytest.raises(UsageError, match="--extract_to cannot be used"):
        scan(tmp_path, extract_to=tmp_path)


def test_real_nested_folders(shared_data: Path) -> None:
    """Percussion of the Philharmonia: instrument, then technique."""
    folder = shared_data / "philharmonia" / "audio" / "percussion"
    table = scan(folder)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.ogg"))
    assert table.frame["path"].to_list() == files
    assert all(
        label == Path(path).parts[:-1] for path, label in zip(files, table.labels, strict=True)
    )
    assert len(table.quarantine) == 0
    assert table.tree.num_levels == 2
    assert set(table.frame["sample_rate"]) == {16000}
    assert table.frame["seconds"].is_between(0.1, 4.0).all()
