"""What the labels of two clips say about the pair."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.labels.tree import NO_LEVEL, UNKNOWN


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
    lo, hi, _, _ = shared_prefix(a, b)
    return lo.long(), hi.long()


def shared_prefix(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Bound the common depth of every pair of codes, and say whether they are one leaf.

    Args:
        a: (B, L) codes.
        b: (M, L) codes.

    Returns:
        (B, M) each: least and greatest depth, int8, or int16 for trees of 127 levels and more;
        whether the two are certainly, and whether they are perhaps, the same leaf, bool.
    """
    certain = torch.ones(len(a), len(b), dtype=torch.bool, device=a.device)
    possible, same, perhaps = certain.clone(), certain.clone(), certain.clone()
    narrow = a.shape[1] < 127
    lo = torch.zeros_like(certain, dtype=torch.int8 if narrow else torch.int16)
    hi = lo.clone()
    # Level by level, so that B x M x L values never stand in memory at once, and in bytes, as the
    # time it takes is that of the memory.
    for left, right in zip(a.T[:, :, None], b.T[:, None, :], strict=True):
        equal = left == right
        unknown = (left == UNKNOWN) | (right == UNKNOWN)
        exists = (left != NO_LEVEL) & (right != NO_LEVEL)
        same &= equal & ~unknown
        perhaps &= equal | unknown
        certain &= equal & (left >= 0)
        possible &= (equal | unknown) & exists
        lo += certain.view(torch.int8) if narrow else certain
        hi += possible.view(torch.int8) if narrow else possible
    return lo, hi, same, perhaps
