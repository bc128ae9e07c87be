"""What the labels of two clips say about the pair."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.labels.tree import UNKNOWN


def lca_depth_interval(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Bound the depth of the lowest common ancestor of every pair of clips.

    Where both labels are known, they agree or part for certain. Beyond a partial label lies at
    least one level, and it may turn out to be whatever the other label has there; beyond a
    complete label lies nothing. So `hi` is exact: some two leaves below the labels reach it. `lo`
    is what the labels themselves say: an inner node with one child is not taken for that child,
    since a taxonomy may grow.

    Args:
        a: (B, L) codes of `LabelTree.encode`.
        b: (M, L) codes of the same tree.

    Returns:
        `lo` and `hi`, (B, M) int64: the depth down to which the labels certainly agree, and the
        depth down to which they may agree; 0 <= lo <= hi <= L. They are equal where the labels
        say it all.

    Raises:
        UsageError: The two are no codes of one tree.

    Examples:
        >>> import torch
        >>> codes = torch.tensor([[0, 2], [0, -1], [3, -2]])
        >>> [bound.tolist() for bound in lca_depth_interval(codes, codes[:1])]
        [[[2], [1], [0]], [[2], [2], [0]]]
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise UsageError(
            f"expected codes (B, L) and (M, L) of one tree, got {tuple(a.shape)} and "
            f"{tuple(b.shape)}; make both with the same LabelTree.encode"
        )
    certain = torch.ones(len(a), len(b), dtype=torch.bool, device=a.device)
    possible = certain.clone()
    lo, hi = certain.long() * 0, certain.long() * 0
    # Level by level: B x M x L values never stand in memory at once.
    for left, right in zip(a.T[:, :, None], b.T[:, None, :], strict=True):
        equal = (left == right) & (left >= 0)
        certain &= equal
        possible &= equal | (torch.minimum(left, right) == UNKNOWN)
        lo += certain
        hi += possible
    return lo, hi
