"""Files are written whole or not at all, and a failing disk is explained."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import save_file

from tonotopy._errors import DataError
from tonotopy._files import atomic_path, write_json, write_text


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB with nothing left on it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a full disk needs the right to mount one")
    (disk / "ballast").write_bytes(bytes(64 * 1024))
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_failed_write_leaves_the_old_file_and_no_trace(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def write() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("ne")
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        write()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_parents_are_made_and_permissions_are_ordinary(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b.txt"
    write_text(target, "é")
    assert target.read_text(encoding="utf-8") == "é"
    mask = os.umask(0)
    os.umask(mask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~mask


def test_json_has_no_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": math.nan, "b": [math.inf, 1.5], "c": (True, None)})
    assert json.loads((tmp_path / "x.json").read_text()) == {
        "a": None,
        "b": [None, 1.5],
        "c": [True, None],
    }


@pytest.mark.parametrize("kind", ["text", "safetensors", "parquet"])
def test_a_full_disk_is_named_and_nothing_is_lost(full_disk: Path, kind: str) -> None:
    target = full_disk / "out"

    def write() -> None:
        with atomic_path(target) as temporary:
            if kind == "text":
                temporary.write_text("x" * 10_000)
            elif kind == "safetensors":
                save_file({"x": torch.zeros(10_000)}, temporary)
            else:
                pl.DataFrame({"x": range(100_000)}).write_parquet(temporary)

    with pytest.raises(DataError, match="the disk is full"):
        write()
    assert [path.name for path in full_disk.iterdir()] == ["ballast"]


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        write_text(tmp_path / "file" / "x.txt", "")
