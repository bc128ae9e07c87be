"""The contract of a front end: waveforms in, features and their lengths out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from torch import Tensor, nn

from tonotopy._components import Configurable


class FrontEnd(Configurable, nn.Module, ABC):
    """Map waveforms to features of `num_bins` rows and one column a frame.

    A clip's features do not depend on what it is padded with.

    Args:
        sample_rate: In hertz.
        num_bins: Rows of the features.
    """

    def __init__(self, sample_rate: int, num_bins: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.num_bins = num_bins

    @abstractmethod
    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute features.

        Args:
            waveforms: (B, T) mono, padded at the end.
            lengths: (B,) samples before padding; None when all fill T.

        Returns:
            Features (B, num_bins, F), zero beyond a clip's end, and the frames (B,) of each clip.
        """

    def fit_normalisation(self, waveforms: Iterable[Tensor]) -> None:
        """Learn statistics of the training clips, where the front end has any.

        Args:
            waveforms: (T,) each.
        """
