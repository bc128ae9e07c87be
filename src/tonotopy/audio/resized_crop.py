"""Parts of a spectrogram stretched to the whole."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.audio._draws import RandomSource, uniform
from tonotopy.audio._valid import valid_positions
from tonotopy.audio.augmentations import FeatureAugmentation

ATTEMPTS = 10


class RandomResizedCrop(FeatureAugmentation):
    """Stretch a random rectangle of each clip's features to the size of the whole.

    The rectangle covers a share s ~ U(area, 1) of the bins and valid frames, and is r times as long
    in relation to its height as they are, with log r ~ U(-log aspect, log aspect): √(s r) of the
    frames and √(s / r) of the bins, rounded. One that does not fit is drawn again, up to ten
    times; after that the clip stays as it is. Values between are bilinear.

    Source: the training of Fonseca et al., "Unsupervised Contrastive Learning of Sound Event
    Representations", ICASSP 2021, where r is the ratio of frames to bins itself: nearly the same
    for patches of 101 frames and 96 bins, but hardly a rectangle of that shape fits into others.

    Args:
        area: Smallest share of the area, above 0 up to 1.
        aspect: Largest change of the aspect ratio, 1 or more.

    Raises:
        UsageError: An option is out of range.
    """

    def __init__(self, area: float = 0.8, aspect: float = 4 / 3) -> None:
        super().__init__()
        if not 0 < area <= 1:
            raise UsageError(f"RandomResizedCrop: area must be above 0 up to 1, got {area:g}")
        if not 1 <= aspect < math.inf:
            raise UsageError(f"RandomResizedCrop: aspect must be 1 or more, got {aspect:g}")
        self.area = area
        self.aspect = aspect

    def change(self, x: Tensor, lengths: Tensor, generator: RandomSource) -> Tensor:
        """Crop and stretch each clip within its valid frames."""
        bins = lengths.new_full((len(x),), x.shape[1])
        height, width = self._sizes(bins, lengths, uniform(x, generator, 2, ATTEMPTS))
        places = uniform(x, generator, 2)
        top = (places[0] * (bins - height + 1)).long()
        left = (places[1] * (lengths - width + 1)).long()
        resized = _stretched(x, 1, top, height, bins)
        resized = _stretched(resized, 2, left, width, lengths)
        return resized.where(valid_positions(x, lengths), x)

    def _sizes(self, bins: Tensor, lengths: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Give the height and width of the first rectangle that fits, (B,) each."""
        share = self.area + (1.0 - self.area) * draws[0]
        ratio = torch.exp(math.log(self.aspect) * (2.0 * draws[1] - 1.0))
        heights = (bins * (share / ratio).sqrt()).round().long()
        widths = (lengths * (share * ratio).sqrt()).round().long()
        fits = (heights <= bins) & (widths <= lengths) & (heights > 0) & (widths > 0)
        first = fits.int().argmax(dim=0, keepdim=True)
        found = fits.any(dim=0)
        height, width = (sizes.gather(0, first)[0] for sizes in (heights, widths))
        return height.where(found, bins), width.where(found, lengths)


def _stretched(x: Tensor, dim: int, start: Tensor, size: Tensor, target: Tensor) -> Tensor:
    """Resample `size` positions from `start` on as `target` positions along an axis.

    Position i of the result lies at (i + 1/2) size / target - 1/2 of the part; beyond its outer
    centres, its outer values go on.
    """
    positions = torch.arange(x.shape[dim], device=x.device)
    at = (positions + 0.5) * (size / target.clamp_min(1))[:, None] - 0.5
    last = (size - 1).clamp_min(0)[:, None]
    at = torch.minimum(at.clamp_min(0.0), last)
    lower = torch.minimum(at.long(), last)
    upper = torch.minimum(lower + 1, last)
    weight = (at - lower).to(x.dtype).unsqueeze(3 - dim)
    below, above = (_picked(x, dim, start[:, None] + index) for index in (lower, upper))
    return torch.lerp(below, above, weight)


def _picked(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """Take rows (`dim` 1) or columns (`dim` 2) of each clip by its own index (B, n)."""
    return x.gather(dim, index.unsqueeze(3 - dim).expand_as(x))
