"""What embeddings look like beyond any classifier: six numbers, as one dict."""

from __future__ import annotations

from torch import Tensor

from tonotopy.metrics.alignment_uniformity import alignment, uniformity
from tonotopy.metrics.class_tolerance import tolerance
from tonotopy.metrics.collapse import effective_rank
from tonotopy.metrics.hubs import hubness


def analyse_features(
    embeddings: Tensor,
    *,
    labels: Tensor | None = None,
    other_views: Tensor | None = None,
    hubness_k: int = 10,
) -> dict[str, float]:
    """Measure how embeddings use their sphere, with labels and a second view where there are any.

    All pairs are visited, in float64 and O(N² D) time, by blocks of rows: no N x N matrix is held.

    Args:
        embeddings: (N, D) floats, not necessarily normalised.
        labels: (N,) class ids, negative = unknown; None without labels.
        other_views: (N, D) embeddings of another view of the same clips; None without.
        hubness_k: Neighbours of `hubness`. Default 10.

    Returns:
        `uniformity` (t = 2; -8 to 0), `effective_rank` (1 to min(N, D)), `hubness`; where a clip
        has a label also `tolerance` and `tolerance_literal`; with other views also `alignment`
        (alpha = 2; 0 to 4). NaN where there are too few clips, or no two of one class.

    Raises:
        UsageError: Shapes do not fit, or `hubness_k` is below 1.
        DataError: An embedding is not finite.

    Examples:
        >>> import torch
        >>> analyse_features(torch.eye(4))["uniformity"]
        -4.0
    """
    found = {"uniformity": uniformity(embeddings)}
    if other_views is not None:
        found["alignment"] = alignment(embeddings, other_views)
    if labels is not None and bool((labels >= 0).any()):
        found["tolerance"] = tolerance(embeddings, labels)
        found["tolerance_literal"] = tolerance(embeddings, labels, "literal")
    return found | {
        "effective_rank": effective_rank(embeddings),
        "hubness": hubness(embeddings, hubness_k),
    }
