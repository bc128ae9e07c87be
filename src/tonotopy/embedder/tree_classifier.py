"""What a classifier over a label tree says of embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.geometry import CentroidHead, Head, unit_vectors
from tonotopy.labels import (
    LabelPath,
    LabelTree,
    decode_paths,
    node_probabilities,
    path_probabilities,
    stopping_depth,
)

SCALES = tuple(2.0 ** (step / 2) for step in range(17))
"""Scales of the cosine that a fit chooses from, 1 to 256."""


@dataclass(frozen=True)
class PathPrediction:
    """The likeliest path of a clip through the label tree, and how far it is sure.

    Args:
        path: From coarse to fine, down to a leaf.
        probabilities: Of each node on the path; they never rise.
        stop: The part of the path whose last node is still likely enough; may be empty.
    """

    path: LabelPath
    probabilities: tuple[float, ...]
    stop: LabelPath


@dataclass(frozen=True)
class TreeClassifier:
    """A head and the label tree that its columns stand for.

    Args:
        head: Scores of the leaves or of the nodes.
        tree: The tree.
    """

    head: Head
    tree: LabelTree

    @torch.no_grad()
    def node_probabilities(self, embeddings: Tensor) -> Tensor:
        """Give (B, N) coherent probabilities of the nodes for embeddings (B, D)."""
        scores = self.head(embeddings)
        return node_probabilities(scores.float(), self.tree, self.head.reading)

    @torch.no_grad()
    def leaf_probabilities(self, embeddings: Tensor) -> Tensor:
        """Give (B, C) probabilities of the leaves, in the order of `tree.leaves`."""
        if self.head.reading == "leaves":
            probabilities: Tensor = self.head(embeddings).float().softmax(dim=-1)
            return probabilities
        return self.node_probabilities(embeddings)[:, list(self.tree.leaves)]

    def paths(self, embeddings: Tensor) -> Tensor:
        """Give (B, L) codes of the likeliest paths, decoded from the top."""
        return decode_paths(self.node_probabilities(embeddings), self.tree)

    def predict(self, embeddings: Tensor, threshold: float = 0.5) -> list[PathPrediction]:
        """Give the likeliest path of each clip, and where it stops being sure.

        Args:
            embeddings: (B, D) floats.
            threshold: Least probability of the node where a clip stops, in (0, 1]. Default 0.5.
        """
        probabilities = self.node_probabilities(embeddings)
        codes = decode_paths(probabilities, self.tree)
        depths = stopping_depth(probabilities, codes, threshold).tolist()
        on_path = path_probabilities(probabilities, codes).tolist()
        return [
            PathPrediction(path, tuple(values[: len(path)]), path[:depth])
            for path, values, depth in zip(self.tree.decode(codes), on_path, depths, strict=True)
        ]


def fit_centroids(
    embeddings: Tensor,
    paths: Sequence[LabelPath],
    tree: LabelTree,
    held_out: tuple[Tensor, Sequence[LabelPath]] | None = None,
) -> CentroidHead:
    """Make a classifier of the centroids of all nodes.

    A clip belongs to every node on its path as far as it is known. The scale of the cosines is the
    one that makes the deepest known nodes of the held-out clips likeliest.

    Args:
        embeddings: (M, D) of the training clips.
        paths: M label paths of the tree, () for none.
        tree: The tree.
        held_out: Embeddings and paths of other clips. Default: the training clips, which look
            nearer to their centroids than others will.

    Raises:
        UsageError: No clip has a label.
    """
    codes = tree.encode(paths)
    if not (codes >= 0).any():
        raise UsageError("centroids need labelled clips: none of the training clips has a label")
    head = CentroidHead(embeddings.shape[1], tree.num_nodes)
    head.set_centroids(embeddings, codes)
    judged, truth = (embeddings, paths) if held_out is None else held_out
    _fit_scale(head, judged, tree.encode(truth), tree)
    return head


def _fit_scale(head: CentroidHead, embeddings: Tensor, codes: Tensor, tree: LabelTree) -> None:
    deepest = codes.amax(dim=1)  # a node's number is above its ancestors'
    known = deepest >= 0
    if not known.any():
        return
    losses = []
    for scale in SCALES:
        head.scale.fill_(scale)
        probabilities = node_probabilities(head(embeddings[known]), tree, head.reading)
        true = probabilities.gather(1, deepest[known, None])
        losses.append(-true.clamp_min(1e-12).log().mean().item())
    head.scale.fill_(SCALES[losses.index(min(losses))])


def add_classes(
    classifier: TreeClassifier, embeddings: Tensor, paths: Sequence[LabelPath]
) -> TreeClassifier:
    """Add classes to a centroid classifier from a few clips of each, without training.

    The centroids of all old nodes stay as they are, those above the new classes too.

    Args:
        classifier: The classifier by centroids.
        embeddings: (M, D) of clips of the new classes.
        paths: Their M label paths; they may branch off anywhere.

    Returns:
        A classifier over a larger tree. The nodes of a larger tree have other numbers; what was
        stored under the old ones keeps the old tree.

    Raises:
        UsageError: The classifier is trained, not fitted.
    """
    head, tree = classifier.head, classifier.tree
    if not isinstance(head, CentroidHead):
        raise UsageError("classes are added to a classifier by centroids, not to a trained one")
    old_paths = [tree.path(node) for node in range(tree.num_nodes)]
    grown = LabelTree.from_paths([*old_paths, *paths])
    larger = CentroidHead(head.embedding_dim, grown.num_nodes)
    larger.set_centroids(embeddings, grown.encode(paths))
    old = torch.tensor([grown.node(path) for path in old_paths], dtype=torch.long)
    larger.centroids[old] = unit_vectors(head.centroids.cpu())
    larger.scale.copy_(head.scale)
    return TreeClassifier(larger, grown)
