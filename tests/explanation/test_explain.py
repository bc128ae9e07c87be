"""Explanations of one clip, from waveform to files."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest
import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.explanation import (
    Explanation,
    Maskable,
    Neighbour,
    explain_clip,
    mask_waveform,
    strongest_region,
    write_explanation,
)

RATE = 8000


def _whistle() -> Tensor:
    """Two seconds of noise with a whistle of 2.5 kHz from 1.0 to 1.4 s."""
    noise = 0.01 * torch.randn(2 * RATE, generator=torch.Generator().manual_seed(0))
    time = torch.arange(2 * RATE) / RATE
    gate = ((time >= 1.0) & (time < 1.4)).float()
    return noise + gate * torch.sin(2 * math.pi * 2500 * time)


def _clip(waveform: Tensor | None = None) -> Maskable:
    def score(waveforms: Tensor) -> Tensor:
        return 10 * waveforms.square().mean(dim=1)

    return mask_waveform(
        _whistle() if waveform is None else waveform,
        score,
        sample_rate=RATE,
        n_fft=256,
        hop_length=128,
    )


def _explain(**options: Any) -> Explanation:
    return explain_clip(_clip(), **{"masks": 600, "fill": "zero", "name": "a.wav", **options})


@pytest.mark.parametrize("method", ["rise", "occlusion"])
def test_a_whistle_is_found(method: str) -> None:
    found = _explain(method=method, threshold=0.5)

    assert found.region is not None
    assert found.region.low is not None
    assert found.region.high is not None
    assert found.region.start < 1.2 < found.region.end
    assert found.region.end - found.region.start < 0.8
    assert found.region.low < 2500 < found.region.high
    assert found.region.high - found.region.low < 800
    assert found.score == pytest.approx(10 * 0.5 * 0.2, rel=0.02)
    assert found.hidden_score == pytest.approx(0, abs=1e-6)
    assert found.faithfulness.insertion.gain > 0 > found.faithfulness.deletion.gain
    assert found.cautions == [] if method == "occlusion" else True
    assert found.summary()["anomaly"] is True


def test_the_same_seed_gives_the_same_numbers() -> None:
    first, second, other = (_explain(masks=64, seed=seed).summary() for seed in (3, 3, 4))

    assert first == second
    assert first["map"] != other["map"]


def test_the_summary_is_plain_and_complete() -> None:
    neighbours = [Neighbour("n.wav", 0.9), Neighbour("m.wav", 0.8)]
    found = _explain(masks=64, neighbours=neighbours, grid=(4, 6))
    numbers = json.loads(json.dumps(found.summary(), allow_nan=False))

    assert [len(row) for row in numbers["map"]] == [4] * 6
    assert numbers["threshold"] is None
    assert numbers["anomaly"] is None
    assert numbers["neighbours"][1] == {"name": "m.wav", "cosine": 0.8}
    assert numbers["evaluations"] == 65
    assert numbers["insertion"]["scores"][-1] == pytest.approx(found.score)
    assert numbers["insertion"]["scores"][0] == pytest.approx(found.hidden_score, abs=1e-6)


def test_a_map_that_cannot_be_trusted_says_so() -> None:
    settled = "not settled"
    assert any(settled in caution for caution in _explain(masks=8).cautions)

    # A steady tone is its own mean over time: no mask can hide it.
    time = torch.arange(2 * RATE) / RATE
    tone = torch.sin(2 * math.pi * 1000 * time)
    blind = explain_clip(_clip(tone), masks=40, fill="mean")
    assert blind.hidden_score == pytest.approx(blind.score, rel=0.05)

    constant = explain_clip(
        replace(_clip(), score=lambda masked: torch.ones(len(masked))), masks=40, max_masks=9999
    )
    assert constant.region is None
    assert constant.cautions == [
        "no mask changes the score: the fill 'mean' hides nothing that counts"
    ]
    assert math.isnan(constant.saliency.split_half)


def test_a_clip_among_its_own_references_says_so() -> None:
    own, other = Neighbour("a.wav", 1.0), Neighbour("b.wav", 0.999)

    assert any("is among the normal" in text for text in _explain(neighbours=[own]).cautions)
    assert not any("is among the normal" in text for text in _explain(neighbours=[other]).cautions)


def test_a_fill_that_hides_no_anomaly_says_so() -> None:
    quiet = explain_clip(
        replace(_clip(), score=lambda masked: -masked.square().mean(dim=(1, 2))), masks=40
    )

    assert quiet.hidden_score >= quiet.score
    assert any("with everything hidden" in caution for caution in quiet.cautions)


def test_a_method_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="'lime'"):
        _explain(method="lime")


@pytest.mark.parametrize("hertz", [True, False])
def test_the_strongest_region_is_connected_and_half_as_high(hertz: bool) -> None:
    saliency = torch.full((10, 20), -1.0)
    saliency[2:5, 3:9] = 2
    saliency[3, 5] = 4
    saliency[8, 15] = 3.9
    axis = torch.arange(10) * 100.0 if hertz else None
    region = strongest_region(saliency, torch.arange(20) * 0.5, axis)

    assert region is not None
    assert (region.start, region.end, region.peak) == (1.5, 4.0, 4.0)
    assert (region.low, region.high) == ((200, 400) if hertz else (None, None))
    assert region.share == pytest.approx((17 * 2 + 4) / (17 * 2 + 4 + 3.9))
    assert strongest_region(-saliency.abs(), torch.arange(20), axis) is None
    # A map that is all but negative names no region that raises the score.
    saliency[0, 0] = -17
    assert strongest_region(saliency, torch.arange(20), axis) is None


def _picture(path: Path) -> Tensor:
    pixels = torch.from_numpy(matplotlib.image.imread(path).copy())
    return pixels[..., :3]


def test_files_are_written_whole(tmp_path: Path) -> None:
    near = Neighbour("$normal_{1}.wav" * 9, 0.97, _whistle(), RATE)
    found = _explain(masks=64, neighbours=[near], threshold=0.5)
    picture, numbers = write_explanation(found, tmp_path / "out", "a")

    assert sorted(tmp_path.joinpath("out").iterdir()) == [numbers, picture]
    assert json.loads(numbers.read_text())["name"] == "a.wav"
    pixels = _picture(picture)
    assert pixels.shape[1] > pixels.shape[0] > 900
    assert len(torch.unique(pixels.reshape(-1, 3), dim=0)) > 1000


@pytest.mark.parametrize(
    ("unit", "hertz", "shape"),
    [
        ("magnitude", True, (1, 1)),
        ("feature", False, (1, 1)),
        ("feature", True, (3, 2)),
        ("magnitude", False, (40, 50)),
    ],
)
def test_any_shape_can_be_drawn(
    tmp_path: Path, unit: Any, hertz: bool, shape: tuple[int, int]
) -> None:
    clip = Maskable(
        torch.rand(shape),
        lambda masked: masked.sum(dim=(1, 2)),
        torch.arange(shape[1]) * 0.1,
        torch.linspace(0, 8000, shape[0]) if hertz else None,
        unit,
    )
    found = explain_clip(clip, masks=8, neighbours=[Neighbour("n", 1.0, torch.zeros(10), RATE)])
    picture, _ = write_explanation(found, tmp_path, "tiny")

    assert float(_picture(picture).std()) > 0.05
