"""The embedder: any duration, any batch, the same on disk as in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from tonotopy import AudioEmbedder, LabelTree
from tonotopy._errors import AudioError, DataError, UsageError
from tonotopy.audio import LogMel
from tonotopy.encoders import CRNN, ConvNet, Encoder, ResNet18
from tonotopy.geometry import LinearHead


def make(encoder: Encoder | None = None, *, window_seconds: float = 30.0) -> AudioEmbedder:
    torch.manual_seed(0)
    tree = LabelTree.from_paths([("a", "x"), ("a", "y"), ("b",)])
    encoder = encoder or ConvNet(num_bins=32, embedding_dim=16, width=4)
    head = LinearHead(encoder.embedding_dim, tree.num_leaves)
    front_end = LogMel(n_mels=32)
    return AudioEmbedder(
        front_end, encoder, head=head, tree=tree, window_seconds=window_seconds
    ).eval()


def noise(*lengths: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [0.1 * torch.randn(length, generator=generator) for length in lengths]


def test_an_embedding_does_not_depend_on_its_company() -> None:
    embedder = make()
    clips = noise(160, 16000, 5000, 1, 33333)
    together = embedder.embed(clips)
    alone = torch.cat([embedder.embed([clip]) for clip in clips])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(embedder.embed(clips, batch_size=2), together, rtol=1e-4, atol=1e-5)


def test_a_long_clip_is_the_weighted_mean_of_its_windows() -> None:
    embedder = make(window_seconds=1.0)
    (clip,) = noise(40000)
    windows = clip.tensor_split(3)
    parts = embedder.embed(windows)
    weights = torch.tensor([len(w) for w in windows])[:, None] / 40000
    torch.testing.assert_close(
        embedder.embed([clip])[0], (parts * weights).sum(0), rtol=1e-4, atol=1e-5
    )


def test_files_and_arrays_agree(tmp_path: Path, write_tone: Callable[..., Path]) -> None:
    import soundfile

    embedder = make()
    path = write_tone(tmp_path / "a.wav")
    wave, _ = soundfile.read(path, dtype="float32")
    embeddings = embedder.embed([path, str(path), wave, wave.astype(np.float64)])
    torch.testing.assert_close(embeddings, embeddings[:1].expand(4, -1))


def test_embedding_leaves_the_mode_as_it_was() -> None:
    embedder = make().train()
    embedder.embed(noise(800))
    assert embedder.training


def test_no_clips_give_no_embeddings() -> None:
    assert make().embed([]).shape == (0, 16)


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (torch.zeros(2, 100), "mono waveform"),
        (torch.zeros(0), "at least one sample"),
        (torch.full((100,), torch.nan), "NaN"),
    ],
)
def test_bad_waveforms_are_refused(clip: Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make().embed([clip])


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=r"bad\.wav"):
        make().embed([tmp_path / "bad.wav"])


def test_probabilities_sum_to_one_and_need_a_classifier() -> None:
    embedder = make()
    embeddings = embedder.embed(noise(800, 900))
    probabilities = embedder.probabilities(embeddings)
    assert probabilities.shape == (2, 3)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(2))
    with pytest.raises(UsageError, match="no classifier"):
        AudioEmbedder(embedder.front_end, embedder.encoder).probabilities(embeddings)


@pytest.mark.parametrize(
    "encoder",
    [
        lambda: ConvNet(num_bins=32, embedding_dim=16, width=4),
        lambda: ResNet18(num_bins=32, width=4),
        lambda: CRNN(num_bins=32),
    ],
)
def test_a_saved_model_is_the_same_bit_for_bit(
    tmp_path: Path, encoder: Callable[[], Encoder]
) -> None:
    embedder = make(encoder())
    embedder.save_pretrained(tmp_path)
    loaded = AudioEmbedder.from_pretrained(tmp_path)
    assert loaded.tree == embedder.tree
    assert loaded.state_dict().keys() == embedder.state_dict().keys()
    for name, value in embedder.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    clips = noise(16000, 800)
    assert torch.equal(loaded.embed(clips), embedder.embed(clips))

    loaded.save_pretrained(tmp_path / "again")
    first, second = (p / "model.safetensors" for p in (tmp_path, tmp_path / "again"))
    assert first.read_bytes() == second.read_bytes()


def test_a_model_without_classifier_round_trips(tmp_path: Path) -> None:
    embedder = make()
    AudioEmbedder(embedder.front_end, embedder.encoder).save_pretrained(tmp_path)
    loaded = AudioEmbedder.from_pretrained(tmp_path)
    assert loaded.head is None
    assert loaded.tree is None


def test_a_missing_model_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no model in"):
        AudioEmbedder.from_pretrained(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", bytes(64)])
def test_a_damaged_model_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=r"model\.safetensors"):
        AudioEmbedder.from_pretrained(tmp_path)


def test_foreign_and_newer_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"x": torch.zeros(1)}, file)
    with pytest.raises(DataError, match="not written by tonotopy"):
        AudioEmbedder.from_pretrained(tmp_path)
    save_file({"x": torch.zeros(1)}, file, metadata={"tonotopy": json.dumps({"format": 99})})
    with pytest.raises(DataError, match="upgrade"):
        AudioEmbedder.from_pretrained(tmp_path)


def test_a_model_file_cannot_name_foreign_code(tmp_path: Path) -> None:
    make().save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    with safe_open(file, framework="pt") as opened:
        architecture = json.loads(opened.metadata()["tonotopy"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    architecture["encoder"]["class_path"] = "subprocess.Popen"
    save_file(tensors, file, metadata={"tonotopy": json.dumps(architecture)})
    with pytest.raises(UsageError, match="Popen"):
        AudioEmbedder.from_pretrained(tmp_path)


def test_half_an_hour_is_embedded_in_windows() -> None:
    embedder = make()
    clip = 0.1 * torch.randn(30 * 60 * 16000, generator=torch.Generator().manual_seed(2))
    embedding = embedder.embed([clip], batch_size=8)
    assert embedding.shape == (1, 16)
    assert embedding.isfinite().all()
