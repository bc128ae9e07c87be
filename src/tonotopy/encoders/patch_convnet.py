"""The supervised network of the angular contrastive paper."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.encoders._masking import channels_last
from tonotopy.encoders._patches import PatchEncoder

_CHANNELS = (24, 48, 48)
_POOL = (4, 2)
"""Frames and bins of a window, after the first and after the second convolution."""
SMALLEST_FRAMES, SMALLEST_BINS = 16, 4


class PatchConvNet(PatchEncoder):
    """Embed two-second patches with three 5 x 5 convolutions, averaged over a clip.

    Batch normalisation and ReLU stand before each convolution (pre-activation) as well as behind
    it: 24, 48 and 48 channels, with maxima over 4 frames and 2 bins after the first two, where
    partial windows are dropped. What is left, 6,912 numbers of a patch of 100 frames and 96 bins,
    goes through dropout, a linear layer, ReLU and dropout, so that embeddings are not negative.

    The raw output of the last convolution is the module `convs.2`: its maximum over time and bins
    is what the paper gives to the angular margin (`FitConfig.intermediate`).

    Source: the supervised network of Wang et al., "Self-supervised learning of audio
    representations using angular contrastive loss", ICASSP 2023, after Fonseca et al., "Learning
    Sound Event Classifiers from Web Audio with Noisy Labels", ICASSP 2019. With a classifier of 20
    classes it has the published 531,238 parameters less 72, the biases of the first two
    convolutions, which the normalisations behind them take away. The paper adds up what a clip's
    patches say of its class; here their embeddings are averaged and classified once.

    Args:
        num_bins: Height F of the features, at least 4; 96 in the paper.
        embedding_dim: Length D of the embedding.
        dropout: Probability of dropping a number before, and again after the linear layer, 0..1.
        patch_frames: Frames of a patch, at least 16; 100 are 2 s at steps of 20 ms.
        patch_hop: Frames from patch to patch.

    Examples:
        >>> import torch
        >>> encoder = PatchConvNet(num_bins=96).eval()
        >>> encoder(torch.randn(2, 96, 300), torch.tensor([300, 37])).shape
        torch.Size([2, 64])
        >>> sum(p.numel() for p in encoder.parameters())
        529866
    """

    def __init__(
        self,
        num_bins: int,
        embedding_dim: int = 64,
        dropout: float = 0.5,
        patch_frames: int = 100,
        patch_hop: int = 50,
    ) -> None:
        super().__init__(num_bins, embedding_dim, patch_frames, patch_hop)
        if num_bins < SMALLEST_BINS or patch_frames < SMALLEST_FRAMES:
            raise UsageError(
                f"PatchConvNet needs patches of at least {SMALLEST_BINS} bins and "
                f"{SMALLEST_FRAMES} frames, got {num_bins} and {patch_frames}"
            )
        first, second, third = _CHANNELS
        self.input_norm = nn.BatchNorm2d(1)
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(1, first, 5, padding=2, bias=False),
                nn.Conv2d(first, second, 5, padding=2, bias=False),
                # Nothing follows where the angular margin reads it, so this one keeps its bias.
                nn.Conv2d(second, third, 5, padding=2),
            ]
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for channels in _CHANNELS)
        self.pooled_norms = nn.ModuleList(nn.BatchNorm2d(channels) for channels in (first, second))
        left = third * (patch_frames // _POOL[0] ** 2) * (num_bins // _POOL[1] ** 2)
        self.map_dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(left, embedding_dim)
        self.dropout = nn.Dropout(dropout)

    def embed_patches(self, patches: Tensor) -> Tensor:
        """See `PatchEncoder.embed_patches`."""
        image = F.relu(self.input_norm(patches))
        for at, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            image = F.relu(norm(channels_last(conv(image))))
            if at < len(self.pooled_norms):
                image = F.relu(self.pooled_norms[at](F.max_pool2d(image, _POOL)))
        embeddings: Tensor = self.dropout(F.relu(self.linear(self.map_dropout(image.flatten(1)))))
        return embeddings
