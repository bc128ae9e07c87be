"""How much a batch has to say: its pairs and triplets, level by level."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tonotopy.labels.relations import PairRelations


class RelationCounts(NamedTuple):
    """Pairs and triplets of a batch whose labels have H levels.

    Attributes:
        pairs: (H + 1,) int64, unordered pairs of clips that certainly share just h levels; those of
            one leaf share all H.
        unknown_pairs: () int64, pairs of which partial labels leave that open.
        triplets: (H + 1,) int64, ordered triplets (anchor, positive, negative) that certainly hold,
            by the levels h that anchor and positive share at least.
    """

    pairs: Tensor
    unknown_pairs: Tensor
    triplets: Tensor


def relation_counts(labels: Tensor) -> RelationCounts:
    """Count the pairs of a batch at every level, and its valid triplets.

    A triplet (a, p, n) holds where p shares more levels with a than n can: lo(a, p) > hi(a, n).
    None is listed: an anchor with P_h positives that share h levels at least, and N_h negatives
    that share h at most, has sum over h of P_h (N_0 + ... + N_(h-1)) of them.

    Args:
        labels: Class ids (B,), negative = unknown, or codes (B, L) of `LabelTree.encode`.

    Raises:
        UsageError: The labels have another form.

    Examples:
        >>> counts = relation_counts(torch.tensor([[0, 1], [0, 1], [0, 2], [3, 4]]))
        >>> counts.pairs.tolist(), counts.triplets.tolist()
        ([3, 2, 1], [0, 4, 4])
    """
    relations = PairRelations.from_labels(labels)
    lo, hi = relations.bounds()
    other = ~torch.eye(len(relations), dtype=torch.bool, device=relations.device)
    levels = range(relations.num_levels + 1)
    certain = lo == hi
    pairs = torch.stack([((lo == h) & certain & other).sum() for h in levels]) // 2
    positives = torch.stack([((lo == h) & other).sum(dim=1) for h in levels])
    negatives = torch.stack([((hi == h) & other).sum(dim=1) for h in levels])
    farther = negatives.cumsum(dim=0) - negatives
    return RelationCounts(pairs, (~certain & other).sum() // 2, (positives * farther).sum(dim=1))
