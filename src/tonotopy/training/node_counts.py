"""Class weights that follow how often the nodes of a tree occur in the batches of an epoch."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.labels import LabelTree
from tonotopy.losses import CountWeighted


class NodeCounts:
    """Count nodes over batches of training clips, and let losses weigh by it.

    Args:
        tree: The tree.
        codes: (N, L) codes of the training clips.
    """

    def __init__(self, tree: LabelTree, codes: Tensor) -> None:
        self._num_nodes = tree.num_nodes
        self._codes = codes

    def apply(self, losses: nn.Module, batches: Iterable[list[int]]) -> None:
        """Count the nodes of all clips of all batches and hand them to the losses.

        Args:
            losses: A loss, or a module of losses.
            batches: Rows of the training clips.

        Raises:
            UsageError: None of them takes weights.
        """
        weighted = [part for part in losses.modules() if isinstance(part, CountWeighted)]
        if not weighted:
            raise UsageError(
                "--class_weights needs a loss that takes them: LeafCrossEntropyLoss, "
                "LevelCrossEntropyLoss or NodeBCELoss"
            )
        rows = torch.tensor([row for batch in batches for row in batch], dtype=torch.long)
        nodes = self._codes[rows].flatten()
        counts = nodes[nodes >= 0].bincount(minlength=self._num_nodes).tolist()
        for part in weighted:
            part.set_counts(counts)
