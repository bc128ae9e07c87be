"""How large a margin between the levels of a tree can be, for vectors on a sphere."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tonotopy._errors import UsageError
from tonotopy.labels import LabelTree

ROOT = -1


def largest_margin(tree: LabelTree, steps: Sequence[float] | None = None) -> float:
    """Give the largest margin for which a generalised triplet loss over cosines can be 0.

    Zero loss with margin m needs s_ij <= 1 - m h_ij for leaves i and j, h_ij the number of
    branching nodes on the longest way from their lowest common ancestor, itself included, down to a
    leaf. No weighted sum of unit vectors has a negative square, so m <= 1 / max over w of the mean
    of h_ij when i and j are drawn by w; along the tree the maximum has a closed form. For trees of
    one depth the bound is sharp; for ragged ones a margin below it is safe.

    Args:
        tree: The labels.
        steps: Margin of each level from coarse to fine. Default: one margin between any two
            branchings.

    Returns:
        The margin, infinite for a tree without a branching; with `steps`, the factor by which they
        may be multiplied.

    Raises:
        UsageError: `steps` for another number of levels.

    Examples:
        >>> largest_margin(LabelTree.from_paths([("a",), ("b",), ("c",), ("d",)]))
        1.3333333333333333
    """
    if steps is not None and len(steps) != tree.num_levels:
        raise UsageError(
            f"there are margins for {len(steps)} levels, but the tree has {tree.num_levels}"
        )
    gap = partial(_gap, tree, steps)
    _, most = _height_and_mean(tree, ROOT, gap)
    return 1.0 / most if most > 0.0 else float("inf")


def _gap(tree: LabelTree, steps: Sequence[float] | None, node: int, below: float) -> float:
    """Give the height of a branching node whose highest child has height `below`."""
    if steps is None:
        return below + 1.0
    depth = tree.depth(node) if node != ROOT else 0
    return float(sum(steps[depth:]))


def _height_and_mean(tree: LabelTree, node: int, gap: partial[float]) -> tuple[float, float]:
    """Give the height of a node, and the largest mean height of the pairs of leaves below it.

    A share a_c of the weight below child c gives h - sum_c a_c² (h - f_c), f_c the child's own
    maximum, which is largest for a_c in proportion to 1 / (h - f_c).
    """
    children = tree.children(node)
    if not children:
        return 0.0, 0.0
    below = [_height_and_mean(tree, child, gap) for child in children]
    highest = max(height for height, _ in below)
    if len(children) == 1:  # a chain adds nothing to tell apart
        return below[0]
    height = gap(node, highest)
    if any(height <= most for _, most in below):  # a level without margin
        return height, max(most for _, most in below)
    return height, height - 1.0 / sum(1.0 / (height - most) for _, most in below)
