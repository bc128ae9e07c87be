"""Where clips of classes that were never trained on land in the visible tree."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.labels import LabelPath, LabelTree, display_name
from tonotopy.metrics._validation import check_finite, to_units
from tonotopy.metrics.tree._clips import TreeClips, TreeRows, level_column, other_clips
from tonotopy.metrics.tree._rankings import similarities
from tonotopy.metrics.tree._shape import TreeShape
from tonotopy.metrics.tree.ndcg import tree_ndcg
from tonotopy.metrics.tree.neighbours import Nearest

MOST = 5
"""Places that are named."""


@torch.no_grad()
def unseen_class_scores(
    embeddings: Tensor,
    paths: Sequence[Sequence[str]],
    tree: LabelTree,
    *,
    gallery: TreeRows,
    node_probabilities: Tensor | None = None,
    leaf_probabilities: Tensor | None = None,
    k: int = 5,
) -> dict[str, Any]:
    """Say whether clips of unseen classes land below their lowest visible parent (LVP).

    The LVP of a clip is the deepest node on its path that is in the tree. A clip is right if the
    node that is predicted for it at the depth of its LVP is the LVP: by the head of that level
    (largest of `node_probabilities` at the depth), by the leaf head (ancestor of the leaf with the
    largest of `leaf_probabilities`), by the nearest centroid of the training clips of the nodes at
    that depth, and by the vote of the k nearest training clips (as in `knn_by_level`). Clips whose
    whole family is hidden have no LVP and are left out of these, but not of the NDCG.

    Tian et al., "Hybrid Losses for Hierarchical Embedding Learning", ICASSP 2025; centroid and
    vote work for embeddings without any head.

    Args:
        embeddings: (N, D) floats of the unseen clips, not necessarily normalised.
        paths: Their N label paths, none of them in the tree.
        tree: The visible tree.
        gallery: (M, D) embeddings of training clips and their (M, L) codes in the visible tree.
        node_probabilities: (N, nodes) of the level heads, or None. Any scores that grow with them.
        leaf_probabilities: (N, leaves) of a head over the leaves, or None.
        k: Voters. Default 5.

    Returns:
        `clips`, `classes` (different paths) and `excluded` (clips without LVP); `lvp`, the share of
        right clips by `level_head`, `leaf_head` (None without that head), `centroid` and `knn`;
        `lvp_by_class`, one entry a class in the order of paths with `path`, `parent` (the LVP, ()
        if there is none), `clips`, `landed` (the up to five leaves that were predicted most, and
        how often: by the leaf head, else by going down the level heads, else by the nearest
        centroid) and `accuracy` (as `lvp`); `ndcg` of the unseen clips among themselves. NaN where
        undefined.

    Raises:
        UsageError: Shapes do not fit, or a path is in the tree or empty.
        DataError: An embedding or a probability is not finite.
    """
    labels = [tuple(path) for path in paths]
    _check(embeddings, labels, tree, k)
    _check_scores("node_probabilities", node_probabilities, len(labels), tree.num_nodes)
    _check_scores("leaf_probabilities", leaf_probabilities, len(labels), tree.num_leaves)
    check_finite(embeddings)
    units = to_units(embeddings.detach().cpu())
    unseen = TreeClips(units, torch.empty(len(units), 0, dtype=torch.long), tree)
    stored = other_clips(gallery, unseen)
    parents = [tree.known_part(path) for path in labels]
    nodes = [tree.node(parent) if parent else -1 for parent in parents]
    right = _Parents(units, stored, torch.tensor(nodes, dtype=torch.long))
    credit = {
        "level_head": None if node_probabilities is None else right.by_level(node_probabilities),
        "leaf_head": None if leaf_probabilities is None else right.by_leaf(leaf_probabilities),
        "centroid": right.by_centroid(),
        "knn": right.by_vote(k),
    }
    landed = _landed(units, stored, node_probabilities, leaf_probabilities)
    judged = torch.tensor([bool(parent) for parent in parents], dtype=torch.bool)
    whole = LabelTree([*labels, *map(tree.path, tree.leaves)])
    return {
        "clips": len(labels),
        "classes": len(set(labels)),
        "excluded": int((~judged).sum()),
        "lvp": _means(credit, judged),
        "lvp_by_class": [
            _class_entry(path, labels, parents, landed, credit, tree)
            for path in sorted(set(labels))
        ],
        "ndcg": tree_ndcg(embeddings, whole.encode(labels), whole),
    }


def _check(embeddings: Tensor, paths: list[LabelPath], tree: LabelTree, k: int) -> None:
    if embeddings.ndim != 2 or len(embeddings) != len(paths):
        raise UsageError(
            f"expected embeddings (N, D) of {len(paths)} unseen clips, got "
            f"{tuple(embeddings.shape)}"
        )
    if k < 1:
        raise UsageError(f"k must be 1 or more, got {k}")
    for path in paths:
        if not path or path in tree:
            raise UsageError(
                f"an unseen clip has a path that is not in the tree, got {display_name(path)!r}: "
                "pass the tree without the hidden classes, and only clips of these"
            )


def _check_scores(name: str, scores: Tensor | None, clips: int, width: int) -> None:
    if scores is None:
        return
    if scores.shape != (clips, width):
        raise UsageError(f"expected {name} ({clips}, {width}), got {tuple(scores.shape)}")
    check_finite(scores, name)


class _Parents:
    """The chance that each clip is given its lowest visible parent, by way of prediction.

    Args:
        units: (N, D) unseen clips.
        stored: The training clips.
        parents: (N,) nodes; -1 = the clip has none, and 0 for a chance.
    """

    def __init__(self, units: Tensor, stored: TreeClips, parents: Tensor) -> None:
        self.units, self.stored, self.parents = units, stored, parents
        self.tree = stored.tree
        depth = TreeShape.of(self.tree).depth
        self.depth = depth
        self.levels = depth[self.parents].where(self.parents >= 0, 0) if len(depth) else parents * 0

    def by_level(self, scores: Tensor) -> Tensor:
        """By the largest score among the nodes of the parent's depth."""
        return self._largest(scores.detach().cpu().double())

    def by_leaf(self, scores: Tensor) -> Tensor:
        """By the ancestor of the leaf with the largest score; leaves that tie share."""
        scores = scores.detach().cpu().double()
        best = scores >= scores.amax(dim=1, keepdim=True)
        if not self.tree.num_leaves:
            return torch.zeros(len(self.parents), dtype=torch.float64)
        leaves = self.tree.encode([self.tree.path(leaf) for leaf in self.tree.leaves])
        ancestor = leaves.T[(self.levels - 1).clamp_min(0)]
        hits = (best & (ancestor == self.parents[:, None])).sum(dim=1)
        return (hits / best.sum(dim=1).double()).where(self.parents >= 0, 0.0)

    def by_centroid(self) -> Tensor:
        """By the most similar centroid among the nodes of the parent's depth."""
        return self._largest(_to_centroids(self.units, self.stored).double())

    def by_vote(self, k: int) -> Tensor:
        """By the vote of the k nearest training clips whose node at the parent's depth is known."""
        credit = torch.zeros(len(self.parents), dtype=torch.float64)
        for level in torch.unique(self.levels[self.levels > 0]).tolist():
            party = level_column(self.stored.codes, level)
            voting = party >= 0
            if not voting.any():
                continue
            rows = (self.levels == level).nonzero()[:, 0]
            for part in torch.split(rows, 1024):
                scores = similarities(self.units[part], self.stored.vectors[voting])
                voters = min(k, scores.shape[1])
                nearest = Nearest.of(scores, voters)
                won = nearest.winners(party[voting], self.tree.num_nodes, voters)
                hits = won.gather(1, self.parents[part, None])[:, 0]
                credit[part] = hits / won.sum(dim=1).double()
        return credit

    def _largest(self, scores: Tensor) -> Tensor:
        """Give the share of the parent in the largest score of its level."""
        if not scores.numel():
            return torch.zeros(len(self.parents), dtype=torch.float64)
        there = self.depth == self.levels[:, None]
        scores = scores.masked_fill(~there, -torch.inf)
        best = (scores >= scores.amax(dim=1, keepdim=True)) & scores.isfinite()
        hits = best.gather(1, self.parents.clamp_min(0)[:, None])[:, 0] & (self.parents >= 0)
        return hits / best.sum(dim=1).clamp_min(1).double()


def _to_centroids(units: Tensor, stored: TreeClips) -> Tensor:
    """Give (N, nodes) float32 cosines with the mean unit vectors of nodes; -inf without clips."""
    nodes = stored.tree.num_nodes
    sums = torch.zeros(nodes, units.shape[1], dtype=torch.float64)
    clips = torch.zeros(nodes, dtype=torch.long)
    for column in stored.codes.T:
        known = column >= 0
        sums.index_add_(0, column[known], stored.vectors[known])
        clips += torch.bincount(column[known], minlength=nodes)
    # Means before unit length, so that directions that cancel count as none.
    centroids = to_units(sums / clips.clamp_min(1)[:, None])
    return similarities(units, centroids).masked_fill(clips == 0, -torch.inf)


def _landed(
    units: Tensor, stored: TreeClips, nodes: Tensor | None, leaves: Tensor | None
) -> list[int]:
    """Give the leaf that each clip is taken for; the first of those that tie, -1 for none."""
    tree = stored.tree
    if not tree.num_leaves:
        return [-1] * len(units)
    if leaves is not None:
        return [tree.leaves[index] for index in leaves.argmax(dim=1).tolist()]
    if nodes is not None:
        return [_go_down(row, tree) for row in nodes.tolist()]
    scores = _to_centroids(units, stored)[:, list(tree.leaves)]
    found = scores.argmax(dim=1)
    return [
        tree.leaves[index] if math.isfinite(row[index]) else -1
        for index, row in zip(found.tolist(), scores, strict=True)
    ]


def _go_down(scores: list[float], tree: LabelTree) -> int:
    node = -1
    while below := tree.children(node):
        node = max(below, key=lambda child: scores[child])
    return node


def _means(credit: dict[str, Tensor | None], rows: Tensor) -> dict[str, float | None]:
    return {
        way: None if values is None else values[rows].mean().item()
        for way, values in credit.items()
    }


def _class_entry(
    path: LabelPath,
    paths: list[LabelPath],
    parents: list[LabelPath],
    landed: list[int],
    credit: dict[str, Tensor | None],
    tree: LabelTree,
) -> dict[str, Any]:
    rows = [row for row, other in enumerate(paths) if other == path]
    parent = parents[rows[0]]
    places = Counter(landed[row] for row in rows if landed[row] >= 0)
    ordered = sorted(places.items(), key=lambda place: (-place[1], place[0]))[:MOST]
    judged = torch.tensor(rows if parent else [], dtype=torch.long)
    return {
        "path": list(path),
        "parent": list(parent),
        "clips": len(rows),
        "landed": [[display_name(tree.path(node)), count] for node, count in ordered],
        "accuracy": _means(credit, judged),
    }
