"""Binary cross-entropy over all nodes of a label tree."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tonotopy.geometry import NodeHead
from tonotopy.labels import LabelTree
from tonotopy.losses._base import ClassifierLoss, Terms
from tonotopy.losses._targets import mean_over_labelled
from tonotopy.losses._tree_index import TreeIndex
from tonotopy.losses.node_weights import CountWeighted, as_weights, node_positive_weights


def node_binary_cross_entropy(
    logits: Tensor, targets: Tensor, known: Tensor, positive_weights: Tensor | None = None
) -> Tensor:
    """Give the mean over clips of the mean over their known nodes of the binary cross-entropy.

    For logit x and target t: w t softplus(-x) + (1 - t) softplus(x).

    Args:
        logits: (B, N) floats x.
        targets: (B, N) bool t.
        known: (B, N) bool; nodes that are not known are left out.
        positive_weights: (N,) weights w. Default: all 1.

    Returns:
        Scalar; 0, attached to the graph, where nothing is known.
    """
    positive = F.softplus(-logits)
    if positive_weights is not None:
        positive = positive * positive_weights.to(logits.dtype)
    entropy = positive.where(targets, F.softplus(logits)) * known
    return mean_over_labelled(entropy.sum(dim=1) / known.sum(dim=1).clamp_min(1), known)


class NodeBCELoss(ClassifierLoss, CountWeighted):
    """Tell for every node of a label tree whether a clip belongs there, each on its own.

    Sigmoid cross-entropy with target 1 on the clip's node and all above it; the mean over nodes and
    clips. Below the node where a partial label stops nothing is known and no node counts; all
    others are certain, the siblings on the way down among them.

    The multi-label term of Tian, Lattner, McFee and Saitis, "Hybrid Losses for Hierarchical
    Embedding Learning", ICASSP 2025.

    Args:
        tree: The tree.
        embedding_dim: Length D of the embeddings.
        positive_weights: N weights, 0 or more, one a node, of its positive targets, such as
            `node_positive_weights` gives. Default: all 1.

    Raises:
        UsageError: The weights do not fit the tree.

    Attributes:
        classifier: One linear layer with a logit for each node; column v belongs to node v.

    Examples:
        >>> import torch
        >>> tree = LabelTree([("a", "x"), ("a", "y"), ("b",)])
        >>> loss = NodeBCELoss(tree, embedding_dim=8)
        >>> loss(torch.randn(3, 8), tree.encode([("a", "x"), ("b",), ("a",)])).shape
        torch.Size([])
    """

    positive_weights: Tensor | None

    def __init__(
        self,
        tree: LabelTree,
        embedding_dim: int,
        positive_weights: Sequence[float] | Tensor | None = None,
    ) -> None:
        super().__init__(NodeHead(embedding_dim, tree.num_nodes))
        self.index = TreeIndex(tree)
        self._tree = tree
        weights = as_weights("positive_weights", positive_weights, tree.num_nodes)
        self.register_buffer("positive_weights", weights, persistent=False)

    def set_counts(self, counts: Sequence[int]) -> None:
        """Set the weights of positive targets from counts of all nodes."""
        weights = torch.tensor(node_positive_weights(self._tree, counts))
        self.positive_weights = weights.to(self.index.height.device)

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss; no parts."""
        codes = self.index.codes(labels)
        targets, known = self.index.on_path(codes), ~self.index.unknown(codes)
        logits = self.head(embeddings)
        return node_binary_cross_entropy(logits, targets, known, self.positive_weights), {}

    def sample_count(self, labels: Tensor) -> Tensor:
        """Give how many clips anything is known of."""
        return (self.index.codes(labels)[:, 0] >= 0).sum()
