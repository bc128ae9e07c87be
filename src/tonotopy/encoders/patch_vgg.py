"""The VGG-like network of the angular contrastive paper."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.encoders._masking import channels_last
from tonotopy.encoders._patches import PatchEncoder

_CHANNELS = (1, 32, 32, 32, 64, 64, 128)
_POOLED = (2, 4, 5)
"""The convolutions that a 2 x 2 pooling follows."""
SMALLEST = 2 ** len(_POOLED)


class PatchVGG(PatchEncoder):
    """Embed one-second patches with six 3 x 3 convolutions, averaged over a clip.

    Convolution, batch normalisation and ReLU, 32, 32, 32, 64, 64 and 128 channels; 2 x 2 maximum
    after the third, fifth and sixth, where partial windows are dropped; maximum and mean over
    what is left, side by side; a linear layer and ReLU, so that embeddings are not negative.

    Source: Wang et al., "Self-supervised learning of audio representations using angular
    contrastive loss", ICASSP 2023, after
    Fonseca et al., "Unsupervised Contrastive Learning of Sound Event Representations", 2021.

    Args:
        num_bins: Height F of the features, at least 8; 96 in the paper.
        embedding_dim: Length D of the embedding.
        patch_frames: Frames of a patch, at least 8; 101 are a second of `PeakLogMel`.
        patch_hop: Frames from patch to patch.

    Examples:
        >>> encoder = PatchVGG(num_bins=96).eval()
        >>> encoder(torch.randn(2, 96, 300), torch.tensor([300, 37])).shape
        torch.Size([2, 512])
        >>> sum(p.numel() for p in encoder.parameters())
        280032
    """

    def __init__(
        self,
        num_bins: int,
        embedding_dim: int = 512,
        patch_frames: int = 101,
        patch_hop: int = 50,
    ) -> None:
        super().__init__(num_bins, embedding_dim, patch_frames, patch_hop)
        if min(num_bins, patch_frames) < SMALLEST:
            raise UsageError(
                f"PatchVGG needs patches of at least {SMALLEST} bins and {SMALLEST} frames, "
                f"got {num_bins} and {patch_frames}"
            )
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1, bias=False)
            for before, after in pairwise(_CHANNELS)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for channels in _CHANNELS[1:])
        self.linear = nn.Linear(2 * _CHANNELS[-1], embedding_dim)

    def embed_patches(self, patches: Tensor) -> Tensor:
        """See `PatchEncoder.embed_patches`."""
        image = patches
        for at, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            image = F.relu(norm(channels_last(conv(image))))
            if at in _POOLED:
                image = F.max_pool2d(image, 2)
        pooled = torch.cat([image.amax(dim=(2, 3)), image.mean(dim=(2, 3))], dim=1)
        return F.relu(self.linear(pooled))
