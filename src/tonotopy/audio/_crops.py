"""Where the views of a clip begin, and cutting them out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tonotopy.audio.keyed_generator import KeyedGenerator


def draw_starts(
    lengths: Tensor, size: int, step: int, generators: Sequence[KeyedGenerator], same: bool
) -> Tensor:
    """Draw where each view of each clip begins, uniformly and without replacement.

    A crop begins at a multiple of `step` and lies within the clip. Where a clip has no room for
    that many of these, crops go on at its beginning when they reach its end, and begin at any
    multiple of `step`, or, where even those are too few, at any sample.

    Args:
        lengths: (B,) samples, at least one.
        size: Samples of a view.
        step: Samples between possible beginnings.
        generators: One a view.
        same: All views begin at the same place.

    Returns:
        (V, B) samples. Equal for two views of a clip only with `same` or where the clip has fewer
        samples than views.
    """
    needed = 1 if same else len(generators)
    inside, around = (lengths - size) // step + 1, lengths // step
    places = torch.where(inside >= needed, inside, torch.where(around >= needed, around, lengths))
    steps = torch.where(torch.maximum(inside, around) >= needed, step, 1)
    drawn: list[Tensor] = []
    for view, generator in enumerate(generators):
        if same:
            drawn.append(generator.integers(places, shared=True))
            continue
        place = generator.integers((places - view).clamp_min(1))
        # The number of a place among those that are left, as its number among all.
        for taken in torch.stack(drawn).sort(dim=0).values if drawn else ():
            place = place + (place >= taken)
        drawn.append(place % places)
    return torch.stack(drawn) * steps


def cut(waveforms: Tensor, lengths: Tensor, starts: Tensor, size: int) -> Tensor:
    """Cut excerpts; a clip begins anew where it ends.

    Args:
        waveforms: (B, T), padded at the end; the padding is never read.
        lengths: (B,) samples, at least one.
        starts: (V, B) first sample of each excerpt.
        size: Samples of an excerpt.

    Returns:
        (V·B, size), excerpt v of clip b in row v·B + b.
    """
    if waveforms.device.type == "cpu" and (starts + size <= lengths).all():
        # Copies whole rows: an index of eight bytes for every sample takes ten times as long.
        clips = torch.arange(len(waveforms)).expand_as(starts)
        return waveforms.unfold(1, size, 1)[clips, starts].flatten(0, 1)
    at = (starts[..., None] + torch.arange(size, device=waveforms.device)) % lengths[:, None]
    return waveforms.expand(len(starts), -1, -1).gather(2, at).flatten(0, 1)
