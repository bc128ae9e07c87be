"""Long recordings as windows: nothing is lost, and every window is its stretch of the file."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
import torch

from tonotopy._errors import AudioError, UsageError
from tonotopy.audio import AudioCache, LogMel, decode
from tonotopy.clips import (
    ClipDataset,
    ClipTable,
    clip_starts,
    scan,
    split_clips,
    window_clips,
    window_starts,
)
from tonotopy.embedder import AudioEmbedder
from tonotopy.encoders import ConvNet
from tonotopy.extraction import embed_clips

RATE = 8000


@pytest.fixture
def clips(tmp_path: Path) -> ClipTable:
    """Ramps of 1.2, 2, 3.7 and 0.5 s, so that a sample says where it lies."""
    for name, seconds in (("a", 1.2), ("b", 2.0), ("c", 3.7), ("d", 0.5)):
        (tmp_path / "data" / name).mkdir(parents=True)
        ramp = np.arange(round(seconds * RATE), dtype=np.float32) / 2**16
        soundfile.write(tmp_path / "data" / name / "ramp.wav", ramp, RATE, subtype="FLOAT")
    return scan(tmp_path / "data")


@pytest.mark.parametrize("window", [0.7, 1.0, 10.0])
@pytest.mark.parametrize("seconds", [0.1, 0.7, 1.0, 1.4, 1.5, 9.99, 25.3, 3600.0])
def test_windows_cover_the_recording(seconds: float, window: float) -> None:
    starts = window_starts(seconds, window)
    assert starts[0] == 0
    assert all(0 < b - a <= window + 1e-9 for a, b in pairwise(starts))
    assert all(start + window <= seconds + 1e-6 for start in starts[1:])
    # What is left out at the end is less than half a window.
    assert seconds - (starts[-1] + window) < 0.5 * window


def test_windows_may_overlap_and_must_be_positive() -> None:
    assert window_starts(3.0, 2.0, hop=0.5) == [0.0, 0.5, 1.0]
    for window, hop in ((0.0, 1.0), (1.0, 0.0), (-1.0, None)):
        with pytest.raises(UsageError, match="positive"):
            window_starts(3.0, window, hop)


def test_a_table_of_windows(clips: ClipTable) -> None:
    windows = window_clips(clips, 1.0)
    names = [path.parent.name for path in windows.paths]
    named = list(zip(names, clip_starts(windows.frame), strict=True))
    assert named == [
        ("a", None),
        ("b", 0.0),
        ("b", 1.0),
        ("c", 0.0),
        ("c", 1.0),
        ("c", 2.0),
        ("c", pytest.approx(2.7)),
        ("d", None),
    ]
    assert windows.frame["seconds"].to_list() == pytest.approx([1.2, 1, 1, 1, 1, 1, 1, 0.5])
    split = split_clips(windows.frame, test_fraction=0.5, by="label")
    for content in windows.frame["content"].unique():
        assert split.filter(windows.frame["content"] == content).n_unique() == 1


def test_windows_of_a_table_may_overlap(clips: ClipTable) -> None:
    windows = window_clips(clips, 1.0, hop=0.5)
    starts = [
        start
        for path, start in zip(windows.paths, clip_starts(windows.frame), strict=True)
        if path.parent.name == "b"
    ]
    seconds = clips.frame.filter(pl.Series([path.parent.name == "b" for path in clips.paths]))
    assert starts == window_starts(seconds["seconds"][0], 1.0, 0.5)
    assert len(starts) > 2


def test_a_window_is_its_stretch_wherever_it_is_read(clips: ClipTable, tmp_path: Path) -> None:
    windows = window_clips(clips, 1.0)
    dataset = ClipDataset(windows, AudioCache(tmp_path / "cache", RATE))
    for row, start in enumerate(clip_starts(windows.frame)):
        item = dataset[row]["waveform"]
        first = round((start or 0.0) * RATE)
        assert round(item[0].item() * 2**16) == first
        if start is not None:
            assert len(item) == RATE
            read = decode(windows.paths[row], RATE, start=start, seconds=1.0)
            assert np.array_equal(read, item.numpy())


def test_windows_are_embedded_one_by_one(clips: ClipTable, tmp_path: Path) -> None:
    torch.manual_seed(0)
    front_end = LogMel(sample_rate=RATE, n_fft=256, hop_length=128, n_mels=16, f_max=4000)
    embedder = AudioEmbedder(front_end, ConvNet(16, embedding_dim=4, width=2)).eval()
    windows = window_clips(clips, 1.0)
    table = embed_clips(embedder, windows, tmp_path / "out.parquet")
    assert table.frame["start"].to_list() == clip_starts(windows.frame)
    waves = [
        decode(path, RATE) if start is None else decode(path, RATE, start=start, seconds=1.0)
        for path, start in zip(windows.paths, clip_starts(windows.frame), strict=True)
    ]
    torch.testing.assert_close(table.embeddings, embedder.embed(waves))


def test_a_stretch_beyond_the_end_is_an_error(clips: ClipTable) -> None:
    with pytest.raises(AudioError, match="before the stretch begins"):
        decode(clips.paths[0], RATE, start=1.2)
    # A stretch that starts inside gives what there is.
    assert len(decode(clips.paths[0], RATE, start=1.0, seconds=5.0)) == round(0.2 * RATE)


def test_a_resampled_stretch_is_as_long_as_asked_for(clips: ClipTable) -> None:
    for rate in (16000, 5000):
        assert len(decode(clips.paths[2], rate, start=0.5, seconds=1.0)) == rate
