"""Scanning data sets saved by the `datasets` library: bytes become files, splits become folds."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tonotopy._errors import DataError, MissingExtraError, UsageError
from tonotopy.clips import scan
from tonotopy.clips.table import CLIP_SCHEMA

datasets = pytest.importorskip("datasets", reason="the extra `hf` is not installed")
Tone = Callable[..., Path]
PLAIN = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    datasets.disable_progress_bars()
    monkeypatch.setenv("TONOTOPY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def sound(frequency: int, kind: str = "FLAC") -> dict[str, Any]:
    file = io.BytesIO()
    wave = 0.5 * np.sin(2 * np.pi * frequency * np.arange(1600) / 16000)
    soundfile.write(file, wave, 16000, format=kind)
    return {"bytes": file.getvalue(), "path": f"{frequency}.{kind}"}


def make(sounds: Sequence[dict[str, Any] | None], **columns: Sequence[Any]) -> Any:
    # Cast afterwards: encoding through the Audio feature needs torchcodec, and Arrow does not.
    typed = datasets.Features({"audio": PLAIN})
    plain = datasets.Dataset.from_dict({"audio": list(sounds)}, features=typed)
    for name, values in columns.items():
        plain = plain.add_column(name, list(values))
    return plain.cast_column("audio", datasets.Audio())


def with_classes(plain: Any, names: Sequence[str], column: str = "label") -> Any:
    return plain.cast_column(column, datasets.ClassLabel(names=list(names)))


def test_a_single_data_set(tmp_path: Path, cache: Path) -> None:
    saved = with_classes(
        make([sound(300), sound(400), sound(500)], label=[1, 0, -1]), ["cat", "dog"]
    )
    saved.save_to_disk(str(tmp_path / "data"))
    table = scan(tmp_path / "data")
    assert table.labels == [("dog",), ("cat",), ()]
    assert table.frame["fold"].to_list() == [None] * 3
    assert table.frame["seconds"].to_list() == [0.1] * 3
    assert table.root.is_relative_to(cache / "extracted")
    assert [path.read_bytes() for path in table.paths] == [
        sound(f)["bytes"] for f in (300, 400, 500)
    ]
    assert {path.suffix for path in table.paths} == {".flac"}


def test_splits_become_folds(tmp_path: Path) -> None:
    splits = {"train": make([sound(300)], label=["a"]), "test": make([sound(400)], label=["b"])}
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "data"))
    frame = scan(tmp_path / "data").frame
    assert set(frame.select(frame["label"].list.first(), "fold").rows()) == {
        ("a", "train"),
        ("b", "test"),
    }


def test_several_label_columns_fold_and_group(tmp_path: Path) -> None:
    saved = make(
        [sound(300), sound(400)],
        family=["bird", "bird"],
        kind=["owl", None],
        fold=[1, 2],
        site=["x", "y"],
    )
    saved.save_to_disk(str(tmp_path / "data"))
    table = scan(tmp_path / "data", label_columns=["family", "kind"], group_column="site")
    assert table.labels == [("bird", "owl"), ("bird",)]
    assert table.frame.select("fold", "group").rows() == [("1", "x"), ("2", "y")]


def test_the_only_class_column_is_the_label_whatever_its_name(tmp_path: Path) -> None:
    with_classes(make([sound(300)], genre=[0], n=[5]), ["jazz"], "genre").save_to_disk(
        str(tmp_path / "data")
    )
    assert scan(tmp_path / "data").labels == [("jazz",)]


def save_without_files(folder: Path, sounds: Sequence[dict[str, Any] | None]) -> None:
    """Save rows without the files that they name, as other versions of the library do."""
    make(sounds).cast_column("audio", PLAIN).save_to_disk(str(folder))
    about = json.loads((folder / "dataset_info.json").read_text())
    about["features"] = {"audio": {"_type": "Audio"}}
    (folder / "dataset_info.json").write_text(json.dumps(about))


def test_audio_on_disk_is_not_copied(tmp_path: Path, write_tone: Tone, cache: Path) -> None:
    tone = write_tone(tmp_path / "audio" / "a.wav")
    save_without_files(tmp_path / "data", [{"bytes": None, "path": str(tone)}])
    assert scan(tmp_path / "data", label_columns=[]).paths == [tone]
    assert not cache.exists()


def test_bad_rows_are_quarantined(tmp_path: Path) -> None:
    bad: list[dict[str, Any] | None] = [
        {"bytes": b"no audio", "path": "x.wav"},
        {"bytes": None, "path": None},
        {"bytes": None, "path": "https://example.org/a.wav"},
        {"bytes": None, "path": str(tmp_path / "gone.wav")},
        None,
    ]
    save_without_files(tmp_path / "data", [*bad, sound(300)])
    table = scan(tmp_path / "data", label_columns=[])
    assert len(table) == 1
    found = {path: (reason, detail) for path, reason, detail in table.quarantine.rows()}
    (extracted,) = (path for path in found if path.startswith("000000-"))
    assert found.pop(extracted)[0] == "corrupt"
    assert found == {
        str(tmp_path / "gone.wav"): ("unreadable", "No such file or directory"),
        "data, row 1": ("unreadable", "the row has no audio"),
        "data, row 2": (
            "unreadable",
            "its audio is not in the data set but at https://example.org/a.wav",
        ),
        "data, row 4": ("unreadable", "the row has no audio"),
    }


def test_extracted_files_are_kept_and_go_where_told(tmp_path: Path) -> None:
    make([sound(300)], label=["a"]).save_to_disk(str(tmp_path / "data"))
    first = scan(tmp_path / "data", extract_to=tmp_path / "files")
    (written,) = first.paths
    assert written.parent == tmp_path / "files"
    before = written.stat().st_mtime_ns
    assert scan(tmp_path / "data", extract_to=tmp_path / "files").paths == [written]
    assert written.stat().st_mtime_ns == before


def test_a_changed_data_set_of_the_same_name_is_extracted_anew(tmp_path: Path) -> None:
    make([sound(300, "WAV")], label=["a"]).save_to_disk(str(tmp_path / "data"))
    first = scan(tmp_path / "data")
    make([sound(400, "WAV")], label=["a"]).save_to_disk(str(tmp_path / "data"))
    second = scan(tmp_path / "data")
    assert first.frame["content"].item() != second.frame["content"].item()


def test_a_data_set_without_audio_or_labels_is_refused(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": ["a"]}).save_to_disk(str(tmp_path / "text"))
    with pytest.raises(UsageError, match=r"no audio column.*text"):
        scan(tmp_path / "text")
    make([sound(300)], family=["a"]).save_to_disk(str(tmp_path / "data"))
    with pytest.raises(UsageError, match=r"--label_columns.*audio, family"):
        scan(tmp_path / "data")
    with pytest.raises(UsageError, match="no audio column 'family'"):
        scan(tmp_path / "data", path_column="family", label_columns=[])
    assert scan(tmp_path / "data", label_columns=[]).labels == [()]


def test_a_damaged_data_set_says_so(tmp_path: Path) -> None:
    make([sound(300)], label=["a"]).save_to_disk(str(tmp_path / "data"))
    (tmp_path / "data" / "state.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read as a Hugging Face data set"):
        scan(tmp_path / "data")


def test_a_missing_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make([sound(300)], label=["a"]).save_to_disk(str(tmp_path / "data"))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tonotopy\[hf\]'"):
        scan(tmp_path / "data")


def test_further_columns_are_kept_as_text(tmp_path: Path) -> None:
    one = make([sound(300), sound(400)], label=["a", "b"], site=["x", None], seconds=[7, 8])
    one = with_classes(one.add_column("kind", [1, -1]), ["low", "high"], column="kind")
    one = one.add_column("many", [[1, 2], [3]])
    two = make([sound(500)], label=["a"], speed=[2.5])
    datasets.DatasetDict({"train": one, "test": two}).save_to_disk(str(tmp_path / "data"))
    frame = scan(tmp_path / "data", label_columns="label").frame
    names = ["fold", "site", "seconds_in_table", "kind", "speed"]
    assert set(frame.columns) == {*CLIP_SCHEMA, *names}  # no text: `many`
    assert set(frame.select(names).rows()) == {
        ("train", "x", "7", "high", None),
        ("train", None, "8", None, None),
        ("test", None, None, None, "2.5"),
    }
    assert frame["seconds"].to_list() == [0.1] * 3
