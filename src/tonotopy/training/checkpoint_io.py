"""Checkpoints without pickle: tensors in safetensors, everything else as JSON in its header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tonotopy._errors import DataError
from tonotopy._files import atomic_path

HEADER = "tonotopy.checkpoint"


class SafetensorsCheckpointIO(CheckpointIO):
    """Write and read Lightning checkpoints, whole or not at all, never unpickling."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write `checkpoint` to `path`, replacing an older file only when complete."""
        tensors: dict[str, Tensor] = {}
        document = _flatten(checkpoint, tensors)
        with atomic_path(Path(path)) as temporary:
            save_file(tensors, temporary, metadata={HEADER: json.dumps(document)})

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint onto the CPU; Lightning moves its tensors where they belong.

        Raises:
            DataError: The file is damaged or not a checkpoint of tonotopy.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise DataError(f"cannot read the checkpoint {path}: {error}") from error
        if HEADER not in metadata:
            raise DataError(f"{path} is not a checkpoint of tonotopy")
        restored: dict[str, Any] = _restore(json.loads(metadata[HEADER]), tensors)
        return restored

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint that may already be gone."""
        Path(path).unlink(missing_ok=True)


def _flatten(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Give `value` as JSON; tensors move to `tensors`, and tags keep what JSON would lose."""
    if isinstance(value, Tensor):
        name = f"{len(tensors):06d}"
        # A clone: safetensors refuses two names for one storage.
        tensors[name] = value.detach().cpu().clone().contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        items = [[_flatten(k, tensors), _flatten(v, tensors)] for k, v in value.items()]
        return {"dict": items}
    if isinstance(value, tuple):
        return {"tuple": [_flatten(item, tensors) for item in value]}
    if isinstance(value, list):
        return [_flatten(item, tensors) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint cannot hold a {type(value).__name__} without pickle")


def _restore(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_restore(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((tag, content),) = value.items()
    if tag == "tensor":
        return tensors[content]
    if tag == "tuple":
        return tuple(_restore(item, tensors) for item in content)
    return {_restore(k, tensors): _restore(v, tensors) for k, v in content}


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read only the weights of a checkpoint."""
    state: dict[str, Tensor] = SafetensorsCheckpointIO().load_checkpoint(path)["state_dict"]
    return {name: torch.as_tensor(value) for name, value in state.items()}
