"""How many pairs of clips are out of the order of the tree."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.labels import LabelTree, PairRelations
from tonotopy.metrics.tree._clips import TreeClips, tree_clips
from tonotopy.metrics.tree._rankings import BLOCK, draw_queries, similarities


class MisplacedPairs(NamedTuple):
    """Pairs outside the block of places that the tree gives them.

    Attributes:
        share: 0 to 1; NaN without pairs.
        sampled_clips: Clips that were drawn; None if the pairs of all clips were looked at.
    """

    share: float
    sampled_clips: int | None


@torch.no_grad()
def misplaced_pairs(
    embeddings: Tensor, codes: Tensor, tree: LabelTree, *, max_clips: int = 2000, seed: int = 0
) -> MisplacedPairs:
    """Give the share of pairs that the rank-based loss would move.

    All pairs are put into one order, the most similar first. With n_r the pairs of rank r, rank
    0 = the same leaf and else levels of the tree less the depth of the lowest common ancestor, the
    first n_0 places belong to rank 0, the next n_1 to rank 1, and so on; a pair at a place of
    another rank is misplaced. Pairs that tie have every of their places with the same probability;
    pairs whose rank the labels leave open are left out.

    Nolasco and Stowell, "Rank-Based Loss for Learning Hierarchical Representations", ICASSP 2022.

    Args:
        embeddings: (N, D) floats, not necessarily normalised.
        codes: (N, L) codes of `tree.encode`, partial ones allowed.
        tree: The tree.
        max_clips: Draw this many clips where there are more: all pairs must be ordered at once.
            Default 2,000, two million pairs.
        seed: Of the draw.

    Raises:
        UsageError: Shapes do not fit, or `max_clips` is below 2.
        DataError: A labelled embedding is not finite.
    """
    if max_clips < 2:
        raise UsageError(f"max_clips must be 2 or more, got {max_clips}")
    return misplaced_of(tree_clips(embeddings, codes, tree), max_clips, seed)


def misplaced_of(clips: TreeClips, max_clips: int, seed: int) -> MisplacedPairs:
    """Give the misplaced pairs of checked clips."""
    drawn = draw_queries(clips, max_clips, seed)
    sampled = len(drawn) if len(drawn) < len(clips) else None
    similarity, ranks = _pairs(clips.vectors[drawn], clips.codes[drawn])
    if not len(ranks):
        return MisplacedPairs(math.nan, sampled)
    order = torch.from_numpy(np.argsort(-similarity.numpy()))
    ordered, ranks = similarity[order], ranks[order].long()
    _, group, sizes = torch.unique_consecutive(ordered, return_inverse=True, return_counts=True)
    stops = sizes.cumsum(0)
    ends = torch.bincount(ranks).cumsum(0)
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    # Of the places of the run that a pair shares, those in the block of its rank.
    inside = torch.minimum(stops[group], ends[ranks]) - torch.maximum(
        (stops - sizes)[group], starts[ranks]
    )
    placed = (inside.clamp_min(0).double() / sizes[group]).sum().item()
    return MisplacedPairs(1.0 - placed / len(ranks), sampled)


def _pairs(vectors: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Give the similarities and the ranks of the pairs whose rank is certain."""
    found: list[tuple[Tensor, Tensor]] = [(torch.empty(0), torch.empty(0, dtype=torch.int16))]
    relations = PairRelations.from_labels(codes)
    size = max(1, BLOCK // max(len(codes), 1))
    for start in range(0, len(codes), size):
        rows = slice(start, min(start + size, len(codes)))
        lo, hi = relations.bounds(rows)
        later = torch.arange(len(codes)) > torch.arange(rows.start, rows.stop)[:, None]
        kept = (lo == hi) & later
        ranks = relations.num_levels - lo[kept].short()
        found.append((similarities(vectors[rows], vectors)[kept], ranks))
    return torch.cat([part for part, _ in found]), torch.cat([part for _, part in found])
