"""Other clips as faint backgrounds."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.audio._draws import RandomSource, uniform
from tonotopy.audio._partners import random_partners
from tonotopy.audio._repeating import repeat_clips
from tonotopy.audio._valid import valid_positions
from tonotopy.audio.augmentations import WaveAugmentation


class MixBack(WaveAugmentation):
    """Put another clip of the batch faintly behind each clip.

    x' = √(1 - a) x + √a · ‖x‖/‖y‖ · y with a ~ U(0, 10^(-snr/10)), so that the background y has
    the share a of the clip's energy over its valid samples. A background that is shorter than the
    clip is repeated; the clip keeps its length. Views (with a `KeyedGenerator`) share a and have
    different backgrounds.

    A silent clip stays silent; a silent background changes nothing, and neither does a batch of
    one.

    Source: Fonseca et al., "Unsupervised Contrastive Learning of Sound Event Representations",
    ICASSP 2021, with two differences. There the powers of log-mel patches are added, which adding
    waveforms does in expectation. And there a background is a patch of any training clip; here it
    is the same view of another clip of the batch, which need not be read for it.

    Args:
        snr: Least ratio of clip to background, in dB, 0 or more. The published share, at most
            0.05, is 13; 30 can hardly be heard.

    Raises:
        UsageError: `snr` is negative.
    """

    def __init__(self, snr: float = 13.0) -> None:
        super().__init__()
        if not snr >= 0:
            raise UsageError(
                f"MixBack: snr must be 0 dB or more, or the background would drown the clip; "
                f"got {snr:g}"
            )
        self.snr = snr

    def change(self, x: Tensor, lengths: Tensor, generator: RandomSource) -> Tensor:
        """Mix each clip with its partner."""
        if len(x) < 2 or x.numel() == 0:
            return x
        partners = random_partners(len(x), generator, x.device)
        largest: float = 10.0 ** (-self.snr / 10.0)
        share = (largest * uniform(x, generator, shared=True))[:, None]
        clips = x.to(torch.promote_types(x.dtype, torch.float32))
        # A batch is mixed a few times as fast where nothing must be masked.
        if not (lengths < x.shape[1]).any():
            norms = _norms(clips)
            return _mixed(clips, norms, clips[partners], norms[partners], share).to(x.dtype)
        valid = valid_positions(x, lengths)
        clips = clips.where(valid, 0.0)
        sizes = lengths[partners].clamp_min(1)
        backgrounds = repeat_clips(clips[partners], sizes, x.shape[1]).where(valid, 0.0)
        mixed = _mixed(clips, _norms(clips), backgrounds, _norms(backgrounds), share)
        return mixed.to(x.dtype).where(valid, x)


def _norms(x: Tensor) -> Tensor:
    """Give each clip's norm (B, 1) in single precision, whose range its square may leave."""
    precise = torch.float32 if x.device.type == "mps" else torch.float64  # Apple's have no other
    norms: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=precise)
    return norms.to(x.dtype)


def _mixed(
    clips: Tensor, norms: Tensor, backgrounds: Tensor, background_norms: Tensor, share: Tensor
) -> Tensor:
    """Mix clips and backgrounds (B, T) with norms and shares (B, 1); see `MixBack`."""
    audible = background_norms > 0
    share = share.to(clips.dtype).where(audible, 0.0)
    # First to norm 1: a product of all factors may be beyond all numbers, and the result not.
    unit = backgrounds / background_norms.where(audible, 1.0)
    return torch.addcmul((1.0 - share).sqrt() * clips, unit, share.sqrt() * norms)
