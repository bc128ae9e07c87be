"""Gain and speed are changed as stated, and what they do is reported as it is."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pytest
import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.detection import sensitivity

RATE = 8000


def tones(*frequencies: float, amplitude: float = 0.4) -> list[Tensor]:
    time = torch.arange(RATE) / RATE
    return [amplitude * torch.sin(2 * torch.pi * frequency * time) for frequency in frequencies]


def loudness(waves: Sequence[Tensor]) -> Tensor:
    """Level in dB."""
    return torch.stack([20 * wave.square().mean().sqrt().log10() for wave in waves])


def pitch(waves: Sequence[Tensor]) -> Tensor:
    """Zero crossings a second, over two."""
    return torch.stack(
        [(wave[1:] * wave[:-1] < 0).sum() / 2 / (len(wave) / RATE) for wave in waves]
    )


def of(table: pl.DataFrame, change: str, column: str) -> float:
    value = table.filter(pl.col("change") == change)[column].item()
    assert isinstance(value, float)
    return value


def test_gain_changes_the_level_by_as_many_decibels() -> None:
    table = sensitivity(tones(100, 200, 300), loudness, threshold=0.0)
    assert table["change"].to_list() == ["none", "+6 dB", "-6 dB", "+1 % speed", "-1 % speed"]
    assert table["clips"].to_list() == [3] * 5
    assert of(table, "none", "median_shift") == 0
    assert of(table, "+6 dB", "median_shift") == pytest.approx(6, abs=1e-4)
    assert of(table, "-6 dB", "median_shift") == pytest.approx(-6, abs=1e-4)
    assert of(table, "+1 % speed", "median_shift") == pytest.approx(0, abs=0.05)


def test_speed_changes_the_pitch_by_as_many_percent() -> None:
    table = sensitivity(tones(1000), pitch, threshold=0.0)
    assert of(table, "none", "median_score") == pytest.approx(1000, abs=1)
    assert of(table, "+1 % speed", "median_shift") == pytest.approx(10, abs=1.5)
    assert of(table, "-1 % speed", "median_shift") == pytest.approx(-10, abs=1.5)
    assert of(table, "+6 dB", "median_shift") == pytest.approx(0, abs=0.5)


def test_all_versions_of_a_clip_have_one_length() -> None:
    seen, first = [], []

    def lengths(waves: Sequence[Tensor]) -> Tensor:
        seen.append([len(wave) for wave in waves])
        first.append(waves[0])
        return torch.zeros(len(waves))

    clips = [tones(100)[0], tones(100)[0][:5000], tones(100)[0][:101]]
    sensitivity(clips, lengths, 0.0, speeds=(1.01, 0.99, 1.25))
    assert all(found == [len(clip) for clip in clips] for found in seen)
    # The unchanged clip is unchanged to its end, where padding would be heard too.
    assert torch.equal(first[0], clips[0])
    assert all(torch.isfinite(wave).all() for wave in first)


def test_what_is_rejected_because_of_the_change_is_told_apart() -> None:
    quiet, loud = tones(100, amplitude=0.1)[0], tones(100, amplitude=0.9)[0]
    table = sensitivity([quiet, quiet, quiet, loud], loudness, threshold=-20.0)
    assert of(table, "none", "rejected") == 0.25
    assert of(table, "none", "newly_rejected") == 0
    assert of(table, "+6 dB", "rejected") == 1.0
    assert of(table, "+6 dB", "newly_rejected") == 0.75
    assert of(table, "+6 dB", "overdriven") == 0.25
    assert of(table, "-6 dB", "overdriven") == 0


def test_the_threshold_itself_is_accepted() -> None:
    table = sensitivity(tones(100), lambda waves: torch.full((len(waves),), 2.0), threshold=2.0)
    assert table["rejected"].sum() == 0


def test_wrong_use_is_explained() -> None:
    with pytest.raises(UsageError, match="at least one normal clip"):
        sensitivity([], loudness, 0.0)
    with pytest.raises(UsageError, match="speeds must be positive"):
        sensitivity(tones(100), loudness, 0.0, speeds=(0.0,))
    with pytest.raises(UsageError, match="more than one sample"):
        sensitivity([torch.zeros(1)], loudness, 0.0)
