"""What the metrics over a tree take: embeddings, codes of a tree, and the tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.labels import NO_LEVEL, UNKNOWN, LabelTree
from tonotopy.metrics._validation import labelled_rows, to_units

Similarity = Literal["cosine", "dot"]

TreeRows = tuple[Tensor, Tensor]
"""(N, D) embeddings and their (N, L) codes."""


@dataclass(frozen=True)
class TreeClips:
    """Clips of which something is known.

    Args:
        vectors: (N, D) float64 whose dot products are compared.
        codes: (N, L) codes; the first column is a node.
        tree: The tree.
    """

    vectors: Tensor
    codes: Tensor
    tree: LabelTree

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def complete(self) -> Tensor:
        """(N,) bool: the label leads to a leaf."""
        return (self.codes != UNKNOWN).all(dim=1)

    @property
    def node(self) -> Tensor:
        """(N,) deepest known node."""
        # Ids grow along a path.
        return self.codes.amax(dim=1) if len(self) else torch.empty(0, dtype=torch.long)


def check_choice(name: str, value: str, kind: object) -> None:
    """Raise a UsageError unless `value` is one of the texts of the Literal `kind`."""
    if value not in get_args(kind):
        choices = ", ".join(map(repr, get_args(kind)))
        raise UsageError(f"{name} must be one of {choices}, got {value!r}")


def check_codes(codes: Tensor, tree: LabelTree, name: str = "codes") -> Tensor:
    """Give (N, L) codes of a tree as long integers on the CPU.

    Raises:
        UsageError: They are no codes of this tree.
    """
    if codes.ndim != 2 or codes.shape[1] != tree.num_levels or codes.is_floating_point():
        raise UsageError(
            f"expected {name} (N, {tree.num_levels}) of LabelTree.encode, got "
            f"{tuple(codes.shape)} {codes.dtype}"
        )
    codes = codes.detach().cpu().long()
    if codes.numel() and not NO_LEVEL <= int(codes.min()) <= int(codes.max()) < tree.num_nodes:
        raise UsageError(
            f"{name} must lie in [{NO_LEVEL}, {tree.num_nodes - 1}], got {int(codes.min())} to "
            f"{int(codes.max())}: make them with the encode of this tree"
        )
    return codes


def paired_codes(predicted: Tensor, codes: Tensor, tree: LabelTree) -> tuple[Tensor, Tensor]:
    """Check the codes of predicted and of true paths of the same clips."""
    predicted, codes = check_codes(predicted, tree, "predicted"), check_codes(codes, tree)
    if predicted.shape != codes.shape:
        raise UsageError(
            f"expected one predicted path a clip, got {len(predicted)} for {len(codes)} clips"
        )
    return predicted, codes


def level_column(codes: Tensor, level: int) -> Tensor:
    """Give the (N,) nodes of the clips at a level, 1 the coarsest; negative = not known there."""
    return codes[:, level - 1].clamp_min(UNKNOWN)


def other_clips(rows: TreeRows, clips: TreeClips) -> TreeClips:
    """Check clips that the given ones are compared with.

    Raises:
        UsageError: They do not fit each other or the tree.
        DataError: A labelled embedding is not finite.
    """
    others = tree_clips(*rows, clips.tree)
    if others.vectors.shape[1] != clips.vectors.shape[1]:
        raise UsageError(
            f"the clips have {clips.vectors.shape[1]} dimensions, those of the gallery or for "
            f"validation have {others.vectors.shape[1]}: all must come from the same model"
        )
    return others


def tree_clips(
    embeddings: Tensor, codes: Tensor, tree: LabelTree, similarity: Similarity = "cosine"
) -> TreeClips:
    """Check the clips and drop those of which nothing is known.

    Args:
        embeddings: (N, D) floats, not necessarily normalised.
        codes: (N, L) codes of `tree.encode`.
        tree: The tree.
        similarity: "cosine" compares unit vectors, "dot" the embeddings as they are.

    Raises:
        UsageError: Shapes or types do not fit.
        DataError: A labelled embedding is not finite.
    """
    check_choice("similarity", similarity, Similarity)
    codes = check_codes(codes, tree)
    labels = codes[:, 0] if tree.num_levels else torch.full((len(codes),), UNKNOWN)
    embeddings, _ = labelled_rows(embeddings, labels)
    codes = codes[labels >= 0]
    if similarity == "cosine":
        return TreeClips(to_units(embeddings), codes, tree)
    vectors = embeddings.double()
    # One factor for all keeps the order, and keeps the products within float32.
    longest = torch.linalg.vector_norm(vectors, dim=1).max() if len(vectors) else vectors.sum()
    return TreeClips(vectors / longest.where(longest > 0, 1.0), codes, tree)
