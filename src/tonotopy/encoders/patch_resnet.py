"""The ResNet-18 of the angular contrastive paper."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tonotopy.encoders._masking import channels_last
from tonotopy.encoders._patches import PatchEncoder
from tonotopy.encoders.resnet import initialise_convolutions, residual_blocks


class PatchResNet18(PatchEncoder):
    """Embed one-second patches with an 18-layer residual network, averaged over a clip.

    The layers are those of `ResNet18`. That network standardises each bin itself and reads a clip
    of any length at once; this one leaves the features as the front end gives them and sees a
    second at a time. Embeddings are not negative.

    Source: Wang et al., "Self-supervised learning of audio representations using angular
    contrastive loss", ICASSP 2023; He et
    al., "Deep Residual Learning for Image Recognition", 2016, table 1, with one input channel.

    Args:
        num_bins: Height F of the features; 96 in the paper.
        width: Channels of the first stage; the embedding has 8 times as many. 64 is the published
            network (11.2 M parameters).
        patch_frames: Frames of a patch; 101 are a second of `PeakLogMel`.
        patch_hop: Frames from patch to patch.

    Examples:
        >>> import torch
        >>> encoder = PatchResNet18(num_bins=96, width=16).eval()
        >>> encoder(torch.randn(2, 96, 300), torch.tensor([300, 37])).shape
        torch.Size([2, 128])
    """

    def __init__(
        self, num_bins: int, width: int = 64, patch_frames: int = 101, patch_hop: int = 50
    ) -> None:
        super().__init__(num_bins, 8 * width, patch_frames, patch_hop)
        self.conv = nn.Conv2d(1, width, 7, stride=2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.blocks = residual_blocks(width)
        initialise_convolutions(self)

    def embed_patches(self, patches: Tensor) -> Tensor:
        """See `PatchEncoder.embed_patches`."""
        image: Tensor = self.pool(F.relu(self.norm(channels_last(self.conv(patches)))))
        for block in self.blocks:
            image, _ = block(image, None)
        return image.mean(dim=(2, 3))
