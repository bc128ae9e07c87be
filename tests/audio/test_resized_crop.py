"""Random resized crops: those of a loop over clips, inside each clip, and as often as said."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.audio import KeyedGenerator, RandomResizedCrop

LENGTHS = torch.tensor([101, 1, 60, 100, 2, 0])


def made(clips: int, epoch: int = 0) -> KeyedGenerator:
    return KeyedGenerator.for_views(torch.arange(clips), seed=0, epoch=epoch, view=0)


def rectangle(
    bins: int, frames: int, draws: Tensor, places: Tensor, area: float, aspect: float
) -> tuple[int, int, int, int]:
    """Give top, left, height and width from a clip's own draws (2, 10) and (2,)."""
    height, width = bins, frames
    for share, ratio in draws.T.tolist():
        share = area + (1 - area) * share
        ratio = math.exp(math.log(aspect) * (2 * ratio - 1))
        tall, wide = (
            round(bins * math.sqrt(share / ratio)),
            round(frames * math.sqrt(share * ratio)),
        )
        if 0 < tall <= bins and 0 < wide <= frames:
            height, width = tall, wide
            break
    top, left = places.tolist()
    return int(top * (bins - height + 1)), int(left * (frames - width + 1)), height, width


def loop(
    x: Tensor, lengths: Tensor, draws: Tensor, places: Tensor, options: tuple[float, float]
) -> Tensor:
    result = x.clone()
    for row, frames in enumerate(lengths.tolist()):
        if not frames:
            continue
        top, left, tall, wide = rectangle(x.shape[1], frames, draws[row], places[row], *options)
        part = x[row, :, :frames][None, None, top : top + tall, left : left + wide]
        size = (x.shape[1], frames)
        result[row, :, :frames] = F.interpolate(part, size, mode="bilinear", align_corners=False)
    return result


@pytest.mark.parametrize("options", [(0.8, 4 / 3), (0.08, 4 / 3), (1.0, 1.0), (0.3, 3.0)])
@pytest.mark.parametrize("bins", [96, 64, 3, 1])
def test_crops_equal_those_of_a_loop(options: tuple[float, float], bins: int) -> None:
    x = torch.randn(6, bins, 101, generator=torch.Generator().manual_seed(1))
    for epoch in range(5):
        result = RandomResizedCrop(*options)(x, LENGTHS, made(6, epoch))
        generator = made(6, epoch)
        draws, places = generator.uniform(2, 10), generator.uniform(2)
        expected = loop(x, LENGTHS, draws, places, options)
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=2e-5)


def test_a_torch_generator_draws_attempts_then_places() -> None:
    x = torch.randn(6, 64, 101, generator=torch.Generator().manual_seed(1))
    result = RandomResizedCrop()(x, LENGTHS, torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(7)
    draws = torch.rand(2, 10, 6, generator=generator).movedim(-1, 0)
    places = torch.rand(2, 6, generator=generator).T
    expected = loop(x, LENGTHS, draws, places, (0.8, 4 / 3))
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=2e-5)


def covered(
    augment: RandomResizedCrop, bins: int, frames: int, clips: int
) -> tuple[Tensor, Tensor]:
    """Give the shares of bins and frames that crops of ramps span, (clips,) each."""
    up = torch.arange(float(bins))[:, None].expand(bins, frames)
    across = torch.arange(float(frames)).expand(bins, frames)
    spans = []
    for ramp, count in ((up, bins), (across, frames)):
        x = ramp.expand(clips, bins, frames).contiguous()
        result = augment(x, torch.full((clips,), frames), made(clips))
        low, high = result.amin(dim=(1, 2)), result.amax(dim=(1, 2))
        spans.append((high - low + 1) / count)
    return spans[0], spans[1]


@pytest.mark.parametrize(("bins", "frames"), [(96, 101), (64, 51), (64, 301)])
def test_areas_and_ratios_keep_to_their_ranges(bins: int, frames: int) -> None:
    height, width = covered(RandomResizedCrop(0.6, 1.5), bins, frames, 2000)
    assert 0.6 - 0.02 <= (height * width).min() < 0.65
    ratios = width / height
    assert 1 / 1.5 - 0.03 <= ratios.min() < 0.72
    assert 1.4 < ratios.max() <= 1.5 + 0.05
    assert ((height < 1) | (width < 1)).float().mean() > 0.95


def test_what_never_fits_leaves_the_clip_as_it_is() -> None:
    # A part of all the area has no other shape than the whole.
    x = torch.randn(300, 40, 50, generator=torch.Generator().manual_seed(1))
    result = RandomResizedCrop(1.0, 1e6)(x, torch.full((300,), 50), made(300))
    kept = (result == x).flatten(1).all(dim=1)
    assert kept.float().mean() > 0.9
    result = RandomResizedCrop(1.0, 1.0)(x, torch.full((300,), 50), made(300))
    assert torch.equal(result, x)


def test_constant_clips_stay_constant() -> None:
    x = torch.full((4, 20, 30), -7.3)
    assert torch.equal(RandomResizedCrop(0.1)(x, torch.tensor([30, 1, 7, 29]), made(4)), x)


@pytest.mark.parametrize(
    "options", [(0.0, 2.0), (1.1, 2.0), (0.8, 0.9), (0.8, math.inf), (math.nan, 2.0)]
)
def test_impossible_options_are_refused(options: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="RandomResizedCrop"):
        RandomResizedCrop(*options)
