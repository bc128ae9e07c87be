"""The convolutional recurrent network of the angular contrastive paper."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.encoders._masking import channels_last
from tonotopy.encoders._patches import PatchEncoder

_CHANNELS = 128
_POOLS = ((2, 5), (2, 4), (2, 2))
"""Frames and bins of the windows."""
SMALLEST_FRAMES, SMALLEST_BINS = 8, 40


class PatchCRNN(PatchEncoder):
    """Embed one-second patches with three convolutions and a GRU, averaged over a clip.

    Three times a 5 x 5 convolution of 128 channels, batch normalisation, ReLU and maximum over
    windows of 2 frames and 5, 4 and 2 bins; then a bidirectional GRU. The embedding is the product
    of its two directions at the last frame, and lies in (-1, 1). There the backward direction has
    seen one frame only; its recurrent weights play no part.

    Source: Wang et al., "Self-supervised learning of audio representations using angular
    contrastive loss", ICASSP 2023, after
    Fonseca et al., "Unsupervised Contrastive Learning of Sound Event Representations", 2021.

    Args:
        num_bins: Height F of the features, at least 40; 96 in the paper.
        hidden_size: Units of the GRU in each direction, the length D of the embedding.
        patch_frames: Frames of a patch, at least 8; 101 are a second of `PeakLogMel`.
        patch_hop: Frames from patch to patch.

    Examples:
        >>> import torch
        >>> encoder = PatchCRNN(num_bins=96).eval()
        >>> encoder(torch.randn(2, 96, 300), torch.tensor([300, 37])).shape
        torch.Size([2, 64])
        >>> sum(p.numel() for p in encoder.parameters())
        946816
    """

    def __init__(
        self, num_bins: int, hidden_size: int = 64, patch_frames: int = 101, patch_hop: int = 50
    ) -> None:
        super().__init__(num_bins, hidden_size, patch_frames, patch_hop)
        if num_bins < SMALLEST_BINS or patch_frames < SMALLEST_FRAMES:
            raise UsageError(
                f"PatchCRNN needs patches of at least {SMALLEST_BINS} bins and {SMALLEST_FRAMES} "
                f"frames, got {num_bins} and {patch_frames}"
            )
        self.convs = nn.ModuleList(
            nn.Conv2d(before, _CHANNELS, 5, padding=2, bias=False)
            for before in (1, _CHANNELS, _CHANNELS)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(_CHANNELS) for _ in _POOLS)
        rows = num_bins
        for _, bins in _POOLS:
            rows //= bins
        self.gru = nn.GRU(rows * _CHANNELS, hidden_size, bidirectional=True, batch_first=True)

    def embed_patches(self, patches: Tensor) -> Tensor:
        """See `PatchEncoder.embed_patches`."""
        image = patches
        for conv, norm, window in zip(self.convs, self.norms, _POOLS, strict=True):
            image = F.max_pool2d(F.relu(norm(channels_last(conv(image)))), window)
        sequence = image.permute(0, 2, 3, 1).flatten(2)  # bins before channels, as published
        forward, backward = self.gru(sequence)[0][:, -1].chunk(2, dim=-1)
        product: Tensor = forward * backward
        return product
