"""Labelled clips of a ragged tree, some labels partial or missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from tonotopy.labels import LabelPath, LabelTree

LEAVES = [
    ("a", "x", "1"),
    ("a", "x", "2"),
    ("a", "y"),
    ("b", "z", "3"),
    ("b", "z", "4"),
    ("b", "w", "5"),
    ("c",),
]


class TreeCase(NamedTuple):
    """Clips near the centres of their leaves."""

    embeddings: Tensor
    codes: Tensor
    tree: LabelTree
    paths: list[LabelPath]


@pytest.fixture
def tree_case() -> Callable[..., TreeCase]:
    """A function of the number of clips, the seed, and the share of labels that stop early."""

    def make(clips: int, seed: int, partial: float = 0.3) -> TreeCase:
        generator = torch.Generator().manual_seed(seed)
        leaves = torch.randint(len(LEAVES), (clips,), generator=generator)
        centres = torch.randn(len(LEAVES), 5, generator=torch.Generator().manual_seed(0))
        embeddings = centres[leaves] + 0.7 * torch.randn(clips, 5, generator=generator)
        stops = torch.rand(clips, 2, generator=generator).tolist()
        paths = [
            LEAVES[leaf][: int(depth * (len(LEAVES[leaf]) + 1))] if cut < partial else LEAVES[leaf]
            for leaf, (cut, depth) in zip(leaves.tolist(), stops, strict=True)
        ]
        tree = LabelTree(LEAVES)
        return TreeCase(embeddings, tree.encode(paths), tree, paths)

    return make
