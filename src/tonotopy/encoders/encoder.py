"""The contract of an encoder: features of any duration in, one vector a clip out."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from tonotopy._components import Configurable


class Encoder(Configurable, nn.Module, ABC):
    """Map the features of each clip to one vector.

    In `eval()` the vector of a clip depends on nothing but that clip: not on the other clips of the
    batch, not on the padding behind it, not on what the padding contains.

    Args:
        num_bins: Height F of the features (mel bands, for instance).
        embedding_dim: Length D of the vectors.
    """

    def __init__(self, num_bins: int, embedding_dim: int) -> None:
        super().__init__()
        self.num_bins = num_bins
        self.embedding_dim = embedding_dim

    @abstractmethod
    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embed a batch of clips.

        Args:
            features: (B, F, T) floats; what lies beyond a clip's length is ignored.
            lengths: (B,) int, valid frames of each clip, 1..T. Absent: all clips last T frames.

        Returns:
            (B, D) embeddings, not normalised.

        Raises:
            UsageError: The shapes do not fit.
        """
