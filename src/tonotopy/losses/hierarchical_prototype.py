"""Hierarchical prototypes: few-shot episodes inside a batch, judged at every height of the tree."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.labels import NO_LEVEL, LabelTree
from tonotopy.losses._base import Loss, Terms, check_not_negative
from tonotopy.losses._tree_index import TreeIndex, weighted_mean


def episode(leaves: Tensor, shots: int) -> tuple[Tensor, Tensor]:
    """Let the first clips of every leaf be its examples, and ask for the rest.

    Args:
        leaves: (B,) leaf indices, -1 = ignored.
        shots: Examples of each leaf, at most.

    Returns:
        (B,) ints: how many examples the clip's leaf has, 0 where the clip itself is none; and (B,)
        bool: the clip is asked for.
    """
    known = leaves >= 0
    same = (leaves[:, None] == leaves) & known
    example = known & (same.tril(-1).sum(dim=1) < shots)
    return same.sum(dim=1).clamp_max(shots) * example, known & ~example


def node_prototypes(z: Tensor, on_path: Tensor, examples: Tensor) -> tuple[Tensor, Tensor]:
    """Give for every node the mean of the prototypes of its leaves, those the means of examples.

    Args:
        z: (B, D) embeddings.
        on_path: (B, N) bool: the clip belongs to the node.
        examples: (B,) as `episode` gives them.

    Returns:
        (N, D) prototypes, 0 where a node has no example, and (N,) bool: it has one.
    """
    share = (examples > 0) / examples.clamp_min(1).to(z.dtype)
    belongs = on_path * share[:, None]
    leaves = belongs.sum(dim=0)  # those with examples, as the shares of a leaf add up to 1
    return belongs.T @ z / leaves.clamp_min(0.5)[:, None], leaves > 0


def prototype_cross_entropies(
    distance: Tensor, codes: Tensor, candidates: Tensor, asked: Tensor
) -> Tensor:
    """Give for every level the mean over queries of the cross-entropy of softmax(-distance).

    Args:
        distance: (B, N) distances to the prototypes of nodes.
        codes: (B, L) the right node at each level.
        candidates: (L, N) bool: nodes of the level that have a prototype.
        asked: (B,) bool: the clip is a query.

    Returns:
        (L,) values; 0 where no clip is a query.
    """
    least = torch.finfo(distance.dtype).min  # not -inf: an episode may have no prototype at all
    losses = []
    for nodes, right in zip(candidates, codes.clamp_min(0).T, strict=True):
        log_p = (-distance).masked_fill(~nodes, least).log_softmax(dim=1)
        losses.append(-log_p.gather(1, right[:, None]).squeeze(1).where(asked, 0.0))
    return weighted_mean(torch.stack(losses, dim=1), asked[:, None].to(distance.dtype))


class HierarchicalPrototypeLoss(Loss):
    """Find queries nearest to the prototypes of their own leaf, its parent, and so on to the top.

    Within the batch the first `shots` clips of every leaf are its examples and the others queries.
    A leaf's prototype is the mean of its examples' embeddings, that of a node above it the mean of
    the prototypes of its leaves in the batch. With h the height above the leaves:

        sum_h exp(-alpha h) · mean over queries of -log softmax_v(-||z - prototype_v||)

    over the nodes v at height h. A leaf at less depth than others stands for its own missing
    levels too. Clips with partial labels are ignored. It trains no classifier. The embeddings are
    taken as they are, and the distance is not squared.

    Which clips are examples depends on the order of the batch, so the batch should be shuffled. It
    should hold more than `shots` clips of a leaf, say twice as many; a leaf without queries only
    stands in the way of others.

    Flores Garcia, Aguilar, Manilow and Pardo, "Leveraging Hierarchical Structures for Few-Shot
    Musical Instrument Recognition", ISMIR 2021.

    Args:
        tree: The tree.
        alpha: Rate by which the weight falls with height, 0 or more. Default 0.75.
        shots: Examples of each leaf, at least 1. Default 1.

    Raises:
        UsageError: An argument is out of range.

    Examples:
        >>> tree = LabelTree([("a", "x"), ("a", "y"), ("b",)])
        >>> loss = HierarchicalPrototypeLoss(tree, shots=1)
        >>> codes = tree.encode([("a", "x"), ("b",), ("a", "x"), ("b",)])
        >>> value = loss(torch.randn(4, 8), codes)
        >>> loss.terms()["queries"]
        tensor(2)
    """

    kind = "batch"
    _in_level: Tensor

    def __init__(self, tree: LabelTree, alpha: float = 0.75, shots: int = 1) -> None:
        super().__init__()
        check_not_negative("alpha", alpha)
        if shots < 1 or shots != int(shots):
            raise UsageError(f"shots must be an integer of at least 1, got {shots}")
        self.alpha = alpha
        self.shots = int(shots)
        self.index = TreeIndex(tree)
        self.register_buffer("_in_level", _nodes_of_levels(tree), persistent=False)

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss, unweighted its heights, `height0` for leaves and so on, and `queries`."""
        codes = self.index.codes(labels)
        examples, asked = episode(self.index.leaf_index(codes), self.shots)
        prototypes, present = node_prototypes(embeddings, self.index.on_path(codes), examples)
        # The expanded square loses every digit next to a prototype.
        mode = "donot_use_mm_for_euclid_dist"
        distance = torch.cdist(embeddings, prototypes, compute_mode=mode)
        right = codes.where(codes != NO_LEVEL, self.index.deepest(codes)[:, None])
        levels = prototype_cross_entropies(distance, right, self._in_level & present, asked)
        heights = levels.flip(0).unbind()
        terms = {f"height{h}": value for h, value in enumerate(heights)}
        weighted = [math.exp(-self.alpha * h) * value for h, value in enumerate(heights)]
        return torch.stack(weighted).sum(), terms | {"queries": asked.sum()}

    def extra_repr(self) -> str:
        """Say which loss it is."""
        return f"alpha={self.alpha}, shots={self.shots}"


def _nodes_of_levels(tree: LabelTree) -> Tensor:
    """Give (L, N) bool: the node is of the level, or a leaf above it."""
    depth = torch.tensor([tree.depth(node) for node in range(tree.num_nodes)])
    leaf = torch.tensor([tree.is_leaf(node) for node in range(tree.num_nodes)])
    level = torch.arange(1, tree.num_levels + 1)[:, None]
    return (depth == level) | (leaf & (depth < level))
