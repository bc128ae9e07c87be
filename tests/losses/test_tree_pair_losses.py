"""Losses over pairs of a label tree: reference values, fast against loops, what options do."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from tree_pair_rows import rank_oracle, tree_add_oracle, triplet_oracle

from tonotopy._errors import UsageError
from tonotopy.labels import LabelTree, PairRelations
from tonotopy.losses import (
    AngularDistanceDistributionLoss,
    GeneralizedTripletLoss,
    QuadrupletLoss,
    RankBasedLoss,
    TreeDistanceDistributionLoss,
    generalized_triplet,
    largest_margin,
)

GOLDEN = Path(__file__).parents[1] / "golden"
TRIPLETS: dict[str, Any] = json.loads((GOLDEN / "triplet.json").read_text(encoding="utf-8"))
RANKS: dict[str, Any] = json.loads((GOLDEN / "rank_based.json").read_text(encoding="utf-8"))

Z = torch.tensor(TRIPLETS["embeddings"], dtype=torch.float64)
LEAVES = [("f0", "i0", "t0"), ("f0", "i0", "t1"), ("f0", "i1", "t2")]
LEAVES += [("f1", "i2", "t3"), ("f1", "i2", "t4"), ("f1", "i3", "t5")]
TREE = LabelTree.from_paths(LEAVES)
CODES = TREE.encode([leaf for leaf in LEAVES for _ in range(2)])


def exactly(value: float) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-12)


def value_of(name: str) -> float:
    return float(TRIPLETS["values"][name])


@pytest.mark.parametrize(
    ("loss", "reference", "active"),
    [
        (GeneralizedTripletLoss(), "C.const0.3.mean_all", "C.const0.3.active"),
        (GeneralizedTripletLoss(reduction="mean_active"), "C.const0.3.mean_active", None),
        (GeneralizedTripletLoss((0.1,) * 3), "C.graded0.1.mean_all", "C.graded0.1.active"),
        (
            GeneralizedTripletLoss(distance="euclidean"),
            "C.euclid0.3.mean_all",
            "C.euclid0.3.active",
        ),
    ],
)
def test_triplets_agree_with_reference_values(
    loss: GeneralizedTripletLoss, reference: str, active: str | None
) -> None:
    assert loss(Z, CODES).item() == exactly(value_of(reference))
    assert loss.terms()["triplets"] == value_of("C.const0.3.count")
    if active is not None:
        assert loss.terms()["active"] * 440 == exactly(value_of(active))


def test_triplets_in_the_ball_agree_with_reference_values() -> None:
    loss = GeneralizedTripletLoss(distance="poincare")
    assert loss(Z / 2, CODES).item() == exactly(value_of("G.poincare_triplet.mean_all"))
    d = generalized_triplet.triplet_distances(Z / 2, "poincare")
    assert d[0, 11].item() == exactly(value_of("G.poincare_d_0_11"))


def test_gradient_of_triplets_agrees_with_reference_values() -> None:
    leaf = Z.clone().requires_grad_()
    GeneralizedTripletLoss()(leaf, CODES).backward()
    assert leaf.grad is not None
    assert leaf.grad.norm().item() == exactly(value_of("C.const0.3.grad_fro"))
    assert leaf.grad[0].tolist() == exactly(TRIPLETS["values"]["C.const0.3.grad_row0"])


def test_drawn_triplets_agree_with_reference_values() -> None:
    stacked = [clip for column in zip(*TRIPLETS["drawn"], strict=True) for clip in column]
    loss = GeneralizedTripletLoss(pairs="drawn")
    z = Z[stacked].requires_grad_()
    value = loss(z, CODES[stacked])
    assert value.item() == exactly(value_of("B.triplet_loss"))
    assert loss.terms()["triplets"] == len(TRIPLETS["drawn"])
    value.backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_drawn_triplets_that_labels_do_not_order_are_left_out() -> None:
    stacked = [clip for column in zip(*TRIPLETS["drawn"][:2], strict=True) for clip in column]
    paths = [TREE.decode(CODES)[clip] for clip in stacked]
    paths[4] = ()  # the first negative may be anything
    loss = GeneralizedTripletLoss(pairs="drawn")
    kept = loss(Z[stacked][1::2], CODES[stacked][1::2])
    assert loss(Z[stacked], TREE.encode(paths)).item() == exactly(kept.item())
    assert loss.terms()["triplets"] == 1
    with pytest.raises(UsageError, match="TreeTripletSampler"):
        loss(Z[:4], CODES[:4])
    assert loss(Z[:0], CODES[:0]) == 0
    adjacent = GeneralizedTripletLoss(pairs="adjacent")
    assert loss.eval()(Z[:4], CODES[:4]) == adjacent(Z[:4], CODES[:4])


def test_only_certain_triplets_count() -> None:
    paths: list[tuple[str, ...]] = [leaf for leaf in LEAVES for _ in range(2)]
    paths[5], paths[11] = ("f0",), ("f1", "i3")
    loss = GeneralizedTripletLoss()
    assert loss(Z, TREE.encode(paths)).item() == exactly(value_of("H.mean_all"))
    assert loss.terms()["triplets"] == value_of("H.certain_triplets")


def test_quadruplets_agree_with_reference_values() -> None:
    loss = QuadrupletLoss(0.25, 0.15, distance="squared_euclidean")
    # There each of the two hinges is halved.
    assert loss(Z, CODES).item() == exactly(2 * value_of("C.quadruplet.mean"))
    assert loss.terms()["quadruplets"] == value_of("C.quadruplet.count")


QUADRUPLETS = [
    [[3, 1, 0], [0, 2, 1], [1, -1, 2]],
    [[2, 2, 1], [1, 3, 0], [0, -1, 3]],
    [[1, 2, 2], [-1, 2, 2], [2, -1, 1]],
    [[1, 0, 3], [2, 1, 0], [-1, 2, 1]],
]


def test_given_quadruplets_agree_with_reference_values() -> None:
    rows = torch.tensor(QUADRUPLETS, dtype=torch.float64).transpose(0, 1).reshape(12, 3)
    codes = torch.tensor([[0, 2], [0, 2], [0, 3], [1, 4]] * 3)
    expected = RANKS["values"]
    assert QuadrupletLoss(quadruplets="rows")(rows, codes).item() == exactly(
        expected["V3.quad.cosine"]
    )
    squared = QuadrupletLoss(quadruplets="rows", distance="squared_euclidean")
    assert squared(rows, codes).item() == exactly(expected["V3.quad.sqeuclidean"])
    assert QuadrupletLoss.published()(rows, codes).item() == exactly(
        expected["V3.quad.released_cosine"]
    )
    assert QuadrupletLoss.published()(rows[:4], codes[:4]) == 0  # not NaN
    codes[5] = torch.tensor([0, 3])  # the second is no quadruplet any more
    some = QuadrupletLoss(quadruplets="rows")
    some(rows, codes)
    assert some.terms()["quadruplets"] == 2
    with pytest.raises(UsageError, match="four clips each"):
        some(rows[:6], codes[:6])


RAW = [[1, -1, -2], [2, 2, 3], [0, -2, 0], [-1, 0, -3], [-2, 1, -3], [2, -1, 3]]
BIRDS = [("OWL", "o1"), ("OWL", "o1"), ("OWL", "o2")]
BIRDS += [("PIPIT", "p1"), ("PIPIT", "p1"), ("PIPIT", "p2")]
ANGLES = [264.0, 249.0, 45.0, 309.0, 130.0, 21.0, 171.0]
PATHS = [("A", "a", "1"), ("A", "a", "1"), ("A", "a", "2"), ("A", "b", "3")]
PATHS += [("B", "c", "4"), ("B", "c", "5"), ("B", "d", "6")]
TARGETS: dict[str, Any] = {
    "rank_index": "rank_index",
    "nearest": "block_nearest",
    "mean": "block_mean",
    "first": "block_first",
}


def rank_batch(name: str) -> tuple[Tensor, Tensor]:
    if name == "V1":
        raw = torch.tensor(RAW, dtype=torch.float64)
        return raw, LabelTree.from_paths(BIRDS).encode(BIRDS)
    angles = torch.tensor(ANGLES, dtype=torch.float64).deg2rad()
    circle = torch.stack([angles.cos(), angles.sin()], dim=1)
    return circle, LabelTree.from_paths(PATHS).encode(PATHS)


@pytest.mark.parametrize("batch", ["V1", "V2"])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("stop_gradient", [True, False])
def test_ranks_agree_with_reference_values(
    batch: str, distance: Any, target: str, stop_gradient: bool
) -> None:
    loss = RankBasedLoss(target=TARGETS[target], distance=distance, stop_gradient=stop_gradient)
    value = loss(*rank_batch(batch)).item()
    assert value == exactly(RANKS["values"][f"{batch}.{distance}.loss.{target}"])
    correct = RANKS["values"].get(f"{batch}.{distance}.correct")
    misplaced = 1 - sum(correct) / len(correct)
    assert loss.terms()["misplaced"] == exactly(misplaced)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("flow", [True, False])
def test_gradient_of_published_ranks_agrees_with_reference_values(
    distance: Any, flow: bool
) -> None:
    raw, codes = rank_batch("V1")
    u = (raw / raw.norm(dim=1, keepdim=True)).requires_grad_()
    loss = RankBasedLoss(target="rank_index", stop_gradient=not flow, distance=distance)
    (gradient,) = torch.autograd.grad(loss(u, codes), u)
    name = f"V1.{distance}.grad.{'flow' if flow else 'stop'}"
    expected = torch.tensor(RANKS["values"][name], dtype=torch.float64).reshape(6, 3)
    # Theirs is of free vectors; ours lies in the tangent space, as u is normalised inside.
    tangent = expected - (expected * u).sum(dim=1, keepdim=True) * u
    torch.testing.assert_close(gradient, tangent.detach(), rtol=1e-9, atol=1e-12)


def test_published_ranks_are_those_of_the_released_code() -> None:
    raw, codes = rank_batch("V1")
    value = RankBasedLoss.published(distance="euclidean")(raw, codes).item()
    assert value == exactly(RANKS["values"]["V1.euclidean.loss.rank_index"])


def test_ties_do_not_matter_to_the_nearest_edge() -> None:
    angles = torch.tensor([0.0, 40.0, 80.0, 200.0], dtype=torch.float64).deg2rad()
    circle = torch.stack([angles.cos(), angles.sin()], dim=1)
    paths = [("A", "a"), ("A", "a"), ("A", "b"), ("B", "c")]
    codes = LabelTree.from_paths(paths).encode(paths)
    order = torch.tensor([2, 1, 0, 3])
    assert RankBasedLoss()(circle, codes).item() == pytest.approx(0.0, abs=1e-20)
    assert RankBasedLoss()(circle[order], codes[order]).item() == pytest.approx(0.0, abs=1e-20)


def test_pairs_of_uncertain_rank_are_left_out() -> None:
    paths = [("OWL", "o1"), ("OWL", "o1"), ("OWL",), ("PIPIT", "p1"), ("PIPIT",), ()]
    tree = LabelTree.from_paths([("OWL", "o1"), ("OWL", "o2"), ("PIPIT", "p1"), ("PIPIT", "p2")])
    raw = torch.tensor(RAW, dtype=torch.float64)
    for target in ("rank_index", "nearest"):
        loss = RankBasedLoss(target=TARGETS[target])
        value = loss(raw, tree.encode(paths)).item()
        assert value == exactly(RANKS["values"][f"V5.partial.loss.{target}"])


def test_flat_tree_distances_are_the_add_loss() -> None:
    labels = torch.tensor([0, 0, 1, 1, 1, 2, 2, 0, -1, 3, 3, 2])
    flat = TreeDistanceDistributionLoss(spread="std")(Z, labels)
    torch.testing.assert_close(flat, AngularDistanceDistributionLoss(spread="std")(Z, labels))


def test_targets_for_other_levels_are_refused() -> None:
    with pytest.raises(UsageError, match="must be 4 distances"):
        TreeDistanceDistributionLoss(targets=[1.0, 0.0])(Z, CODES)
    with pytest.raises(UsageError, match="2 levels, but the labels have 3"):
        GeneralizedTripletLoss((0.1, 0.2))(Z, CODES)
    with pytest.raises(UsageError, match="0 or more"):
        GeneralizedTripletLoss(-0.1)
    with pytest.raises(UsageError, match="needs tree"):
        GeneralizedTripletLoss("auto")
    with pytest.raises(UsageError, match="beta <= alpha"):
        QuadrupletLoss(0.1, 0.2)


def test_all_equal_embeddings_cost_the_margin_and_pull_nowhere() -> None:
    z = torch.ones(12, 4, requires_grad=True)
    loss = GeneralizedTripletLoss(0.3)(z, CODES)
    loss.backward()
    assert loss.item() == pytest.approx(0.3)
    assert z.grad is not None
    assert z.grad.abs().max() < 1e-6


def test_single_child_chains_change_nothing() -> None:
    chained = [(a, a + "!", b, c, c + "!") for a, b, c in LEAVES]
    codes = LabelTree.from_paths(chained).encode([leaf for leaf in chained for _ in range(2)])
    for loss in (GeneralizedTripletLoss(pairs="all"), GeneralizedTripletLoss(pairs="adjacent")):
        torch.testing.assert_close(loss(Z, codes), loss(Z, CODES))


# Bounds of margins ------------------------------------------------------------------------------


def balanced(children: int, levels: int) -> LabelTree:
    paths: list[tuple[str, ...]] = [()]
    for _ in range(levels):
        paths = [(*path, str(child)) for path in paths for child in range(children)]
    return LabelTree.from_paths(paths)


@pytest.mark.parametrize(("children", "levels"), [(2, 1), (3, 2), (5, 4), (2, 5)])
def test_largest_margin_of_a_balanced_tree(children: int, levels: int) -> None:
    expected = 1 / sum(1 - children**-k for k in range(1, levels + 1))
    assert largest_margin(balanced(children, levels)) == pytest.approx(expected)
    assert largest_margin(LabelTree.from_paths([("a", "b")])) == math.inf


@pytest.mark.parametrize("steps", [None, (0.2, 0.1, 0.4), (0.3, 0.0, 0.2)])
def test_cosines_can_keep_the_largest_margin_and_no_larger(steps: Any) -> None:
    tree = LabelTree.from_paths([*LEAVES, ("f2", "i4", "t6"), ("f2", "i4", "t7")])
    codes = tree.encode([tree.path(leaf) for leaf in tree.leaves])
    shared, _ = PairRelations.from_labels(codes).bounds()
    heights = {k: 3.0 - k if steps is None else sum(steps[k:]) for k in range(4)}
    height = torch.tensor([[heights[int(k)] for k in row] for row in shared]).double()
    bound = largest_margin(tree, steps)
    for factor, possible in ((0.999, True), (1.001, False)):
        gram = 1.0 - factor * bound * height
        assert (largest_mean(height) * factor * bound < 1.0) is possible
        if possible:
            assert torch.linalg.eigvalsh(gram).min() > -1e-9


def largest_mean(height: Tensor) -> float:
    """max of w'Hw over weights, by gradient ascent on their logits."""
    logits = torch.zeros(len(height), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([logits], max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        w = logits.softmax(0)
        loss = -(w @ height @ w)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]  # torch's own
    w = logits.detach().softmax(0)
    return float(w @ height @ w)


def test_a_margin_that_cannot_be_kept_is_warned_of() -> None:
    tree = balanced(5, 4)
    with pytest.warns(UserWarning, match=r"margin 0.3 is above 0.2666"):
        GeneralizedTripletLoss(0.3, tree=tree)
    with pytest.warns(UserWarning, match="can be kept at most"):
        GeneralizedTripletLoss((0.3,) * 4, tree=tree)
    auto = GeneralizedTripletLoss("auto", tree=tree)
    assert auto.margin == pytest.approx(0.9 * largest_margin(tree))
    GeneralizedTripletLoss(0.2, tree=tree)


# Fast against loops on random trees -------------------------------------------------------------

names = st.sampled_from(["a", "b", "c"])
leaf_paths = st.lists(st.lists(names, min_size=1, max_size=4).map(tuple), min_size=1, max_size=8)


@st.composite
def labelled_clips(draw: st.DrawFn) -> tuple[LabelTree, Tensor]:
    """A random ragged tree with chains, and labels of it to any depth."""
    tree = LabelTree.from_paths(draw(leaf_paths))
    nodes = st.integers(-1, tree.num_nodes - 1)
    labels = [tree.path(node) for node in draw(st.lists(nodes, min_size=2, max_size=14))]
    return tree, tree.encode(labels)


def finite(value: Any) -> float:
    try:
        return float(value())
    except ZeroDivisionError:  # the loops have nothing to take the mean of
        return 0.0


random_trees = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@random_trees
@given(labelled_clips(), st.booleans(), st.sampled_from([None, 0]))
def test_fast_triplets_equal_loops(
    clips: tuple[LabelTree, Tensor], adjacent: bool, dense: int | None
) -> None:
    _, codes = clips
    z = torch.randn(len(codes), 3, generator=torch.Generator().manual_seed(len(codes))).double()
    loss = GeneralizedTripletLoss(pairs="adjacent" if adjacent else "all")
    with pytest.MonkeyPatch.context() as patch:
        if dense is not None:  # go node by node also for few clips
            patch.setattr(generalized_triplet, "DENSE", dense)
        leaf = z.clone().requires_grad_()
        value = loss(leaf, codes)
        (gradient,) = torch.autograd.grad(value, leaf)
    oracle = triplet_oracle(adjacent=adjacent)
    expected = finite(lambda: oracle(loss, z.tolist(), codes.tolist()))
    assert value.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert gradient.isfinite().all()
    by_masks = z.clone().requires_grad_()
    (expected_gradient,) = torch.autograd.grad(loss(by_masks, codes), by_masks)
    torch.testing.assert_close(gradient, expected_gradient)


@random_trees
@given(labelled_clips())
def test_ranks_and_tree_distances_equal_loops(clips: tuple[LabelTree, Tensor]) -> None:
    _, codes = clips
    z = torch.randn(len(codes), 3, generator=torch.Generator().manual_seed(len(codes))).double()
    for loss, oracle in (
        (RankBasedLoss(), rank_oracle()),
        (TreeDistanceDistributionLoss(), tree_add_oracle),
    ):
        expected = finite(lambda oracle=oracle, loss=loss: oracle(loss, z.tolist(), codes.tolist()))
        assert loss(z, codes).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
