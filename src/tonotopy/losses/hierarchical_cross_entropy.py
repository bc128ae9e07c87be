"""Hierarchical cross-entropy: each step down the label tree has a weight of its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tonotopy.geometry import LinearHead
from tonotopy.labels import LabelTree
from tonotopy.losses._base import ClassifierLoss, Terms, check_not_negative
from tonotopy.losses._targets import mean_over_labelled
from tonotopy.losses._tree_index import TreeIndex


def hierarchical_cross_entropy(
    logits: Tensor, codes: Tensor, under: Tensor, *, alpha: float
) -> Tensor:
    """Give the mean over clips of -sum_d exp(-alpha d) log( p(v_d) / p(v_(d-1)) ).

    v_1, v_2, ... are the nodes that are known of the clip, v_0 the root, and p(v) the summed
    probability of the leaves below v.

    Args:
        logits: (B, C) floats of leaves.
        codes: (B, L) codes.
        under: (B, L, C) bool: the leaf is below the code's node; all are where it is negative.
        alpha: Rate by which the weight falls with depth.

    Returns:
        Scalar; 0, attached to the graph, where nothing is known.
    """
    known = codes >= 0
    # Sums of probabilities as log-sum-exp of logits: they cannot underflow.
    mass = logits[:, None, :].masked_fill(~under, -torch.inf).logsumexp(dim=2)
    above = torch.cat([logits.logsumexp(dim=1, keepdim=True), mass[:, :-1]], dim=1)
    depth = torch.arange(1, codes.shape[1] + 1, dtype=logits.dtype, device=logits.device)
    steps = (above - mass) * known
    return mean_over_labelled((torch.exp(-alpha * depth) * steps).sum(dim=1), known)


class HierarchicalCrossEntropyLoss(ClassifierLoss):
    """Cross-entropy over leaves, split into the steps down the label tree, the coarse ones dearer.

    -sum_d lambda_d log( p(v_d) / p(v_(d-1)) ), lambda_d = exp(-alpha d), where v_d is the clip's
    node at depth d and p(v) the summed probability of the leaves below it. With alpha = 0 it is
    plain cross-entropy over leaves. A partial label adds the steps that are known: for alpha = 0
    minus the log of the summed probability below its node. A node with one child adds nothing.

    Bertinetto, Mueller, Tertikas, Samangooei and Lord, "Making Better Mistakes: Leveraging Class
    Hierarchies with Deep Networks", CVPR 2020.

    Args:
        tree: The tree; its leaves are the classes.
        embedding_dim: Length D of the embeddings.
        alpha: Rate by which the weight falls with depth, 0 or more. Default 0.5; published runs
            took 0.1 to 0.9.
        normalise: Whether the weights are divided by their sum over all nodes and the root, as in
            the authors' code. It only scales the loss, down to very little in large trees.

    Raises:
        UsageError: `alpha` is negative.

    Examples:
        >>> tree = LabelTree([("a", "x"), ("a", "y"), ("b",)])
        >>> loss = HierarchicalCrossEntropyLoss(tree, embedding_dim=8)
        >>> loss(torch.randn(3, 8), tree.encode([("a", "x"), ("b",), ("a",)])).shape
        torch.Size([])
    """

    def __init__(
        self,
        tree: LabelTree,
        embedding_dim: int,
        alpha: float = 0.5,
        normalise: bool = False,
    ) -> None:
        check_not_negative("alpha", alpha)
        super().__init__(LinearHead(embedding_dim, tree.num_leaves))
        self.index = TreeIndex(tree)
        self.alpha = alpha
        depths = [0, *(tree.depth(node) for node in range(tree.num_nodes))]
        self.divisor = math.fsum(math.exp(-alpha * d) for d in depths) if normalise else 1.0

    @classmethod
    def published(
        cls, tree: LabelTree, embedding_dim: int, alpha: float = 0.5
    ) -> HierarchicalCrossEntropyLoss:
        """Make the loss of the authors' code, for comparison: weights that sum to 1 over the tree.

        Their code adds probabilities and leaves out those that underflow to 0; here none does.
        """
        return cls(tree, embedding_dim, alpha, normalise=True)

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss; no parts."""
        codes = self.index.codes(labels)
        under = self.index.leaves_under(codes)
        loss = hierarchical_cross_entropy(self.head(embeddings), codes, under, alpha=self.alpha)
        return loss / self.divisor, {}

    def sample_count(self, labels: Tensor) -> Tensor:
        """Give how many clips anything is known of."""
        return (self.index.codes(labels)[:, 0] >= 0).sum()

    def extra_repr(self) -> str:
        """Say how fast the weight falls."""
        return f"alpha={self.alpha}, divisor={self.divisor:g}"
