"""All numbers about embeddings and a label tree, as one dict."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.labels import LabelTree
from tonotopy.metrics.retrieval import retrieval_scores
from tonotopy.metrics.tree._affinity import PairAffinity
from tonotopy.metrics.tree._clips import (
    TreeClips,
    TreeRows,
    check_codes,
    level_column,
    other_clips,
    paired_codes,
    tree_clips,
)
from tonotopy.metrics.tree._predictions import confusions, level_scores, node_entries
from tonotopy.metrics.tree._rankings import draw_queries, mean_of, rankings
from tonotopy.metrics.tree.cophenetic import correlation_of
from tonotopy.metrics.tree.misplaced import misplaced_of
from tonotopy.metrics.tree.ndcg import ndcg_rows
from tonotopy.metrics.tree.neighbours import knn_of
from tonotopy.metrics.tree.precision import hierarchical_precision_rows, precision_rows
from tonotopy.metrics.tree.ranks import rank_rows
from tonotopy.metrics.tree.severity import hierarchical_scores, mistakes
from tonotopy.metrics.tree.silhouettes import silhouettes_of
from tonotopy.metrics.tree.triplets import share_right, triplet_rows

CUTOFF = 5
"""The k of the precisions."""

ORDERED_CLIPS = 2000
"""Clips whose pairs are put into one order."""


@torch.no_grad()
def evaluate_tree(
    embeddings: Tensor,
    codes: Tensor,
    tree: LabelTree,
    *,
    predicted: Tensor | None = None,
    gallery: TreeRows | None = None,
    validation: TreeRows | None = None,
    max_queries: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure how embeddings, and predictions, of labelled clips follow a label tree.

    Everything is computed on the CPU in float64 by blocks. Partial labels are allowed throughout:
    each number uses what is certain, and a level looks at the clips whose node there is known.

    Args:
        embeddings: (N, D) floats, not necessarily normalised.
        codes: (N, L) codes of `tree.encode`; clips of which nothing is known are left out.
        tree: The tree.
        predicted: (N, L) codes of the predicted paths, which may end early, or None.
        gallery: Embeddings and codes among which the neighbours of `knn` are, for instance of the
            training clips; None looks among the other clips. All else compares the clips with each
            other.
        validation: Embeddings and codes of the clips that choose k, see `knn_by_level`; without
            them k is 5.
        max_queries: Clips that ask, drawn at random where there are more: for retrieval, neighbours
            and triplets. Default 2,000.
        seed: Of the draws.

    Returns:
        Plain Python numbers, NaN where undefined and None where nothing was predicted: `levels`,
        coarse to fine (`level`, `classes`, `clips`, `accuracy`, `macro_f1`, `knn`, `map`,
        `r_precision`, `silhouette`); `silhouette`, the mean over levels; `ndcg`, `mnr`,
        `mnr_floor`, `precision_at_5`, `adaptive_precision_at_5`, `hierarchical_precision_at_5`;
        `hierarchical` (`precision`, `recall`, `f1`); `mistakes` (`count`, `judged`, `severity`,
        `mean_lca_height`); `triplet_accuracy`, `cpcc`, `misplaced_pairs`; `queries`, the clips that
        asked; `pairs`, "exact" or `{"sampled_clips": n}`, the clips in `misplaced_pairs`;
        `nodes`, in their order (`path`, `clips`, `recall`, `precision`, `mistakes`: what the node's
        clips were taken for, up to five); `confusion` of the levels of 2 to 60 nodes (`level`,
        `names`, `counts` with the true nodes as rows, and no column for predictions that end above
        the level); and `unseen`, None, for `unseen_class_scores` to fill.

    Raises:
        UsageError: Shapes do not fit, or an option is out of range.
        DataError: A labelled embedding is not finite.
    """
    if max_queries < 1:
        raise UsageError(f"max_queries must be at least 1, got {max_queries}")
    clips = tree_clips(embeddings, codes, tree)
    queries = draw_queries(clips, max_queries, seed)
    known = check_codes(codes, tree)
    guesses = None if predicted is None else paired_codes(predicted, codes, tree)[0]
    neighbours = knn_of(
        clips,
        queries,
        None if gallery is None else other_clips(gallery, clips),
        None if validation is None else _at_most(other_clips(validation, clips), max_queries, seed),
    )
    silhouettes = silhouettes_of(clips)
    misplaced = misplaced_of(clips, ORDERED_CLIPS, seed)
    sampled = misplaced.sampled_clips
    return {
        "levels": [
            level_scores(known, guesses, tree, level)
            | {"knn": neighbours[level - 1]._asdict()}
            | _retrieval(clips, level, max_queries, seed)
            | {"silhouette": silhouettes.levels[level - 1]}
            for level in range(1, tree.num_levels + 1)
        ],
        "silhouette": silhouettes.mean,
        **_ranking_scores(clips, queries),
        "hierarchical": None
        if guesses is None
        else hierarchical_scores(guesses, known, tree)._asdict(),
        "mistakes": None if guesses is None else asdict(mistakes(guesses, known, tree)),
        "cpcc": correlation_of(clips),
        "misplaced_pairs": misplaced.share,
        "queries": len(queries),
        "pairs": "exact" if sampled is None else {"sampled_clips": sampled},
        "nodes": node_entries(known, guesses, tree),
        "confusion": None if guesses is None else confusions(known, guesses, tree),
        "unseen": None,
    }


def _ranking_scores(clips: TreeClips, queries: Tensor) -> dict[str, float]:
    """Give everything that is read off the order of the other clips, which is found once."""
    relevance = PairAffinity(clips, "max")
    rows: dict[str, list[Tensor]] = {name: [] for name in RANKED}
    triplets = []
    for ranking in rankings(clips, queries):
        found = (
            ndcg_rows(ranking, relevance),
            *rank_rows(ranking, clips),
            *precision_rows(ranking, clips, CUTOFF),
            hierarchical_precision_rows(ranking, relevance, CUTOFF),
        )
        for name, values in zip(RANKED, found, strict=True):
            rows[name].append(values)
        triplets.append(triplet_rows(ranking, clips.tree.num_levels))
    scores = {name: mean_of(values) for name, values in rows.items()}
    return scores | {"triplet_accuracy": share_right(triplets)}


RANKED = (
    "ndcg",
    "mnr",
    "mnr_floor",
    f"precision_at_{CUTOFF}",
    f"adaptive_precision_at_{CUTOFF}",
    f"hierarchical_precision_at_{CUTOFF}",
)


def _retrieval(clips: TreeClips, level: int, max_queries: int, seed: int) -> dict[str, float]:
    labels = level_column(clips.codes, level)
    found = retrieval_scores(clips.vectors, labels, max_queries=max_queries, seed=seed)
    return {"map": found.map, "r_precision": found.r_precision}


def _at_most(clips: TreeClips, number: int, seed: int) -> TreeClips:
    drawn = draw_queries(clips, number, seed)
    return TreeClips(clips.vectors[drawn], clips.codes[drawn], clips.tree)
