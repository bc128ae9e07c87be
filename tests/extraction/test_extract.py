"""Embedding many clips: resumable, with bad files listed, and bound to its model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch

from tonotopy import AudioEmbedder, audio, scan
from tonotopy._errors import DataError, UsageError
from tonotopy.audio import LogMel
from tonotopy.clips import ClipTable
from tonotopy.encoders import ConvNet
from tonotopy.extraction import EmbeddingTable, embed_clips, extract
from tonotopy.geometry import LinearHead


@pytest.fixture
def clips(tmp_path: Path, write_tone: Callable[..., Path]) -> ClipTable:
    """Ten tones of two classes, of different lengths."""
    for number in range(10):
        label = "low" if number % 2 else "high"
        path = tmp_path / "data" / label / f"{number}.wav"
        write_tone(path, seconds=0.1 + 0.05 * number, frequency=400.0 * (1 + number))
    return scan(tmp_path / "data")


def make(clips: ClipTable, seed: int = 0) -> AudioEmbedder:
    torch.manual_seed(seed)
    encoder = ConvNet(num_bins=32, embedding_dim=8, width=2)
    return AudioEmbedder(LogMel(n_mels=32), encoder, head=LinearHead(8, 2), tree=clips.tree).eval()


def test_rows_follow_the_clips(clips: ClipTable, tmp_path: Path) -> None:
    embedder = make(clips)
    table = embed_clips(embedder, clips, tmp_path / "out.parquet")
    assert table.frame["path"].to_list() == [str(path) for path in clips.paths]
    assert table.labels == clips.labels
    torch.testing.assert_close(table.embeddings, embedder.embed(clips.paths), rtol=1e-4, atol=1e-5)
    probabilities = embedder.probabilities(table.embeddings)
    assert table.frame["predicted"].to_list() == [
        clips.tree.leaf_names[index] for index in probabilities.argmax(1).tolist()
    ]
    assert EmbeddingTable.read(tmp_path / "out.parquet").frame.equals(table.frame)
    assert not list(tmp_path.glob(".*shards"))


def test_an_interrupted_job_goes_on(
    clips: ClipTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "SHARD", 3)
    embedder = make(clips)
    expected = embed_clips(embedder, clips, tmp_path / "whole.parquet")

    decoded: list[Path] = []

    def stop_at_the_eighth(path: Path, sample_rate: int) -> object:
        decoded.append(path)
        if len(decoded) == 8:
            raise KeyboardInterrupt
        return audio.decode(path, sample_rate)

    monkeypatch.setattr(extract, "decode", stop_at_the_eighth)
    out = tmp_path / "out.parquet"
    with pytest.raises(KeyboardInterrupt):
        embed_clips(embedder, clips, out)
    assert not out.exists()
    decoded[:] = clips.paths  # from here on, never the eighth again
    before = len(decoded)
    table = embed_clips(embedder, clips, out)
    assert len(decoded) - before == 4  # two shards of three were done
    assert table.frame.equals(expected.frame)


def test_another_model_starts_anew(
    clips: ClipTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "SHARD", 3)
    out = tmp_path / "out.parquet"
    calls = 0
    embed_shard = extract._embed_shard

    def stop_at_the_third(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return embed_shard(*arguments)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(extract, "_embed_shard", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        embed_clips(make(clips, seed=0), clips, out)
    other = make(clips, seed=1)
    table = embed_clips(other, clips, out)
    torch.testing.assert_close(table.embeddings, other.embed(clips.paths), rtol=1e-4, atol=1e-5)


def test_bad_files_are_listed_and_the_rest_is_embedded(clips: ClipTable, tmp_path: Path) -> None:
    clips.paths[3].write_bytes(b"")
    clips.paths[5].unlink()
    table = embed_clips(make(clips), clips, tmp_path / "out.parquet")
    assert len(table) == 8
    listed = pl.read_csv(tmp_path / "out.quarantine.csv")
    assert dict(zip(listed["path"], listed["reason"], strict=True)) == {
        str(clips.paths[3]): "empty",
        str(clips.paths[5]): "unreadable",
    }


def test_nothing_left_is_an_error(clips: ClipTable, tmp_path: Path) -> None:
    for path in clips.paths:
        path.write_bytes(b"")
    with pytest.raises(DataError, match="none of the 10 clips"):
        embed_clips(make(clips), clips, tmp_path / "out.parquet")


def test_reading_other_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no embeddings at"):
        EmbeddingTable.read(tmp_path / "none.parquet")
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(UsageError, match="it lacks"):
        EmbeddingTable.read(tmp_path / "x.parquet")
    (tmp_path / "y.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"y\.parquet"):
        EmbeddingTable.read(tmp_path / "y.parquet")
