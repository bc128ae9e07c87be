"""Several random excerpts of each clip, each changed in a way of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.audio._crops import cut, draw_starts
from tonotopy.audio.augmentations import Augmentation, FeatureAugmentation, WaveAugmentation
from tonotopy.audio.front_end import FrontEnd
from tonotopy.audio.keyed_generator import KeyedGenerator

STEP_SECONDS = 0.01
"""Crops begin at multiples of this."""


class Views(nn.Module):
    """Make the views of contrastive learning: crop, change, compute features, change again.

    Every view of a clip is an excerpt of its own: where it begins is drawn from all multiples of
    10 ms, and never twice for a clip. A clip that is shorter than a view (or so little longer that
    its crops would coincide) is repeated, and each view of it begins elsewhere; only views of a
    clip of fewer samples than views must coincide.

    Every number is drawn by a `KeyedGenerator` from (seed, epoch, clip, view): a clip has the same
    views whatever batch it is in, except for the backgrounds of `MixBack`, and on every device. In
    `eval()` clips are cropped and not changed.

    Source: Wang et al., "Self-supervised learning of audio representations using angular
    contrastive loss", ICASSP 2023. There, crops are patches of the clip's spectrogram. Here they
    are cut from the waveform, so frames at a crop's ends do not see beyond it, and `PeakLogMel`
    takes mean and peak of the crop. There, the two patches of a clip may coincide.

    Args:
        front_end: Waveforms to features; used as it is, its statistics stay.
        augmentations: Those of waveforms before the front end and those of features behind it, in
            this order.
        views: Of each clip, at least one.
        seconds: Length of a view.
        same_crop: All views of a clip are the same excerpt, changed differently.
        seed: Of the run.

    Raises:
        UsageError: An option is out of range, or an augmentation of neither kind.

    Examples:
        >>> from tonotopy.audio import LogMel, MixBack
        >>> views = Views(LogMel(n_mels=40), [MixBack()], seconds=0.5)
        >>> lengths = torch.tensor([16000, 4000, 9000])
        >>> features, frames = views(torch.randn(3, 16000), lengths, torch.tensor([7, 2, 5]), 0)
        >>> features.shape, frames.tolist()
        (torch.Size([6, 40, 51]), [51, 51, 51, 51, 51, 51])
    """

    def __init__(
        self,
        front_end: FrontEnd,
        augmentations: Sequence[Augmentation] = (),
        *,
        views: int = 2,
        seconds: float = 1.0,
        same_crop: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if views < 1:
            raise UsageError(f"Views: expected at least one view, got {views}")
        if not round(seconds * front_end.sample_rate) >= 1:
            raise UsageError(
                f"Views: {seconds:g} seconds at {front_end.sample_rate} Hz are not one sample; "
                "give more seconds"
            )
        for augment in augmentations:
            if not isinstance(augment, WaveAugmentation | FeatureAugmentation):
                raise UsageError(
                    f"Views: {type(augment).__name__} changes neither waveforms nor features: "
                    "derive it from WaveAugmentation or FeatureAugmentation"
                )
        self.front_end = front_end
        self.wave_augmentations = nn.ModuleList(
            a for a in augmentations if isinstance(a, WaveAugmentation)
        )
        self.feature_augmentations = nn.ModuleList(
            a for a in augmentations if isinstance(a, FeatureAugmentation)
        )
        self.views = views
        self.seconds = seconds
        self.same_crop = same_crop
        self.seed = seed

    @property
    def num_samples(self) -> int:
        """Samples of a view."""
        return round(self.seconds * self.front_end.sample_rate)

    def forward(
        self, waveforms: Tensor, lengths: Tensor, clips: Tensor, epoch: int
    ) -> tuple[Tensor, Tensor]:
        """Make all views of a batch.

        Args:
            waveforms: (B, T) mono, padded at the end.
            lengths: (B,) samples before padding.
            clips: (B,) integers that name the clips, the same in every epoch.
            epoch: From 0; each has other views.

        Returns:
            Features (V·B, bins, frames), view v of clip b in row v·B + b, and the frames (V·B,).

        Raises:
            UsageError: The waveforms have no samples.
        """
        if waveforms.shape[-1] == 0:
            raise UsageError("Views: expected clips of at least one sample, got none")
        clips = clips.to(waveforms.device)
        generators = [
            KeyedGenerator.for_views(clips, seed=self.seed, epoch=epoch, view=view)
            for view in range(self.views)
        ]
        lengths = lengths.to(waveforms.device).clamp_min(1)
        step = max(1, round(STEP_SECONDS * self.front_end.sample_rate))
        starts = draw_starts(lengths, self.num_samples, step, generators, self.same_crop)
        crops = cut(waveforms, lengths, starts, self.num_samples)
        full = torch.full_like(lengths, self.num_samples).repeat(self.views)
        crops = _changed(self.wave_augmentations, crops, full, generators)
        features, frames = self.front_end(crops)
        return _changed(self.feature_augmentations, features, frames, generators), frames


def _changed(
    augmentations: nn.ModuleList, x: Tensor, lengths: Tensor, generators: list[KeyedGenerator]
) -> Tensor:
    """Apply augmentations to the rows of each view by itself, (V·B, ...)."""
    if not len(augmentations):
        return x
    views = len(generators)
    batches = x.view(views, len(x) // views, *x.shape[1:])
    sizes = lengths.view(views, -1)
    parts = []
    for part, size, generator in zip(batches, sizes, generators, strict=True):
        for augment in augmentations:
            part = augment(part, size, generator)
        parts.append(part)
    return torch.cat(parts)
