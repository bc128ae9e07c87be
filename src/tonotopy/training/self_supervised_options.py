"""What the task `self-supervised` can be told: the views of a clip, and how they are compared."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from tonotopy._errors import UsageError


def _paper_projection() -> list[int]:
    return [512, 512]


@dataclass(frozen=True)
class SelfSupervisedOptions:
    """How clips without labels teach an encoder: views of one clip belong together.

    Args:
        views: Views of each clip in a batch, 2 or more; each is another excerpt, augmented by
            `augmentations` with numbers of its own.
        view_seconds: Length of a view. Clips that are shorter are repeated to it.
        same_crop: Let the views of a clip be augmentations of one excerpt, instead of different
            excerpts. Validation, which augments nothing, then has equal views: its loss says only
            how far clips are apart, and their alignment is 0.
        projection: Sizes of the layers of the head on which views are compared, and which is not
            kept after training; `[]` compares the embeddings themselves.
        positives: What belongs together: the `"views"` of a clip alone; or also clips of one class
            (`"labels"`), as far as labels are known.
        queue: Keys of earlier batches to compare with, by an encoder that follows slowly; 0 for
            none. It makes negatives many where batches must be small.
        momentum: How slowly that encoder follows, in [0, 1).
        chunk_views: Most views that the encoder holds in memory at once, for batches beyond it, at
            the price of a second forward pass; 0 for all. Batch normalisation then takes the
            statistics of a chunk, and its running averages move twice.
    """

    views: int = 2
    view_seconds: float = 1.0
    same_crop: bool = False
    projection: list[int] = field(default_factory=_paper_projection)
    positives: Literal["views", "labels"] = "views"
    queue: int = 0
    momentum: float = 0.99
    chunk_views: int = 0

    def __post_init__(self) -> None:
        if self.views < 2:
            raise UsageError(
                f"--self_supervised.views must be at least 2, to have something to compare, got "
                f"{self.views}"
            )
        if not 0.0 < self.view_seconds < math.inf:
            raise UsageError(
                f"--self_supervised.view_seconds must be positive, got {self.view_seconds:g}"
            )
        if any(size < 1 for size in self.projection):
            raise UsageError(
                f"--self_supervised.projection: sizes must be positive, got {self.projection}"
            )
        if min(self.queue, self.chunk_views) < 0:
            raise UsageError(
                "--self_supervised.queue and --self_supervised.chunk_views cannot be negative, got "
                f"{self.queue} and {self.chunk_views}"
            )
        if not 0.0 <= self.momentum < 1.0:
            raise UsageError(
                "--self_supervised.momentum must be at least 0 and less than 1, got "
                f"{self.momentum:g}"
            )
