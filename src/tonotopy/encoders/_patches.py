"""Networks that see patches of fixed size; a clip's vector is the mean over its patches."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.encoders._masking import as_image
from tonotopy.encoders.encoder import Encoder

PATCHES_AT_ONCE = 128
"""Most patches in one pass outside training, which bounds the memory of long clips."""


def cut_patches(
    features: Tensor, lengths: Tensor, patch_frames: int, patch_hop: int
) -> tuple[Tensor, Tensor]:
    """Cut clips into patches of one length; frames behind the last whole patch are dropped.

    A clip shorter than a patch gives one, in which it is repeated.

    Args:
        features: (B, F, T).
        lengths: (B,) valid frames, at least one each.
        patch_frames: Frames P of a patch.
        patch_hop: Frames from patch to patch.

    Returns:
        The patches (N, P, F), those of a clip side by side, and the clip (N,) of each.
    """
    counts = patch_counts(lengths, patch_frames, patch_hop)
    clips = torch.arange(len(features), device=features.device).repeat_interleave(counts)
    first = (counts.cumsum(0) - counts)[clips]
    starts = (torch.arange(len(clips), device=features.device) - first) * patch_hop
    frames = starts[:, None] + torch.arange(patch_frames, device=features.device)
    return features[clips[:, None], :, frames % lengths[clips, None]], clips


def patch_counts(lengths: Tensor, patch_frames: int, patch_hop: int) -> Tensor:
    """Give how many patches `cut_patches` makes of clips of `lengths` (B,) frames, (B,)."""
    return 1 + (lengths - patch_frames).clamp_min(0) // patch_hop


def mean_of_patches(vectors: Tensor, clips: Tensor, count: int) -> Tensor:
    """Average the vectors (N, D) of the patches of each of `count` clips, (count, D)."""
    sums = vectors.new_zeros(count, vectors.shape[1]).index_add(0, clips, vectors)
    return sums / clips.bincount(minlength=count)[:, None].to(sums.dtype)


class PatchEncoder(Encoder, ABC):
    """Embed patches of fixed size and average them over a clip.

    Args:
        num_bins: Height F of the features.
        embedding_dim: Length D of the embedding.
        patch_frames: Frames of a patch.
        patch_hop: Frames from patch to patch.
    """

    def __init__(
        self, num_bins: int, embedding_dim: int, patch_frames: int, patch_hop: int
    ) -> None:
        super().__init__(num_bins, embedding_dim)
        check_patches(type(self).__name__, patch_frames, patch_hop)
        self.patch_frames = patch_frames
        self.patch_hop = patch_hop

    def patch_counts(self, lengths: Tensor) -> Tensor:
        """Give how many patches there are of clips of `lengths` (B,) frames, (B,)."""
        return patch_counts(lengths, self.patch_frames, self.patch_hop)

    def average_patches(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Average what was made of each patch over its clip.

        Args:
            vectors: (N, D), those of a clip side by side.
            lengths: (B,) frames of the clips.

        Returns:
            (B, D).
        """
        counts = self.patch_counts(lengths.to(vectors.device))
        clips = torch.arange(len(counts), device=vectors.device).repeat_interleave(counts)
        return mean_of_patches(vectors, clips, len(counts))

    @abstractmethod
    def embed_patches(self, patches: Tensor) -> Tensor:
        """Map patches (N, 1, patch_frames, F), time before frequency, to (N, D)."""

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """See `Encoder.forward`."""
        image, lengths = as_image(features, lengths, self.num_bins)
        if lengths is None:
            lengths = torch.full((len(image),), image.shape[-1], device=image.device)
        if len(image) == 0:
            return features.new_zeros(0, self.embedding_dim)
        patches, clips = cut_patches(image[:, 0], lengths, self.patch_frames, self.patch_hop)
        # Batch statistics are those of all patches, so training takes them in one pass.
        size = len(patches) if self.training else PATCHES_AT_ONCE
        vectors = [self.embed_patches(part[:, None]) for part in torch.split(patches, size)]
        return mean_of_patches(torch.cat(vectors), clips, len(image))


def check_patches(name: str, patch_frames: int, patch_hop: int) -> None:
    """Refuse patches of no frames, and hops that stand still."""
    if patch_frames < 1 or patch_hop < 1:
        raise UsageError(
            f"{name}: patch_frames and patch_hop must be at least 1, "
            f"got {patch_frames} and {patch_hop}"
        )
