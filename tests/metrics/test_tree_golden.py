"""Published definitions: values computed from their formulas by loops, frozen in a file."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest
import torch
from torch import Tensor

from tonotopy.labels import LabelTree
from tonotopy.metrics import mean_average_precision
from tonotopy.metrics.tree import (
    adaptive_precision_at_k,
    hierarchical_precision_at_k,
    knn_by_level,
    level_silhouettes,
    mean_normalised_rank,
    misplaced_pairs,
    mistakes,
    precision_at_k,
    tree_ndcg,
    unseen_class_scores,
)
from tonotopy.metrics.tree._clips import tree_clips
from tonotopy.metrics.tree._rankings import rankings
from tonotopy.metrics.tree.triplets import triplet_rows

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "tree_metrics.json"
ALL: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
HYBRID = ALL["hybrid"]
EXPECTED = HYBRID["expected"]
PATHS = [tuple(path) for path in HYBRID["paths"]]
TREE = LabelTree(PATHS)
EMBEDDINGS = torch.tensor(HYBRID["embeddings"], dtype=torch.float64)
LOGITS = torch.tensor(HYBRID["logits"], dtype=torch.float64)
NODES = [tuple(path) for path in HYBRID["nodes"]]
# Without the last clip the leaf t5 has one clip only.
FEW, CODES = EMBEDDINGS[:11], TREE.encode(PATHS[:11])


def on_circle(case: dict[str, Any]) -> Tensor:
    angles = torch.tensor(case["angles_degrees"], dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)


@pytest.mark.parametrize("affinity", ["max", "sum"])
@pytest.mark.parametrize("mode", ["per_query", "pooled"])
@pytest.mark.parametrize(("similarity", "name"), [("cosine", "cos"), ("dot", "dot")])
def test_ndcg(
    mode: Literal["per_query", "pooled"],
    similarity: Literal["cosine", "dot"],
    name: str,
    affinity: Literal["max", "sum"],
) -> None:
    found = tree_ndcg(FEW, CODES, TREE, mode=mode, similarity=similarity, affinity=affinity)
    assert found == pytest.approx(EXPECTED[f"E.{name}.ndcg_{mode}"], abs=1e-12)


def test_ranks_and_precision() -> None:
    rank = mean_normalised_rank(FEW, CODES, TREE)
    assert rank.value == pytest.approx(EXPECTED["E.cos.mnr"], abs=1e-12)
    assert rank.floor == pytest.approx(EXPECTED["E.mnr_floor"], abs=1e-12)
    found = (
        precision_at_k(FEW, CODES, TREE),
        adaptive_precision_at_k(FEW, CODES, TREE),
        hierarchical_precision_at_k(FEW, CODES, TREE),
        mean_average_precision(FEW, CODES[:, -1]),
    )
    names = ("E.cos.p@5", "E.cos.adaptive_p@5", "E.cos.hp@5", "E.cos.map")
    assert found == pytest.approx([EXPECTED[name] for name in names], abs=1e-12)


def test_mistakes_of_the_leaf_head() -> None:
    leaves = [NODES.index(TREE.path(leaf)) for leaf in TREE.leaves]
    guesses = LOGITS[:, leaves].argmax(dim=1).tolist()
    predicted = TREE.encode([TREE.path(TREE.leaves[guess]) for guess in guesses])
    found = mistakes(predicted, TREE.encode(PATHS), TREE)
    assert (found.count, found.judged) == (EXPECTED["E.leaf_head.errors"], 12)
    assert found.severity == pytest.approx(EXPECTED["E.leaf_head.severity"], abs=1e-12)
    assert found.mean_lca_height == pytest.approx(found.severity * found.count / 12)


def test_lowest_visible_parent_of_unseen_classes() -> None:
    hidden = [row for row, path in enumerate(PATHS) if path[-1] in HYBRID["hidden"]]
    seen = [row for row in range(len(PATHS)) if row not in hidden]
    tree = LabelTree([PATHS[row] for row in seen])
    scores = [NODES.index(tree.path(node)) for node in range(tree.num_nodes)]
    found = unseen_class_scores(
        EMBEDDINGS[hidden],
        [PATHS[row] for row in hidden],
        tree,
        gallery=(EMBEDDINGS[seen], tree.encode([PATHS[row] for row in seen])),
        node_probabilities=LOGITS[hidden][:, scores],
        leaf_probabilities=LOGITS[hidden][:, [scores[leaf] for leaf in tree.leaves]],
    )
    assert found["clips"] == EXPECTED["F.unseen"]
    assert found["lvp"]["level_head"] == EXPECTED["F.lvp_head_acc"]
    assert found["lvp"]["leaf_head"] == EXPECTED["F.lvp_leaf_acc"]
    assert [entry["parent"] for entry in found["lvp_by_class"]] == [["f0"], ["f1", "i2"]]


@pytest.mark.parametrize(
    ("paths", "name"), [("paths", "C.const0.3.count"), ("known", "H.certain_triplets")]
)
def test_number_of_certain_triplets(paths: str, name: str) -> None:
    clips = tree_clips(EMBEDDINGS, TREE.encode(HYBRID[paths]), TREE)
    counts = [triplet_rows(ranking, TREE.num_levels)[1].sum() for ranking in rankings(clips)]
    assert sum(counts) == EXPECTED[name]


def test_silhouettes() -> None:
    case = ALL["rbl"]["flat"]
    tree = LabelTree(case["paths"])
    embeddings = torch.tensor(case["embeddings"], dtype=torch.float64)
    found = level_silhouettes(embeddings, tree.encode(case["paths"]), tree)
    fine, coarse, mean = case["silhouette"]
    assert (*found.levels, found.mean) == pytest.approx((coarse, fine, mean), abs=1e-12)


@pytest.mark.parametrize("name", ["flat", "deep"])
def test_misplaced_pairs(name: str) -> None:
    case = ALL["rbl"][name]
    tree = LabelTree(case["paths"])
    flat = torch.tensor(ALL["rbl"]["flat"]["embeddings"], dtype=torch.float64)
    embeddings = flat if name == "flat" else on_circle(case)
    found = misplaced_pairs(embeddings, tree.encode(case["paths"]), tree)
    right = case["correct"]
    assert found.share == pytest.approx(1 - sum(right) / len(right), abs=1e-12)
    assert found.sampled_clips is None


def test_misplaced_pairs_of_partial_labels() -> None:
    case = ALL["rbl"]["partial"]
    tree = LabelTree(case["paths"])
    embeddings = torch.tensor(ALL["rbl"]["flat"]["embeddings"], dtype=torch.float64)
    units = torch.nn.functional.normalize(embeddings, dim=1)
    pairs = [
        (-float(units[i] @ units[j]), rank)
        for (i, j), rank in zip(combinations(range(6), 2), case["ranks"], strict=True)
        if rank >= 0
    ]
    blocks = sorted(rank for _, rank in pairs)
    wrong = sum(rank != block for (_, rank), block in zip(sorted(pairs), blocks, strict=True))
    found = misplaced_pairs(embeddings, tree.encode(case["paths"]), tree)
    assert found.share == pytest.approx(wrong / len(pairs), abs=1e-12)


def test_a_tie_across_two_blocks_is_misplaced_by_half() -> None:
    case = ALL["rbl"]["ties"]
    tree = LabelTree(case["paths"])
    # Pairs (0, 1) of rank 0 and (1, 2) of rank 1 tie at the first two places; the other sibling
    # pair stands at place 2, where it belongs.
    found = misplaced_pairs(on_circle(case), tree.encode(case["paths"]), tree)
    assert found.share == pytest.approx((0.5 + 0.5) / 6, abs=1e-12)


def test_untrained_embeddings_of_real_scenes(shared_data: Path) -> None:
    table = pl.read_parquet(shared_data / "tut2016_vggish" / "embeddings.parquet")
    splits = {}
    tree = LabelTree(table.select("coarse", "fine").unique().rows())
    for split in ("train", "val", "test"):
        rows = table.filter(pl.col("split") == split)
        embeddings = torch.from_numpy(rows.select(pl.col("^e[0-9]+$")).to_numpy())
        splits[split] = embeddings, tree.encode(rows.select("coarse", "fine").rows())
    embeddings, codes = splits["test"]
    coarse, fine = level_silhouettes(embeddings, codes, tree).levels
    assert (fine, coarse) == pytest.approx((0.062240, 0.222568), abs=1e-5)
    found = knn_by_level(
        embeddings,
        codes,
        tree,
        gallery=splits["train"],
        validation=splits["val"],
        coarse="parent",
    )
    assert [score.k for score in found] == [1, 1]
    assert [score.accuracy for score in found] == pytest.approx([1.0, 29 / 30])
