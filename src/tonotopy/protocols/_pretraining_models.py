"""The models of the pre-training experiment: trained without labels, given, or random."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import torch

from tonotopy._components import Component, build
from tonotopy._errors import UsageError
from tonotopy.audio import FrontEnd
from tonotopy.embedder import AudioEmbedder, load_released, load_yamnet
from tonotopy.encoders import Encoder
from tonotopy.training import FitConfig

RANDOM = "random"
ON_EMBEDDINGS = "ntxent-h"
METHODS = (RANDOM, "ntxent", ON_EMBEDDINGS, "amc", "vicreg", "acl-ALPHA", "vgg", "crnn", "yamnet")
"""`acl-0.3` is the angular contrastive loss of alpha 0.3. `ntxent-h` compares the embeddings
themselves, as `amc` does, without a projection. The last three are given models."""

TEMPERATURE = 0.2
"""Of the paper."""

_LOADERS: dict[str, tuple[str, Callable[[Path], AudioEmbedder]]] = {
    "vgg": ("VGG_best.safetensors", load_released),
    "crnn": ("CRNN_best.safetensors", load_released),
    "yamnet": ("*.tflite", load_yamnet),
}


def losses_of(method: str, temperature: float) -> dict[str, Component]:
    """Give the losses by which a method trains.

    Args:
        method: One of `METHODS` that trains.
        temperature: Of the softmax over cosines, where it has one.

    Raises:
        UsageError: There is no such method, or its alpha is not in [0, 1].
    """
    arguments = {"temperature": temperature}
    if method in ("ntxent", ON_EMBEDDINGS):
        return {"ntxent": Component("NTXentLoss", arguments)}
    if method == "amc":
        return {"amc": Component("AngularMarginContrastiveLoss")}
    if method == "vicreg":
        return {"vicreg": Component("VICRegLoss")}
    matched = re.fullmatch(r"acl-([01](?:\.\d+)?)", method)
    if not matched or float(matched[1]) > 1.0:
        raise UsageError(
            f"no method {method!r}; there are: {', '.join(METHODS)}, with ALPHA from 0 to 1"
        )
    alpha = float(matched[1])
    return {"acl": Component("AngularContrastiveLoss", {"alpha": alpha, **arguments})}


def is_trained(method: str) -> bool:
    """Whether a method trains a model."""
    return method != RANDOM and method not in _LOADERS


def takes_temperature(method: str) -> bool:
    """Whether a method has a temperature."""
    return method in ("ntxent", ON_EMBEDDINGS) or method.startswith("acl-")


def given_model(method: str, config: FitConfig, encoders: Path | None) -> AudioEmbedder:
    """Load a model that others have trained, or make one with random weights.

    Args:
        method: `"random"`, `"vgg"`, `"crnn"` or `"yamnet"`.
        config: Front end, encoder and seed of the random one.
        encoders: A folder under which the files of the others lie.

    Raises:
        UsageError: The file is not there.
    """
    if method == RANDOM:
        torch.manual_seed(config.seed)
        front_end = build(config.front_end, FrontEnd, "tonotopy.audio")
        known = {"num_bins": front_end.num_bins, "sample_rate": front_end.sample_rate}
        encoder = build(config.encoder, Encoder, "tonotopy.encoders", **known)
        return AudioEmbedder(front_end, encoder).eval()
    _, load = _LOADERS[method]
    return load(given_file(method, encoders))


def given_file(method: str, encoders: Path | None) -> Path:
    """Find the file of a model that others have trained.

    Args:
        method: `"vgg"`, `"crnn"` or `"yamnet"`.
        encoders: A folder under which it lies.

    Raises:
        UsageError: The file is not there.
    """
    pattern, _ = _LOADERS[method]
    found = sorted(encoders.rglob(pattern)) if encoders is not None else []
    if not found:
        raise UsageError(
            f"method {method!r} needs {pattern} somewhere under --encoders, found none in "
            f"{encoders}: name the folder, or leave the method out"
        )
    return found[0]
