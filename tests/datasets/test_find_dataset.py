"""Data sets are found by forgiving names and say what must be known about them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tonotopy._errors import UsageError
from tonotopy.datasets import DATASETS, PublicDataset, find_dataset


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("esc-50", "esc-50"),
        ("ESC50", "esc-50"),
        ("UrbanSound8K", "urbansound8k"),
        ("Speech Commands", "speech-commands"),
        ("speech_commands", "speech-commands"),
        ("IEMOCAP", "iemocap"),
        ("fsdd", "fsdd"),
        ("FSDnoisy18k", "fsdnoisy18k"),
        ("NSynth", "nsynth"),
        ("OrchideaSOL", "orchideasol"),
        ("TinySOL", "tinysol"),
        ("TUT Acoustic Scenes 2016", "tut-acoustic-scenes-2016"),
    ],
)
def test_names_are_forgiving(name: str, found: str) -> None:
    assert find_dataset(name).name == found


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"'urbansound'; did you mean 'urbansound8k'\?"):
        find_dataset("urbansound")


def test_a_name_like_none_gets_the_list() -> None:
    with pytest.raises(UsageError) as caught:
        find_dataset("zzz")
    assert all(dataset.name in str(caught.value) for dataset in DATASETS)
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.name)
def test_every_data_set_describes_itself(dataset: PublicDataset) -> None:
    assert all(
        (
            dataset.title,
            dataset.description,
            dataset.licence,
            dataset.citation,
            dataset.size,
            dataset.layout,
        )
    )
    assert dataset.homepage.startswith("https://")
    assert bool(dataset.archives) != bool(dataset.request)
    assert len({archive.folder for archive in dataset.archives}) <= 1
    for archive in dataset.archives:
        assert archive.url.startswith("https://")
        assert re.fullmatch("([0-9a-f]{32})?", archive.md5)
        assert re.fullmatch("([0-9a-f]{64})?", archive.sha256)


def test_names_are_sorted_and_unique() -> None:
    names = [dataset.name for dataset in DATASETS]
    assert names == sorted(set(names))


def test_what_needs_a_licence_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"iemocap must be fetched by hand.*release form"):
        find_dataset("iemocap").get(tmp_path)
    with pytest.raises(UsageError, match=r"orchideasol must be fetched by hand.*forum\.ircam\.fr"):
        find_dataset("orchideasol").get(tmp_path)
