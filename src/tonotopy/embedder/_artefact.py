"""A model on disk: weights and architecture in one safetensors file, the label tree beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tonotopy._components import Component, build
from tonotopy._errors import DataError, MissingExtraError, UsageError
from tonotopy._files import atomic_path
from tonotopy.audio import FrontEnd
from tonotopy.encoders import Encoder
from tonotopy.geometry import CentroidHead, Head
from tonotopy.labels import LabelTree

MODEL_FILE = "model.safetensors"
LABELS_FILE = "labels.json"
HEADER = "tonotopy"
FORMAT = 1

T = TypeVar("T")


@dataclass(frozen=True)
class Artefact:
    """All that is written of a model.

    Args:
        front_end: Waveform to features.
        encoder: Features to embedding.
        head: Classifier or None.
        tree: Labels or None.
        centroids: Centroids of the classes, or None.
        centroid_tree: The labels of the centroids: `tree`, or a larger one.
        window_seconds: Longest stretch that is embedded at once.
        tensors: State of the whole model by name.
    """

    front_end: FrontEnd
    encoder: Encoder
    head: Head | None
    tree: LabelTree | None
    centroids: CentroidHead | None
    centroid_tree: LabelTree | None
    window_seconds: float
    tensors: dict[str, Tensor]


def save_artefact(artefact: Artefact, folder: Path) -> None:
    """Write model and labels; each file is replaced whole."""
    if artefact.tree is not None:
        artefact.tree.save(folder / LABELS_FILE)
    head, centroids = artefact.head, artefact.centroids
    grown = None if artefact.centroid_tree == artefact.tree else artefact.centroid_tree
    architecture = {
        "format": FORMAT,
        "window_seconds": artefact.window_seconds,
        "front_end": artefact.front_end.component.to_dict(),
        "encoder": artefact.encoder.component.to_dict(),
        "head": None if head is None else head.component.to_dict(),
        "centroids": None if centroids is None else centroids.component.to_dict(),
        "centroid_tree": None if grown is None else grown.to_json(),
    }
    tensors = {name: value.contiguous().cpu() for name, value in artefact.tensors.items()}
    with atomic_path(folder / MODEL_FILE) as temporary:
        save_file(tensors, temporary, metadata={HEADER: json.dumps(architecture)})


def load_artefact(source: Path | str) -> Artefact:
    """Read what `save_artefact` wrote, from a folder or from the hub."""
    folder = _local_folder(source)
    architecture, tensors = _read_model(folder / MODEL_FILE)
    labels = folder / LABELS_FILE
    front_end = _part(architecture, "front_end", FrontEnd, "tonotopy.audio")
    encoder = _part(architecture, "encoder", Encoder, "tonotopy.encoders")
    if front_end is None or encoder is None:
        raise DataError(f"{folder / MODEL_FILE} names no front end or encoder: it is damaged")
    tree = LabelTree.load(labels) if labels.exists() else None
    grown = architecture["centroid_tree"]
    return Artefact(
        front_end,
        encoder,
        _part(architecture, "head", Head, "tonotopy.geometry"),
        tree,
        _part(architecture, "centroids", CentroidHead, "tonotopy.geometry"),
        tree if grown is None else LabelTree.from_json(grown),
        architecture["window_seconds"],
        tensors,
    )


def _part(architecture: dict[str, Any], name: str, base: type[T], package: str) -> T | None:
    written = architecture[name]
    return build(Component.parse(written), base, package) if written else None


def _read_model(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except (SafetensorError, OSError) as error:
        raise DataError(f"cannot read {path}, damaged or incomplete: {error}") from error
    if HEADER not in metadata:
        raise DataError(f"{path} was not written by tonotopy: it names no architecture")
    architecture: dict[str, Any] = json.loads(metadata[HEADER])
    if architecture["format"] > FORMAT:
        raise DataError(
            f"{path} has format {architecture['format']}, this version reads up to {FORMAT}: "
            "upgrade tonotopy"
        )
    return architecture, tensors


def _local_folder(source: Path | str) -> Path:
    folder = Path(source).expanduser()
    if (folder / MODEL_FILE).is_file():
        return folder
    looks_like_hub_id = isinstance(source, str) and source.count("/") == 1 and source[0].isalnum()
    if folder.exists() or not looks_like_hub_id:
        raise UsageError(
            f"no model in {folder}: expected {MODEL_FILE} in it, as `tonotopy fit` leaves it"
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtraError(f"no folder {source}, and loading it from the hub", "hf") from error
    try:
        return Path(snapshot_download(str(source), allow_patterns=[MODEL_FILE, LABELS_FILE]))
    except Exception as error:  # the hub's many network errors share no base class
        raise UsageError(f"no folder {source}, and the hub does not give it: {error}") from error
