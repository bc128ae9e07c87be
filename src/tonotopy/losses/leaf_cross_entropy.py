"""Cross-entropy over the leaves of a label tree."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tonotopy.geometry import LinearHead
from tonotopy.labels import LabelTree
from tonotopy.losses._base import ClassifierLoss, Terms
from tonotopy.losses._tree_index import TreeIndex, weighted_mean
from tonotopy.losses.node_weights import CountWeighted, as_weights, leaf_class_weights


def leaf_cross_entropy(
    logits: Tensor, leaves: Tensor, class_weights: Tensor | None = None
) -> Tensor:
    """Give sum w_y (-log softmax(logits)_y) / sum w_y over clips of known leaf y.

    Args:
        logits: (B, C) floats.
        leaves: (B,) leaf indices, -1 = ignored.
        class_weights: (C,) weights w. Default: all 1.

    Returns:
        Scalar; 0, attached to the graph, where no leaf is known.
    """
    y = leaves.clamp_min(0)
    nll = -logits.log_softmax(dim=1).gather(1, y[:, None]).squeeze(1)
    weights = (leaves >= 0).to(logits.dtype)
    if class_weights is not None:
        weights = weights * class_weights.to(logits.dtype)[y]
    return weighted_mean(nll, weights)


class LeafCrossEntropyLoss(ClassifierLoss, CountWeighted):
    """Cross-entropy of a linear classifier over the leaves of a label tree.

    The tree itself does not matter to it: it is the flat classifier to compare against. Clips with
    partial labels are ignored; `HierarchicalCrossEntropyLoss` uses them. Labels may also be (B,)
    leaf indices.

    Part of the hybrids of Tian, Lattner, McFee and Saitis, "Hybrid Losses for Hierarchical
    Embedding Learning", ICASSP 2025.

    Args:
        tree: The tree; its C leaves are the classes, in the order of `tree.leaves`.
        embedding_dim: Length D of the embeddings.
        class_weights: C weights w, 0 or more, such as `leaf_class_weights` gives; the loss is then
            the weighted mean sum w l / sum w, of kind `"batch"`. Default: all 1.

    Raises:
        UsageError: The weights do not fit the tree.

    Examples:
        >>> import torch
        >>> tree = LabelTree([("a", "x"), ("a", "y"), ("b",)])
        >>> loss = LeafCrossEntropyLoss(tree, embedding_dim=8)
        >>> loss(torch.randn(3, 8), tree.encode([("a", "x"), ("b",), ("a",)])).shape
        torch.Size([])
    """

    class_weights: Tensor | None

    def __init__(
        self,
        tree: LabelTree,
        embedding_dim: int,
        class_weights: Sequence[float] | Tensor | None = None,
    ) -> None:
        super().__init__(LinearHead(embedding_dim, tree.num_leaves))
        self.index = TreeIndex(tree)
        self._tree = tree
        weights = as_weights("class_weights", class_weights, tree.num_leaves)
        self.register_buffer("class_weights", weights, persistent=False)
        self.kind = "sample" if weights is None else "batch"

    def set_counts(self, counts: Sequence[int]) -> None:
        """Set the class weights from counts of all nodes; see `leaf_class_weights`."""
        weights = torch.tensor(leaf_class_weights(self._tree, counts))
        self.class_weights = weights.to(self.index.height.device)
        self.kind = "batch"

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss; no parts."""
        leaves = self.index.leaf_index(self.index.codes(labels))
        return leaf_cross_entropy(self.head(embeddings), leaves, self.class_weights), {}
