"""Waveforms of any length as features, for encoders with a front end of their own."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy.audio.front_end import FrontEnd


class RawWaveform(FrontEnd):
    """Give every clip its own samples, as features of one bin; a frame is a sample.

    For encoders that do their own preprocessing and take clips of any length. An encoder that
    needs one length takes `Waveform`.

    Args:
        sample_rate: In hertz; the one that the encoder was trained with.

    Examples:
        >>> RawWaveform()(torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([2]))
        (tensor([[[1., 2., 0.]]]), tensor([2]))
    """

    def __init__(self, sample_rate: int = 16000) -> None:
        super().__init__(sample_rate, num_bins=1)

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Give features (B, 1, T), float32, and the samples (B,); see `FrontEnd.forward`."""
        count, longest = waveforms.shape
        if lengths is None:
            full = torch.full((count,), longest, device=waveforms.device)
            return waveforms.float()[:, None], full
        lengths = lengths.to(waveforms.device)
        valid = torch.arange(longest, device=waveforms.device) < lengths[:, None]
        return waveforms.float().where(valid, 0.0)[:, None], lengths
