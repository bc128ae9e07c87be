"""Checkpoints keep everything that Lightning puts in, without pickle."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tonotopy._errors import DataError
from tonotopy.training.checkpoint_io import SafetensorsCheckpointIO

STATE = {
    "epoch": 3,
    "rate": 0.1,
    "done": False,
    "none": None,
    "optimizer_states": [{"state": {0: {"step": torch.tensor(5.0)}, 1: {}}, "betas": (0.9, 0.99)}],
    "shared": None,
    "dict": {"tensor": "a name that is also a tag"},
    "empty": {},
    "weights": {"w": torch.randn(3, 4), "half": torch.ones(2, dtype=torch.bfloat16)},
}


def _equal(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return (
            type(a) is type(b)
            and len(a) == len(b)
            and all(_equal(x, y) for x, y in zip(a, b, strict=True))
        )
    return type(a) is type(b) and a == b


def test_round_trip_keeps_types_and_keys(tmp_path: Path) -> None:
    io = SafetensorsCheckpointIO()
    io.save_checkpoint(STATE, tmp_path / "x.safetensors")
    assert _equal(io.load_checkpoint(tmp_path / "x.safetensors"), STATE)


def test_two_names_for_one_tensor_are_saved(tmp_path: Path) -> None:
    io = SafetensorsCheckpointIO()
    weight = torch.randn(3)
    io.save_checkpoint({"a": weight, "b": weight}, tmp_path / "x.safetensors")
    restored = io.load_checkpoint(tmp_path / "x.safetensors")
    assert torch.equal(restored["a"], restored["b"])


def test_what_needs_pickle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="Path"):
        SafetensorsCheckpointIO().save_checkpoint({"a": tmp_path}, tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", bytes(100)])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.safetensors"):
        SafetensorsCheckpointIO().load_checkpoint(path)


def test_removing_twice_is_fine(tmp_path: Path) -> None:
    SafetensorsCheckpointIO().remove_checkpoint(tmp_path / "gone")
