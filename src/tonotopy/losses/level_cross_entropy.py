"""Cross-entropy on every level of a label tree, with a classifier for each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.geometry import LevelHead
from tonotopy.labels import LabelTree
from tonotopy.losses._base import ClassifierLoss, Terms, check_not_negative
from tonotopy.losses._tree_index import TreeIndex, weighted_mean
from tonotopy.losses.node_weights import CountWeighted, as_weights, node_class_weights


def level_log_softmax(logits: Tensor, order: Tensor, sizes: Sequence[int]) -> Tensor:
    """Give the log-probability of every node among those of its level.

    Args:
        logits: (B, N) floats.
        order: (N,) nodes, level by level.
        sizes: Nodes of each level, L numbers.

    Returns:
        (B, N), in the order of `logits`.
    """
    levels = torch.split(logits[:, order], list(sizes), dim=1)
    log_p = torch.cat([level.log_softmax(dim=1) for level in levels], dim=1)
    return log_p[:, order.argsort()]


def level_cross_entropies(
    log_p: Tensor, codes: Tensor, class_weights: Tensor | None = None
) -> Tensor:
    """Give for every level sum w_v (-log p_v) / sum w_v over clips whose node v is known there.

    Args:
        log_p: (B, N) log-probabilities of nodes.
        codes: (B, L) codes.
        class_weights: (N,) weights w. Default: all 1.

    Returns:
        (L,) values; 0 where no clip has a known node.
    """
    nodes = codes.clamp_min(0)
    weights = (codes >= 0).to(log_p.dtype)
    if class_weights is not None:
        weights = weights * class_weights.to(log_p.dtype)[nodes]
    return weighted_mean(-log_p.gather(1, nodes), weights)


class LevelCrossEntropyLoss(ClassifierLoss, CountWeighted):
    """Sum over the levels of a label tree of the cross-entropy over the nodes of that level.

    Each level is the mean over the clips that have a known node there, so partial labels count as
    deep as they are known. The classifiers of the levels are independent, and nothing makes them
    agree. A level with one node adds nothing. Two levels that a chain makes equal count twice; give
    one of them weight 0.

    The per-level term of Tian, Lattner, McFee and Saitis, "Hybrid Losses for Hierarchical Embedding
    Learning", ICASSP 2025.

    Args:
        tree: The tree.
        embedding_dim: Length D of the embeddings.
        level_weights: L weights, 0 or more, from coarse to fine. Default: all 1, as published.
        class_weights: N weights w, 0 or more, one a node, such as `node_class_weights` gives; each
            level is then the weighted mean sum w l / sum w. Default: all 1.

    Raises:
        UsageError: The weights do not fit the tree.

    Attributes:
        classifier: One linear layer with a logit for each node; column v belongs to node v, and a
            softmax over it to the nodes of one level.

    Examples:
        >>> tree = LabelTree([("a", "x"), ("a", "y"), ("b",)])
        >>> loss = LevelCrossEntropyLoss(tree, embedding_dim=8)
        >>> value = loss(torch.randn(3, 8), tree.encode([("a", "x"), ("b",), ("a",)]))
        >>> sorted(loss.terms())
        ['level1', 'level2']
    """

    kind = "batch"
    class_weights: Tensor | None
    _order: Tensor

    def __init__(
        self,
        tree: LabelTree,
        embedding_dim: int,
        level_weights: Sequence[float] | None = None,
        class_weights: Sequence[float] | Tensor | None = None,
    ) -> None:
        super().__init__(LevelHead(embedding_dim, tree.num_nodes))
        self.index = TreeIndex(tree)
        self._tree = tree
        self.level_weights = _level_weights(level_weights, tree.num_levels)
        weights = as_weights("class_weights", class_weights, tree.num_nodes)
        self.register_buffer("class_weights", weights, persistent=False)
        depth = [tree.depth(node) for node in range(tree.num_nodes)]
        order = torch.tensor(depth).argsort(stable=True)
        self.register_buffer("_order", order, persistent=False)
        self._sizes = [depth.count(level + 1) for level in range(tree.num_levels)]

    def set_counts(self, counts: Sequence[int]) -> None:
        """Set the class weights from counts of all nodes; see `node_class_weights`."""
        weights = torch.tensor(node_class_weights(self._tree, counts))
        self.class_weights = weights.to(self.index.height.device)

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss and, unweighted, its levels from coarse to fine, `level1` and so on."""
        codes = self.index.codes(labels)
        log_p = level_log_softmax(self.head(embeddings), self._order, self._sizes)
        levels = level_cross_entropies(log_p, codes, self.class_weights).unbind()
        terms = {f"level{depth}": value for depth, value in enumerate(levels, start=1)}
        weighted = [w * value for w, value in zip(self.level_weights, levels, strict=True)]
        return torch.stack(weighted).sum(), terms

    def extra_repr(self) -> str:
        """Say how much each level counts."""
        return f"level_weights={self.level_weights}"


def _level_weights(weights: Sequence[float] | None, num_levels: int) -> tuple[float, ...]:
    if weights is None:
        return (1.0,) * num_levels
    if len(weights) != num_levels:
        raise UsageError(
            f"level_weights must be {num_levels} numbers, one for each level of the tree, got "
            f"{len(weights)}"
        )
    check_not_negative("level_weights", *weights)
    return tuple(float(weight) for weight in weights)
