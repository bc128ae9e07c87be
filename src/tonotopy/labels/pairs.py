"""What the labels of two clips say about the pair."""

from __future__ import annotations

from torch import Tensor

from tonotopy.labels.tree import UNKNOWN


def lca_depth_interval(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Bound the depth of the lowest common ancestor of every pair of clips.

    A level that is unknown may turn out to be anything that the other label allows.

    Args:
        a: (B, L) codes of `LabelTree.encode`.
        b: (M, L) codes of the same tree.

    Returns:
        `lo` and `hi`, (B, M) int64: the depth down to which the labels certainly agree, and the
        depth down to which they may agree. They are equal where the labels say it all.

    Examples:
        >>> import torch
        >>> codes = torch.tensor([[0, 2], [0, -1], [3, -2]])
        >>> [bound.tolist() for bound in lca_depth_interval(codes, codes[:1])]
        [[[2], [1], [0]], [[2], [2], [0]]]
    """
    left, right = a[:, None, :], b[None, :, :]
    known = (left >= 0) & (right >= 0)
    equal = known & (left == right)
    possible = equal | (
        ((left == UNKNOWN) & (right >= UNKNOWN)) | ((right == UNKNOWN) & (left >= UNKNOWN))
    )
    return _leading(equal), _leading(possible)


def _leading(agree: Tensor) -> Tensor:
    """Count the levels that agree before the first that does not."""
    return agree.long().cumprod(dim=-1).sum(dim=-1)
