"""Clips as tensors: excerpts, their randomness, and batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from tonotopy._errors import UsageError
from tonotopy.audio import AudioCache
from tonotopy.clips import ClipDataset, ClipTable, collate_clips, scan
from tonotopy.clips.loading import crop_offset

RATE = 8000


@pytest.fixture
def clips(tmp_path: Path) -> ClipTable:
    """Ramps, so that a sample says where it lies: 1 s, 0.25 s and 2 s."""
    (tmp_path / "data").mkdir()
    for name, frames in (("a", RATE), ("b", RATE // 4), ("c", 2 * RATE)):
        ramp = np.arange(frames, dtype=np.float32)
        soundfile.write(tmp_path / "data" / f"{name}.wav", ramp / 2**15, RATE, subtype="FLOAT")
    return scan(tmp_path / "data")


@pytest.fixture
def cache(tmp_path: Path) -> AudioCache:
    return AudioCache(tmp_path / "cache", RATE)


def start(item: dict[str, object]) -> int:
    waveform = item["waveform"]
    assert isinstance(waveform, torch.Tensor)
    return round(waveform[0].item() * 2**15)


def test_whole_clips_by_default(clips: ClipTable, cache: AudioCache) -> None:
    dataset = ClipDataset(clips, cache)
    assert [dataset[i]["length"] for i in range(len(dataset))] == [RATE, RATE // 4, 2 * RATE]
    for i, path in enumerate(clips.paths):
        expected = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
        assert torch.equal(dataset[i]["waveform"], expected)


def test_index_is_the_row_of_the_table(clips: ClipTable, cache: AudioCache) -> None:
    dataset = ClipDataset(clips, cache, rows=[2, 0])
    assert [dataset[i]["index"] for i in range(len(dataset))] == [2, 0]
    assert [dataset[i]["length"] for i in range(len(dataset))] == [2 * RATE, RATE]


def test_evaluation_crops_the_centre(clips: ClipTable, cache: AudioCache) -> None:
    dataset = ClipDataset(clips, cache, seconds=0.5)
    assert (start(dataset[0]), dataset[0]["length"]) == (RATE // 4, RATE // 2)
    assert (start(dataset[2]), dataset[2]["length"]) == (3 * RATE // 4, RATE // 2)


@pytest.mark.parametrize("train", [True, False])
def test_short_clips_stay_or_repeat(clips: ClipTable, cache: AudioCache, train: bool) -> None:
    padded = ClipDataset(clips, cache, seconds=0.5, short="pad", train=train)[1]
    tiled = ClipDataset(clips, cache, seconds=0.5, short="tile", train=train)[1]
    assert padded["length"] == RATE // 4
    assert tiled["length"] == RATE // 2
    assert torch.equal(tiled["waveform"], padded["waveform"].repeat(2))


def test_training_crops_are_a_function_of_seed_epoch_and_row(
    clips: ClipTable, cache: AudioCache
) -> None:
    def starts(seed: int, epoch: int, rows: list[int]) -> dict[int, int]:
        dataset = ClipDataset(clips, cache, rows=rows, seconds=0.5, train=True, seed=seed)
        dataset.set_epoch(epoch)
        return {row: start(dataset[i]) for i, row in enumerate(rows)}

    reference = starts(0, 0, [0, 2])
    assert starts(0, 0, [2, 0]) == reference
    others = [starts(0, 1, [0, 2]), starts(1, 0, [0, 2])]
    assert all(other[row] != reference[row] for other in others for row in reference)


def test_crops_reach_from_start_to_end(clips: ClipTable, cache: AudioCache) -> None:
    dataset = ClipDataset(clips, cache, rows=[2], seconds=1.0, train=True)
    found = []
    for epoch in range(200):
        dataset.set_epoch(epoch)
        found.append(start(dataset[0]))
    assert min(found) < 0.05 * RATE
    assert max(found) > 0.95 * RATE
    assert max(found) <= RATE
    assert np.mean(found) == pytest.approx(RATE / 2, rel=0.15)


def test_offsets_are_uniform() -> None:
    offsets = [crop_offset(0, epoch, row) for epoch in range(40) for row in range(50)]
    counts, _ = np.histogram(offsets, bins=10, range=(0, 1))
    assert counts.sum() == 2000
    # Chi-square with 9 degrees of freedom stays below 27.9 in 99.9 % of all cases.
    assert ((counts - 200) ** 2 / 200).sum() < 27.9


def test_a_waveform_may_be_changed_without_harm(clips: ClipTable, cache: AudioCache) -> None:
    dataset = ClipDataset(clips, cache)
    dataset[0]["waveform"].zero_()
    assert dataset[0]["waveform"].abs().sum() > 0


def test_a_decoded_clip_is_not_opened_again(clips: ClipTable, cache: AudioCache) -> None:
    dataset = ClipDataset(clips, cache)
    before = dataset[0]["waveform"]
    clips.paths[0].unlink()
    assert torch.equal(dataset[0]["waveform"], before)


def test_other_rates_are_resampled(clips: ClipTable, tmp_path: Path) -> None:
    dataset = ClipDataset(clips, AudioCache(tmp_path / "c16", 2 * RATE), seconds=0.5)
    assert dataset[0]["length"] == RATE
    assert (
        abs(ClipDataset(clips, AudioCache(tmp_path / "c16", 2 * RATE))[0]["length"] - 2 * RATE) <= 1
    )


def test_batches_are_padded_with_zeros(clips: ClipTable, cache: AudioCache) -> None:
    dataset = ClipDataset(clips, cache)
    batch = collate_clips([dataset[1], dataset[2]])
    assert batch["waveforms"].shape == (2, 2 * RATE)
    assert batch["waveforms"].dtype == torch.float32
    assert batch["lengths"].tolist() == [RATE // 4, 2 * RATE]
    assert batch["index"].tolist() == [1, 2]
    assert torch.equal(batch["waveforms"][0, : RATE // 4], dataset[1]["waveform"])
    assert not batch["waveforms"][0, RATE // 4 :].any()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gives_the_same_with_workers(
    clips: ClipTable, cache: AudioCache, workers: int
) -> None:
    dataset = ClipDataset(clips, cache, seconds=0.5, train=True, seed=3)
    dataset.set_epoch(4)
    loader: DataLoader[dict[str, torch.Tensor]] = DataLoader(
        dataset, batch_size=2, collate_fn=collate_clips, num_workers=workers
    )
    items = [dataset[i] for i in range(3)]
    for batch, expected in zip(loader, (items[:2], items[2:]), strict=True):
        assert torch.equal(batch["waveforms"], collate_clips(expected)["waveforms"])


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_wrong_lengths_are_refused(clips: ClipTable, cache: AudioCache, seconds: float) -> None:
    with pytest.raises(UsageError, match="positive length"):
        ClipDataset(clips, cache, seconds=seconds)


@pytest.mark.parametrize("rows", [[-1], [0, 3]])
def test_rows_must_be_in_the_table(clips: ClipTable, cache: AudioCache, rows: list[int]) -> None:
    with pytest.raises(UsageError, match="0 to 2"):
        ClipDataset(clips, cache, rows=rows)
