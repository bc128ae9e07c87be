"""Released networks: names, shapes and scales are put right, and the features are good."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from tonotopy import AudioEmbedder
from tonotopy._errors import DataError, UsageError
from tonotopy.audio import decode
from tonotopy.embedder import InputNormalisation, load_released
from tonotopy.encoders import Encoder, PatchCRNN, PatchVGG

PIECES = {
    "VGG": [(rf"convs\.{at}\.", f"conv{at}.conv.") for at in range(6)]
    + [(rf"norms\.{at}\.", f"conv{at}.bn.") for at in range(6)]
    + [(r"linear\.", "dense1.")],
    "CRNN": [(rf"convs\.{at}\.", f"conv{at + 1}.conv.") for at in range(3)]
    + [(rf"norms\.{at}\.", f"conv{at + 1}.bn.") for at in range(3)]
    + [(r"gru\.", "rnn1.")],
}
each_network = pytest.mark.parametrize("name", PIECES)


def network(name: str) -> Encoder:
    torch.manual_seed(0)
    return (PatchVGG if name == "VGG" else PatchCRNN)(96).eval()


def in_their_form(name: str, scale: float) -> dict[str, Tensor]:
    """A network as it would have been released, trained on inputs `scale` times as large."""
    state = network(name).state_dict()
    state["norms.0.running_mean"] = 0.1 * scale * torch.randn(len(state["norms.0.running_mean"]))
    state["norms.0.running_var"] = scale**2 * (0.1 + torch.rand(len(state["norms.0.weight"])))
    named = {}
    for ours, value in state.items():
        for pattern, theirs in PIECES[name]:
            if re.match(pattern, ours):
                named[re.sub(pattern, theirs, ours, count=1)] = value
    assert len(named) == len(state)
    return named


@each_network
@pytest.mark.parametrize(
    ("mode", "mean", "divisor"),
    [("estimated", -1.326, 2.902 / 30000), ("original", -1.40038, 6.0493e-05)],
)
def test_the_network_sees_what_it_was_trained_on(
    tmp_path: Path, name: str, mode: InputNormalisation, mean: float, divisor: float
) -> None:
    tensors = in_their_form(name, 30000.0)
    save_file(tensors, tmp_path / "best.safetensors")
    embedder = load_released(tmp_path, input_normalisation=mode)
    wave = torch.randn(1, 30000, generator=torch.Generator().manual_seed(1))

    unscaled = network(name)
    for part in ("running_mean", "running_var"):
        first = "conv0" if name == "VGG" else "conv1"
        getattr(unscaled.norms[0], part).copy_(tensors[f"{first}.bn.{part}"])  # type: ignore[index]
    log_mel = embedder.front_end(wave)[0] * embedder.front_end.std[0] + embedder.front_end.mean[0]  # type: ignore[index]
    with torch.no_grad():
        expected = unscaled((log_mel - mean) / divisor)
        torch.testing.assert_close(embedder(wave), expected, atol=1e-4, rtol=1e-3)


@each_network
def test_a_released_model_is_saved_like_any_other(tmp_path: Path, name: str) -> None:
    save_file(in_their_form(name, 30000.0), tmp_path / "best.safetensors")
    embedder = load_released(tmp_path / "best.safetensors")
    embedder.save_pretrained(tmp_path / "model")
    again = AudioEmbedder.from_pretrained(tmp_path / "model")
    clips = [torch.randn(length) for length in (500, 50000)]
    assert torch.equal(again.embed(clips), embedder.embed(clips))


def test_other_tensors_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    save_file({"layer1.weight": torch.zeros(1)}, file)
    with pytest.raises(DataError, match=r"expected a tensor conv0\.\S+, found layer1\.weight"):
        load_released(file)
    tensors = in_their_form("VGG", 1.0)
    tensors["dense1.weight"] = torch.zeros(512, 128)
    save_file(tensors, file)
    with pytest.raises(DataError, match=r"dense1\.weight of shape \(512, 256\), found \(512, 128"):
        load_released(file)
    file.write_bytes(b"\x80\x04pickle")
    with pytest.raises(DataError, match=r"x\.safetensors"):
        load_released(file)


def test_the_file_must_be_clear(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="found none"):
        load_released(tmp_path)
    for name in PIECES:
        save_file(in_their_form(name, 1.0), tmp_path / f"{name}.safetensors")
    with pytest.raises(UsageError, match=r"found CRNN\.safetensors, VGG\.safetensors; name"):
        load_released(tmp_path)
    with pytest.raises(UsageError, match="expected one of estimated, original, got 'unit'"):
        load_released(tmp_path, input_normalisation="unit")  # type: ignore[arg-type]  # misspelt


@pytest.fixture(scope="module")
def sounds(shared_data: Path) -> tuple[list[Tensor], NDArray[np.int64], NDArray[np.bool_]]:
    """The first second of 16 clips of ten classes: waveforms, classes, whether in fold 4."""
    with (shared_data / "esc50" / "meta" / "esc50.csv").open() as file:
        rows = list(csv.DictReader(file))
    chosen = [
        row
        for target in range(0, 50, 5)
        for fold in (1, 2, 3, 4)
        for row in [r for r in rows if (r["target"], r["fold"]) == (str(target), str(fold))][:4]
    ]
    audio = shared_data / "esc50" / "audio"
    clips = [torch.from_numpy(decode(audio / row["filename"], 22050)[:22050]) for row in chosen]
    classes = np.array([int(row["target"]) for row in chosen])
    return clips, classes, np.array([row["fold"] == "4" for row in chosen])


def linear_probe(embeddings: Tensor, classes: NDArray[np.int64], test: NDArray[np.bool_]) -> float:
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(-1, 5, 7)))
    probe.fit(embeddings.numpy()[~test], classes[~test])
    return float(probe.score(embeddings.numpy()[test], classes[test]))


@each_network
def test_released_features_beat_random_ones(
    name: str,
    shared_data: Path,
    sounds: tuple[list[Tensor], NDArray[np.int64], NDArray[np.bool_]],
) -> None:
    clips, classes, test = sounds
    file = shared_data / "encoders" / "uclser20" / f"{name}_best.safetensors"
    released = load_released(file)
    assert {k: v.shape for k, v in load_file(file).items()} == {
        k: v.shape for k, v in in_their_form(name, 1.0).items()
    }
    random = AudioEmbedder(released.front_end, network(name))
    accuracy = linear_probe(released.embed(clips), classes, test)
    floor = linear_probe(random.embed(clips), classes, test)
    assert accuracy > floor + 0.15, (accuracy, floor)
