"""A weighted vote of the nearest neighbours at every level, its k chosen on validation clips."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.labels import LabelTree
from tonotopy.metrics._ranking import SAME
from tonotopy.metrics.tree._clips import (
    TreeClips,
    TreeRows,
    check_choice,
    level_column,
    other_clips,
    tree_clips,
)
from tonotopy.metrics.tree._rankings import similarities

Coarse = Literal["vote", "parent"]

MAX_K = 40
"""The most voters that are tried: the protocol of Nolasco and Stowell."""

BLOCK = 2**22
"""Similarities, or votes, that are held at once."""


class LevelKnn(NamedTuple):
    """The vote at one level.

    Attributes:
        k: Voters.
        accuracy: Share of the clips whose node at the level is found; NaN without clips.
    """

    k: int
    accuracy: float


@torch.no_grad()
def knn_by_level(
    embeddings: Tensor,
    codes: Tensor,
    tree: LabelTree,
    *,
    gallery: TreeRows | None = None,
    validation: TreeRows | None = None,
    k: int = 5,
    coarse: Coarse = "vote",
) -> list[LevelKnn]:
    """Give the accuracy of classifying clips by their nearest neighbours, level by level.

    Neighbours are nearest by cosine and vote with weight 1 / (1 - cos); where some lie at distance
    0, only these vote. With validation clips, k is the first of 1 to 40 with the highest accuracy
    on them, chosen for each level. It is scikit-learn's `KNeighborsClassifier(weights="distance",
    metric="cosine")`, but for ties: neighbours that tie for the last places share these votes, and
    of nodes with equal votes each counts as drawn by chance.

    Nolasco and Stowell, "Rank-Based Loss for Learning Hierarchical Representations", ICASSP 2022.

    Args:
        embeddings: (N, D) floats, not necessarily normalised.
        codes: (N, L) codes of `tree.encode`, partial ones allowed.
        tree: The tree.
        gallery: Embeddings and codes of the neighbours, for instance of the training clips; None
            looks among the other clips.
        validation: Embeddings and codes of the clips that choose k; they are looked up in the
            gallery, without one among themselves.
        k: Voters without validation clips. Default 5.
        coarse: "vote" lets the clips whose node at the level is known vote for their nodes; with
            "parent" those with a complete label vote for their leaves, and the winner's ancestor is
            taken, as published.

    Returns:
        Voters and accuracy of each level, coarse to fine. k is at most the number of neighbours.

    Raises:
        UsageError: Shapes do not fit, or an option is out of range.
        DataError: A labelled embedding is not finite.
    """
    check_choice("coarse", coarse, Coarse)
    if k < 1:
        raise UsageError(f"k must be 1 or more, got {k}")
    clips = tree_clips(embeddings, codes, tree)
    stored = None if gallery is None else other_clips(gallery, clips)
    choosing = None if validation is None else other_clips(validation, clips)
    return knn_of(clips, torch.arange(len(clips)), stored, choosing, k=k, coarse=coarse)


def knn_of(
    clips: TreeClips,
    queries: Tensor,
    gallery: TreeClips | None,
    validation: TreeClips | None,
    *,
    k: int = 5,
    coarse: Coarse = "vote",
) -> list[LevelKnn]:
    """Give the votes of checked clips; `queries` are the clips that are classified."""
    found = []
    for level in range(1, clips.tree.num_levels + 1):
        asked = _ask(clips, queries, gallery, level, coarse)
        chosen = k
        if validation is not None:
            everyone = torch.arange(len(validation))
            trial = _ask(validation, everyone, gallery, level, coarse)
            tried = trial.accuracy(range(1, min(MAX_K, trial.candidates) + 1))
            if len(tried):
                chosen = 1 + int((tried >= tried.max() - SAME).long().argmax())
        chosen = min(chosen, asked.candidates)
        right = asked.accuracy(range(chosen, chosen + 1)) if chosen else torch.tensor([])
        found.append(LevelKnn(chosen, right.item() if len(right) else math.nan))
    return found


@dataclass(frozen=True)
class Election:
    """Queries, and the voters among whom they look for their nearest.

    Args:
        queries: (Q, D) vectors.
        truth: (Q,) true nodes at the level.
        own: (Q,) position of the query among the voters; -1 = it is none.
        voters: (M, D) vectors.
        party: (M,) what they vote for, 0 to P - 1.
        names: (P,) node at the level of what is voted for; negative = there is none.
    """

    queries: Tensor
    truth: Tensor
    own: Tensor
    voters: Tensor
    party: Tensor
    names: Tensor

    @property
    def candidates(self) -> int:
        """Voters that every query has."""
        alone = bool((self.own >= 0).any())
        return max(len(self.voters) - alone, 0)

    def accuracy(self, ks: range) -> Tensor:
        """Give the accuracy with each number of voters; empty where nothing can be asked."""
        if not len(self.queries) or not len(ks):
            return torch.empty(0, dtype=torch.float64)
        total = torch.zeros(len(ks), dtype=torch.float64)
        size = max(1, BLOCK // max(len(self.voters), 1))
        for rows in torch.split(torch.arange(len(self.queries)), size):
            total += self._credit(rows, ks).sum(dim=1)
        return total / len(self.queries)

    def _credit(self, rows: Tensor, ks: range) -> Tensor:
        """Give (ks, rows) the chance that the winner is true."""
        scores = similarities(self.queries[rows], self.voters)
        own = self.own[rows]
        scores[(own >= 0).nonzero()[:, 0], own[own >= 0]] = -torch.inf
        nearest = Nearest.of(scores, ks[-1])
        true = self.names == self.truth[rows, None]
        credit = torch.zeros(len(ks), len(rows), dtype=torch.float64)
        for place, k in enumerate(ks):
            winners = nearest.winners(self.party, len(self.names), k)
            credit[place] = (winners & true).sum(dim=1) / winners.sum(dim=1).double()
        return credit


@dataclass(frozen=True)
class Nearest:
    """The nearest voters of each query as a list of (row, column), ties of the last included.

    Args:
        queries: Number of queries.
        row: (E,) query.
        column: (E,) voter.
        weight: (E,) float64 weight of the vote.
        above: (E,) voters of the query that are certainly nearer.
        tied: (E,) voters of the query that are equally near.
    """

    queries: int
    row: Tensor
    column: Tensor
    weight: Tensor
    above: Tensor
    tied: Tensor

    @classmethod
    def of(cls, scores: Tensor, k: int) -> Nearest:
        """Find the k nearest by (Q, M) scores, -inf = no voter."""
        top = scores.topk(k, dim=1).values
        row, column = (scores >= top[:, -1:]).nonzero(as_tuple=True)
        score = scores[row, column]
        order = score.argsort(descending=True)
        order = order[row[order].argsort(stable=True)]
        row, column, score = row[order], column[order], score[order]
        opens = torch.ones_like(row, dtype=torch.bool)
        opens[1:] = (row[1:] != row[:-1]) | (score[1:] != score[:-1])
        start, run = opens.nonzero()[:, 0], opens.cumsum(0) - 1
        sizes = torch.bincount(row, minlength=len(scores))
        above = start[run] - (sizes.cumsum(0) - sizes)[row]
        distance = (1.0 - score.double()).clamp_min(0.0)
        exact = top[row, 0] >= 1.0
        weight = torch.where(exact, (distance == 0).double(), 1.0 / distance)
        return cls(len(scores), row, column, weight, above, torch.bincount(run)[run])

    def winners(self, party: Tensor, parties: int, k: int) -> Tensor:
        """Give (Q, P) bool: the parties with most votes of the k nearest."""
        share = ((k - self.above).double() / self.tied).clamp(0.0, 1.0)
        votes = torch.zeros(self.queries, parties, dtype=torch.float64)
        cast = torch.where(share > 0, share * self.weight, 0.0)
        votes.index_put_((self.row, party[self.column]), cast, accumulate=True)
        most = votes.amax(dim=1, keepdim=True)
        return votes >= most * (1.0 - SAME)


def _ask(
    clips: TreeClips, queries: Tensor, gallery: TreeClips | None, level: int, coarse: Coarse
) -> Election:
    truth = level_column(clips.codes, level)[queries]
    queries, truth = queries[truth >= 0], truth[truth >= 0]
    stored = clips if gallery is None else gallery
    if coarse == "parent":
        voting, choice = stored.complete, stored.node
    else:
        choice = level_column(stored.codes, level)
        voting = choice >= 0
    names, party = torch.unique(choice[voting], return_inverse=True)
    if coarse == "parent":
        ancestor = torch.full((clips.tree.num_nodes,), -1)
        ancestor[choice] = level_column(stored.codes, level)
        names = ancestor[names]
    own = torch.full((len(queries),), -1)
    if gallery is None:
        position = voting.cumsum(0) - 1
        own = position[queries].where(voting[queries], -1)
    return Election(clips.vectors[queries], truth, own, stored.vectors[voting], party, names)
