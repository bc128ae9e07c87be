"""Waveforms of one length as features, for encoders that begin at the samples."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.audio._repeating import repeat_clips
from tonotopy.audio.front_end import FrontEnd


class Waveform(FrontEnd):
    """Give every clip the same number of samples, and nothing else.

    A longer clip keeps its beginning; a shorter one is repeated from its start, without what it is
    padded with. An encoder that reads the spectrum of the whole clip needs one length.

    Args:
        sample_rate: In hertz.
        seconds: Length of the features; 10 for the recordings of DCASE 2020 and 2022, 18 for those
            of DCASE 2023.

    Raises:
        UsageError: `seconds` is shorter than one sample.

    Examples:
        >>> front_end = Waveform(sample_rate=2, seconds=2.5)
        >>> front_end(torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([2]))
        (tensor([[[1., 2., 1., 2., 1.]]]), tensor([5]))
    """

    def __init__(self, sample_rate: int = 16000, seconds: float = 10.0) -> None:
        super().__init__(sample_rate, num_bins=1)
        self.seconds = seconds
        if self.num_samples < 1:
            raise UsageError(
                f"Waveform: {seconds:g} seconds at {sample_rate} Hz are not one sample; "
                "give more seconds"
            )

    @property
    def num_samples(self) -> int:
        """Samples of every clip's features."""
        return round(self.seconds * self.sample_rate)

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Crop or repeat each clip; see `FrontEnd.forward`.

        Returns:
            Features (B, 1, num_samples), float32, and `num_samples` frames for each clip.

        Raises:
            UsageError: The waveforms have no samples.
        """
        count, longest = waveforms.shape
        if longest == 0:
            raise UsageError("Waveform: expected clips of at least one sample, got none")
        if lengths is None:
            copies = -(-self.num_samples // longest)
            features = waveforms[:, : self.num_samples].repeat(1, copies)[:, : self.num_samples]
        else:
            features = repeat_clips(waveforms, lengths, self.num_samples)
        frames = torch.full((count,), self.num_samples, device=waveforms.device)
        return features.float()[:, None], frames
