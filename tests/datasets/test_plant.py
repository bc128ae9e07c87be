"""The synthetic plant: named as DCASE does, the same for a seed, at the ratio to the noise."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tonotopy._errors import UsageError
from tonotopy.clips import scan
from tonotopy.datasets import make_plant
from tonotopy.datasets._physical.plant_kinds import KINDS
from tonotopy.datasets._physical.plant_machines import Fault
from tonotopy.datasets._plant_plan import PlannedClip, PlantSize, plan_plant
from tonotopy.datasets.plant import installed, record

NAME = re.compile(
    r"(?P<kind>\w+)/(?P<split>train|test)/section_(?P<section>\d\d)_(?P<domain>source|target)_"
    r"(?P=split)_(?P<condition>normal|anomaly)_\d{4}_(?P<attributes>speed_[123]_load_[12])\.wav"
)
SIZE = PlantSize(2, 12, 10, 18, 2, (0.5, 1.0), (-6.0, 6.0))


def small_plant(folder: Path, **options: object) -> Path:
    sizes = {"sections": 1, "train_source": 3, "train_target": 1, "test_normals": 1}
    few = {"test_anomalies": 2, "severities": (1.0,), "snr_db": (0.0,), "seconds": 0.5}
    return make_plant(folder, **{**sizes, **few, **options})  # type: ignore[arg-type]


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "plant.csv").open(newline="") as table:
        return list(csv.DictReader(table))


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_plant(tmp_path_factory.mktemp("plant"))


def test_the_table_lists_every_file_and_agrees_with_its_name(plant: Path) -> None:
    listed = rows(plant)
    files = {path.relative_to(plant).as_posix() for path in plant.rglob("*.wav")}
    assert [row["path"] for row in listed] == list(dict.fromkeys(row["path"] for row in listed))
    assert {row["path"] for row in listed} == files
    for row in listed:
        match = NAME.fullmatch(row["path"])
        assert match is not None
        assert match["kind"] == row["machine_type"]
        for column in ("split", "section", "domain", "condition", "attributes"):
            assert match[column] == row[column]
        assert (row["condition"] == "anomaly") == bool(row["fault"]) == (row["severity"] != "0.0")


def test_clips_are_mono_at_16_khz_of_the_length_that_was_asked_for(plant: Path) -> None:
    table = scan(plant / "plant.csv", label_columns=["machine_type", "section"])
    assert table.quarantine.is_empty()
    assert len(table) == len(rows(plant))
    assert table.frame["content"].n_unique() == len(table)
    for column, value in (("seconds", 0.5), ("sample_rate", 16000), ("channels", 1)):
        assert set(table.frame[column]) == {value}
    assert {label[0] for label in table.labels} == set(KINDS)


def test_clips_are_audible_and_do_not_clip(plant: Path) -> None:
    for path in plant.rglob("*.wav"):
        samples = soundfile.read(path, dtype="int16")[0].astype(np.float64)
        assert 150.0 < samples.std() < 6000.0
        assert np.abs(samples).max() < 32000.0


def test_the_plan_trains_on_sound_machines_and_balances_what_it_varies() -> None:
    planned = list(plan_plant(SIZE))
    assert len({clip.path for clip in planned}) == len(planned)
    assert {clip.condition for clip in planned if clip.split == "train"} == {"normal"}
    machine = [clip for clip in planned if clip.kind == "fan" and clip.section == 1]
    normals = Counter((c.split, c.domain) for c in machine if not c.fault.name)
    assert normals == {
        ("train", "source"): 12,
        ("train", "target"): 10,
        ("test", "source"): 18,
        ("test", "target"): 18,
    }
    train = [clip for clip in machine if clip.split == "train" and clip.domain == "source"]
    assert set(Counter((c.speed, c.load, c.snr_db) for c in train).values()) == {1}
    anomalies = Counter((c.fault, c.snr_db) for c in machine if c.fault.name)
    assert len(anomalies) == len(KINDS["fan"].faults) * 2 * 2
    assert set(anomalies.values()) == {2}
    for fault, snr in anomalies:
        domains = {c.domain for c in machine if (c.fault, c.snr_db) == (fault, snr)}
        assert domains == {"source", "target"}


def test_the_same_seed_gives_the_same_files(plant: Path, tmp_path: Path) -> None:
    again = digests(small_plant(tmp_path / "again"))
    assert again == digests(plant)
    other = digests(small_plant(tmp_path / "other", seed=1))
    assert [path for path in again if again[path] == other[path]] == ["plant.csv"]


def test_more_sound_clips_leave_the_others_as_they_are(plant: Path, tmp_path: Path) -> None:
    more = digests(small_plant(tmp_path, train_source=4, test_normals=2))
    few = {path: digest for path, digest in digests(plant).items() if path.endswith(".wav")}
    assert few.items() < more.items()


def test_an_interrupted_plant_is_completed(tmp_path: Path) -> None:
    folder = small_plant(tmp_path / "plant")
    whole = digests(folder)
    files = sorted(folder.rglob("*.wav"))
    (folder / "plant.csv").unlink()
    for file in files[::3]:
        file.unlink()
    files[1].write_bytes(b"kept")

    small_plant(folder)

    kept = files[1].relative_to(folder).as_posix()
    assert digests(folder) == {**whole, kept: hashlib.sha256(b"kept").hexdigest()}


@pytest.mark.parametrize("change", [{"seed": 1}, {"seconds": 0.75}, {"severities": (0.5,)}])
def test_two_plants_are_not_mixed(change: dict[str, object], plant: Path) -> None:
    before = digests(plant)
    with pytest.raises(UsageError, match="choose a new folder"):
        small_plant(plant, **change)
    assert digests(plant) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sections": 0}, "sections must be 1 to 100, got 0"),
        ({"train_target": -1}, "train_target must not be negative, got -1"),
        ({"test_anomalies": 3}, "test_anomalies must be even"),
        ({"snr_db": ()}, "one ratio or more"),
        ({"snr_db": (-20.0,)}, "-12 dB or more"),
        ({"severities": (0.0,)}, "severities must be above 0"),
        ({"severities": (1.5,)}, "at most 1"),
        ({"seconds": 0.1}, "seconds must be 0.5 to 60"),
    ],
)
def test_what_cannot_be_is_refused(
    options: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        small_plant(tmp_path / "plant", **options)
    assert not (tmp_path / "plant").exists()


def test_the_readme_says_that_the_sounds_are_synthetic(plant: Path) -> None:
    text = (plant / "README.txt").read_text()
    assert text.startswith("These sounds are synthetic.")
    for kind in KINDS.values():
        assert all(fault in text for fault in kind.faults)
    assert "Randall" in text
    assert "McFadden" in text
    assert "\nseed 0\n" in text


@pytest.mark.parametrize("snr", [-6.0, 0.0, 6.0])
@pytest.mark.parametrize("kind", list(KINDS))
def test_the_ratio_to_the_background_is_what_was_asked_for(kind: str, snr: float) -> None:
    clip = PlannedClip(kind, 0, "target", "test", 0, 2, 1, snr)
    heard = record(clip, seconds=1.0, seed=5)
    ratio = 10 * np.log10((heard.machine**2).mean() / (heard.background**2).mean())
    assert ratio == pytest.approx(snr, abs=0.1)
    mixture = heard.samples / 32767 - heard.machine - heard.background
    assert np.abs(mixture).max() < 1.0 / 32767


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_fault_changes_nothing_but_what_it_does(kind: str) -> None:
    for fault in KINDS[kind].faults:
        clip = PlannedClip(kind, 0, "source", "test", 0, 1, 2, 0.0, Fault(fault, 1.0))
        none = replace(clip, fault=Fault(fault, 0.0))
        sound = replace(clip, fault=Fault())
        heard, without = (record(c, seconds=0.5, seed=5) for c in (clip, none))
        assert np.array_equal(heard.background, without.background)
        assert not np.array_equal(heard.machine, without.machine)
        assert sound.path != clip.path  # so that a test clip never repeats as another
        assert none.path == clip.path


def test_domains_share_the_machine_and_differ_in_the_place() -> None:
    source, target = (installed("fan", 0, domain, 0) for domain in ("source", "target"))
    assert source[0] == target[0]
    assert not np.allclose(source[1], target[1])
    assert installed("fan", 1, "source", 0)[0] != source[0]
