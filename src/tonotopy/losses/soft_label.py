"""Cross-entropy with targets spread over the leaves that are near in the label tree."""

from __future__ import annotations

from torch import Tensor

from tonotopy.geometry import LinearHead
from tonotopy.labels import LabelTree
from tonotopy.losses._base import ClassifierLoss, Terms, check_not_negative
from tonotopy.losses._targets import mean_over_labelled
from tonotopy.losses._tree_index import TreeIndex


def soft_label_loss(logits: Tensor, distance: Tensor, known: Tensor, *, beta: float) -> Tensor:
    """Give the mean over clips of -sum_c q_c log softmax(logits)_c, q_c = exp(-beta d_c) / Z.

    Args:
        logits: (B, C) floats of leaves.
        distance: (B, C) floats d: from the clip's leaf to each leaf.
        known: (B,) bool: the clip's leaf is known.
        beta: Rate by which the target falls with distance.

    Returns:
        Scalar; 0, attached to the graph, where no leaf is known.
    """
    targets = (-beta * distance).softmax(dim=1)
    entropy = -(targets * logits.log_softmax(dim=1)).sum(dim=1)
    return mean_over_labelled(entropy, known[:, None])


class SoftLabelLoss(ClassifierLoss):
    """Cross-entropy over leaves that expects some probability on the relatives of the right leaf.

    -sum_c q_c log p_c, q_c proportional to exp(-beta d(c, y)), where d(c, y) in [0, 1] is the
    height of the lowest common ancestor of leaf c and the right leaf y over the height of the
    tree. Large beta gives plain cross-entropy. The loss cannot reach 0: its least value is the
    entropy of q. Clips with partial labels are ignored.

    Bertinetto, Mueller, Tertikas, Samangooei and Lord, "Making Better Mistakes: Leveraging Class
    Hierarchies with Deep Networks", CVPR 2020.

    Args:
        tree: The tree; its leaves are the classes.
        embedding_dim: Length D of the embeddings.
        beta: Rate by which the target falls with distance, 0 or more. Default 10; published runs
            took 4 to 30.

    Raises:
        UsageError: `beta` is negative.

    Examples:
        >>> import torch
        >>> tree = LabelTree([("a", "x"), ("a", "y"), ("b",)])
        >>> loss = SoftLabelLoss(tree, embedding_dim=8)
        >>> loss(torch.randn(3, 8), tree.encode([("a", "x"), ("b",), ("a",)])).shape
        torch.Size([])
    """

    def __init__(self, tree: LabelTree, embedding_dim: int, beta: float = 10.0) -> None:
        check_not_negative("beta", beta)
        super().__init__(LinearHead(embedding_dim, tree.num_leaves))
        self.index = TreeIndex(tree)
        self.beta = beta

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss; no parts."""
        codes = self.index.codes(labels)
        known = self.index.leaf_index(codes) >= 0
        distance = self.index.lca_height(codes).to(embeddings.dtype) / self.index.num_levels
        return soft_label_loss(self.head(embeddings), distance, known, beta=self.beta), {}

    def extra_repr(self) -> str:
        """Say how sharp the targets are."""
        return f"beta={self.beta}"
