"""Losses that classify into a label tree: reference values, partial labels, what options do."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from loss_row import CODES, TREE
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.labels import LabelTree
from tonotopy.losses import (
    CPCCLoss,
    HierarchicalCrossEntropyLoss,
    HierarchicalPrototypeLoss,
    LeafCrossEntropyLoss,
    LevelCrossEntropyLoss,
    Loss,
    NodeBCELoss,
    SoftLabelLoss,
    leaf_class_weights,
    node_class_weights,
    node_positive_weights,
)
from tonotopy.losses.cpcc import correlation

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden" / "tree_class.json").read_text(encoding="utf-8")
)
VALUES = GOLDEN["values"]
Z = torch.tensor(GOLDEN["embeddings"], dtype=torch.float64)
NODES = [tuple(node) for node in GOLDEN["nodes"]]  # level by level, another order than the tree's
PATHS = [next(n for n in NODES if n[-1] == name) for name in GOLDEN["labels"]]
FT = LabelTree.from_paths(NODES)
Y = FT.encode(PATHS)
STACK = torch.tensor(GOLDEN["stacked"])
COUNTS = FT.counts([PATHS[i] for i in GOLDEN["stacked"]])


def exactly(value: Any) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-12)


def with_head(loss: Loss) -> Loss:
    """Give each node's logit the reference's weight and bias."""
    names = [FT.path(node) for node in range(FT.num_nodes)]
    if not isinstance(loss, LevelCrossEntropyLoss | NodeBCELoss):
        names = [FT.path(leaf) for leaf in FT.leaves]
    rows = [NODES.index(name) for name in names]
    loss = loss.double()
    with torch.no_grad():
        for parameter, key in zip(loss.parameters(), ("weight", "bias"), strict=True):
            parameter.copy_(torch.tensor(GOLDEN[key], dtype=torch.float64)[rows])
    return loss


def exact(weights: list[float]) -> Tensor:
    return torch.tensor(weights, dtype=torch.float64)


@pytest.mark.parametrize(
    ("loss", "reference"),
    [
        (LeafCrossEntropyLoss(FT, 4), "D.leaf_ce"),
        (LevelCrossEntropyLoss(FT, 4), "D.per_level_ce_sum"),
        (NodeBCELoss(FT, 4), "D.bce_nodes"),
        (HierarchicalCrossEntropyLoss(FT, 4, alpha=0.0), "G.hxe_alpha0"),
        (HierarchicalCrossEntropyLoss(FT, 4, alpha=0.5), "G.hxe_alpha0.5"),
        (SoftLabelLoss(FT, 4, beta=4.0), "G.softlabel_beta4"),
    ],
)
def test_reference_values_of_classifiers(loss: Loss, reference: str) -> None:
    assert with_head(loss)(Z, Y).item() == exactly(VALUES[reference])


@pytest.mark.parametrize(
    ("loss", "reference"),
    [
        (
            LeafCrossEntropyLoss(FT, 4, exact(leaf_class_weights(FT, COUNTS))),
            "D.w.leaf_ce",
        ),
        (
            LevelCrossEntropyLoss(FT, 4, class_weights=exact(node_class_weights(FT, COUNTS))),
            "D.w.per_level_ce_sum",
        ),
        (NodeBCELoss(FT, 4, exact(node_positive_weights(FT, COUNTS))), "D.w.bce_nodes"),
    ],
)
def test_reference_values_with_weights(loss: Loss, reference: str) -> None:
    assert with_head(loss)(Z[STACK], Y[STACK]).item() == exactly(VALUES[reference])


def test_reference_values_of_embeddings() -> None:
    prototypes = HierarchicalPrototypeLoss(FT, alpha=1.0, shots=1)
    assert prototypes(Z, Y).item() == exactly(VALUES["G.hier_proto_alpha1"])
    assert prototypes.terms()["queries"] == 6
    cpcc = CPCCLoss(FT)
    assert 1 - cpcc(Z, Y).item() == exactly(VALUES["G.cpcc"])
    assert cpcc.terms()["correlation"].item() == exactly(VALUES["G.cpcc"])
    assert cpcc.terms()["pairs"] == 15


def test_each_level_is_a_term() -> None:
    loss = with_head(LevelCrossEntropyLoss(FT, 4, level_weights=(3.0, 0.0, 1.0)))
    value = loss(Z, Y).item()
    levels = VALUES["D.per_level_ce"]
    assert [term.item() for term in loss.terms().values()] == exactly(levels)
    assert value == exactly(3.0 * levels[0] + levels[2])


def test_counts_are_those_of_the_reference() -> None:
    counts = dict(zip([FT.path(n) for n in range(FT.num_nodes)], COUNTS, strict=True))
    assert [counts[node] for node in NODES] == VALUES["D.sampled_counts"]


# Equalities -------------------------------------------------------------------------------------


def test_without_discount_the_hierarchical_loss_is_cross_entropy() -> None:
    hxe, plain = HierarchicalCrossEntropyLoss(TREE, 5, 0.0), LeafCrossEntropyLoss(TREE, 5)
    plain.load_state_dict(hxe.state_dict())
    complete = TREE.encode([TREE.path(leaf) for leaf in TREE.leaves])
    z = torch.randn(len(complete), 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(hxe(z, complete), plain(z, complete))
    expected = F.cross_entropy(plain.head(z), torch.arange(len(complete)))
    torch.testing.assert_close(plain(z, complete), expected)


def test_without_discount_a_partial_label_asks_for_the_sum_of_its_leaves() -> None:
    hxe = HierarchicalCrossEntropyLoss(TREE, 5, 0.0)
    z = torch.randn(1, 5, generator=torch.Generator().manual_seed(0))
    p = hxe.head(z).softmax(dim=1)[0]
    leaves = [TREE.leaves.index(leaf) for leaf in TREE.leaves_under(TREE.node(("a", "x")))]
    torch.testing.assert_close(hxe(z, TREE.encode([("a", "x")])), -p[leaves].sum().log())


def test_marginal_losses_add_up_to_the_reference() -> None:
    loss = with_head(HierarchicalCrossEntropyLoss(FT, 4, 0.0))
    levels = [FT.encode([path[:depth] for path in PATHS]) for depth in (1, 2, 3)]
    total = sum(loss(Z, codes).item() for codes in levels)
    assert total == exactly(VALUES["G.marginalised_per_level_ce_sum"])


def test_published_weights_of_the_hierarchical_loss_sum_to_one() -> None:
    loss = HierarchicalCrossEntropyLoss.published(FT, 4, alpha=0.5)
    total = math.fsum(math.exp(-0.5 * len(node)) for node in [(), *NODES])
    assert with_head(loss)(Z, Y).item() * total == exactly(VALUES["G.hxe_alpha0.5"])


def test_no_probability_underflows() -> None:
    loss = HierarchicalCrossEntropyLoss(TREE, 5, 0.5)
    with torch.no_grad():
        loss.classifier.get_parameter("linear.bias").copy_(torch.tensor([0.0, -1e4, 0, 0, 0, 0]))
    z = torch.zeros(1, 5, requires_grad=True)
    value = loss(z, TREE.encode([("a", "x", "q")]))  # the leaf at -10 000
    (gradient,) = torch.autograd.grad(value, loss.classifier.get_parameter("linear.bias"))
    assert value.item() > 1e3
    assert gradient[1] < 0


def test_sharp_soft_labels_are_cross_entropy_and_dull_ones_are_uniform() -> None:
    torch.manual_seed(0)
    plain = LeafCrossEntropyLoss(TREE, 5)
    z = torch.randn(len(CODES), 5)
    soft = {beta: SoftLabelLoss(TREE, 5, beta) for beta in (0.0, 1e4)}
    for loss in soft.values():
        loss.load_state_dict(plain.state_dict())
    torch.testing.assert_close(soft[1e4](z, CODES), plain(z, CODES))
    known = plain.index.leaf_index(CODES) >= 0
    uniform = -plain.head(z[known]).log_softmax(dim=1).mean()
    torch.testing.assert_close(soft[0.0](z, CODES), uniform)


@pytest.mark.parametrize(
    "loss_class",
    [
        LeafCrossEntropyLoss,
        LevelCrossEntropyLoss,
        NodeBCELoss,
        HierarchicalCrossEntropyLoss,
        SoftLabelLoss,
    ],
)
def test_leaf_indices_are_complete_codes(loss_class: Callable[..., Loss]) -> None:
    paths = [("a", "x", "p"), ("b",), (), ("c", "w")]
    loss = loss_class(TREE, 5)
    z = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(loss(z, TREE.leaf_index(paths)), loss(z, TREE.encode(paths)))


# Chains and missing labels ----------------------------------------------------------------------


def test_a_level_with_one_node_adds_nothing() -> None:
    rooted = LabelTree.from_paths([("top", *path) for path in PATHS])
    loss = LevelCrossEntropyLoss(rooted, 4).double()
    inner = with_head(LevelCrossEntropyLoss(FT, 4))
    with torch.no_grad():
        for wide, narrow in zip(loss.parameters(), inner.parameters(), strict=True):
            wide[1:] = narrow
    codes = rooted.encode([("top", *path) for path in PATHS])
    torch.testing.assert_close(loss(Z, codes), inner(Z, Y))
    assert loss.terms()["level1"] == 0
    assert loss.terms()["level2"].item() == exactly(VALUES["D.per_level_ce"][0])


def test_chains_change_no_hierarchical_loss_without_discount() -> None:
    chained = [(path[0], path[0] + "!", *path[1:], path[2] + "!") for path in PATHS]
    tree = LabelTree.from_paths(chained)
    codes = tree.encode(chained)
    makers: list[Callable[[LabelTree], Loss]] = [
        lambda tree: HierarchicalCrossEntropyLoss(tree, 4, alpha=0.0),
        lambda tree: LeafCrossEntropyLoss(tree, 4),
    ]
    for make in makers:
        loss, longer = with_head(make(FT)), make(tree).double()
        longer.load_state_dict(loss.state_dict())
        torch.testing.assert_close(longer(Z, codes), loss(Z, Y))


def test_unknown_nodes_below_a_partial_label_are_left_alone() -> None:
    loss = NodeBCELoss(TREE, 5)
    z = torch.randn(1, 5, generator=torch.Generator().manual_seed(0))
    loss(z, TREE.encode([("a", "x")])).backward()
    gradient = loss.get_parameter("classifier.linear.bias").grad
    assert gradient is not None
    for node in range(TREE.num_nodes):
        path = TREE.path(node)
        sign = 0 if path[:2] == ("a", "x") and len(path) == 3 else 1
        expected = -1 if path in (("a",), ("a", "x")) else sign
        assert gradient[node].sign() == expected, path


def test_partial_labels_count_only_as_deep_as_they_are_known() -> None:
    z = torch.randn(1, 5, generator=torch.Generator().manual_seed(0))
    codes = TREE.encode([("a",)])
    level = LevelCrossEntropyLoss(TREE, 5)
    level(z, codes)
    assert [bool(term > 0) for term in level.terms().values()] == [True, False, False]
    for loss in (LeafCrossEntropyLoss(TREE, 5), SoftLabelLoss(TREE, 5), CPCCLoss(TREE)):
        assert loss(z, codes) == 0


# Episodes ---------------------------------------------------------------------------------------


def test_order_of_queries_and_of_examples_does_not_matter() -> None:
    loss = HierarchicalPrototypeLoss(FT, shots=2)
    z, codes = torch.cat([Z, -Z.flip(1)]), torch.cat([Y, Y])
    examples, queries = torch.arange(12), torch.arange(12, 24)
    shuffled = torch.cat([examples.flip(0), queries.flip(0)])
    torch.testing.assert_close(loss(z[shuffled], codes[shuffled]), loss(z, codes))
    assert loss.terms()["queries"] == 12


def test_a_leaf_without_queries_still_stands_in_the_way() -> None:
    loss = HierarchicalPrototypeLoss(FT)
    few = loss(Z[:2], Y[:2])
    assert few == 0  # one leaf: nothing to confuse it with
    assert loss(Z[:3], Y[:3]) > 0
    assert loss.terms()["queries"] == 1
    assert loss(Z[::2], Y[::2]) == 0
    assert loss.terms()["queries"] == 0


# Cophenetic correlation -------------------------------------------------------------------------


def test_correlation_is_that_of_numpy() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 6, 6, generator=generator, dtype=torch.float64)
    pairs = torch.ones(6, 6, dtype=torch.bool).triu(1)
    r, defined = correlation(a, b, pairs)
    torch.testing.assert_close(r, torch.corrcoef(torch.stack([a[pairs], b[pairs]]))[0, 1])
    assert defined
    torch.testing.assert_close(correlation(1e-30 * a, 1e30 * b, pairs)[0], r)


FLAT = LabelTree.from_paths([("a",), ("b",), ("c",)])


@pytest.mark.parametrize(
    ("tree", "z", "labels"),
    [
        (FT, Z[:4], Y[:4]),
        (FT, torch.ones(12, 4), Y),
        (FLAT, Z[:3], torch.arange(3)),
    ],
    ids=["one pair", "one place", "one distance in the tree"],
)
def test_undefined_correlation_costs_one_and_pulls_nowhere(
    tree: LabelTree, z: Tensor, labels: Tensor
) -> None:
    leaf = z.float().requires_grad_()
    value = CPCCLoss(tree)(leaf, labels)
    value.backward()
    assert value == 1
    assert leaf.grad is not None
    assert not leaf.grad.any()


def test_correlation_is_one_where_distances_are_those_of_the_tree() -> None:
    tree = LabelTree.from_paths([("a", "x"), ("a", "y"), ("b",)])
    # x and y are 2 edges apart, and each 3 from b.
    triangle = torch.tensor([[0.0, 1.0], [0.0, -1.0], [math.sqrt(8.0), 0.0]], dtype=torch.float64)
    codes = tree.encode([("a", "x"), ("a", "y"), ("b",)])
    assert CPCCLoss(tree)(triangle, codes).item() == pytest.approx(0.0, abs=1e-12)


# Weights and wrong use --------------------------------------------------------------------------

TREE_PATHS = [TREE.path(node) for node in range(TREE.num_nodes)]


def test_weights_of_nodes_that_no_clip_is_in() -> None:
    counts = TREE.counts([("a", "x", "p"), ("a", "x", "p"), ("b",), ("a", "x")])
    classes = dict(zip(TREE_PATHS, node_class_weights(TREE, counts), strict=True))
    assert classes[("a",)] == pytest.approx(0.25)
    assert classes[("b",)] == pytest.approx(0.75)
    assert (classes[("c",)], classes[("a", "x")], classes[("c", "w")]) == (0.0, 1.0, 0.0)
    positive = dict(zip(TREE_PATHS, node_positive_weights(TREE, counts), strict=True))
    assert positive[("a",)] == pytest.approx(1 / 3)
    assert (positive[("b",)], positive[("c",)]) == (3.0, 0.0)
    assert leaf_class_weights(TREE, [0] * TREE.num_nodes) == [0.0] * TREE.num_leaves
    z = torch.randn(2, 5, requires_grad=True)
    loss = LeafCrossEntropyLoss(TREE, 5, leaf_class_weights(TREE, counts))
    assert loss(z, TREE.encode([("c", "w"), ("c", "w")])) == 0  # weightless, not NaN


def test_kinds_heads_and_state() -> None:
    weighted = LeafCrossEntropyLoss(TREE, 5, [1] * 6)
    assert (LeafCrossEntropyLoss(TREE, 5).kind, weighted.kind) == ("sample", "batch")
    assert set(weighted.state_dict()) == {
        "classifier.linear.weight",
        "classifier.linear.bias",
    }
    for loss in (LevelCrossEntropyLoss(TREE, 5), NodeBCELoss(TREE, 5)):
        assert loss.head.num_classes == TREE.num_nodes
    for owner in (HierarchicalCrossEntropyLoss(TREE, 5), SoftLabelLoss(TREE, 5), weighted):
        assert owner.head is not None
        assert owner.head.num_classes == TREE.num_leaves


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LeafCrossEntropyLoss(TREE, 5, [1.0]), "class_weights must be 6 numbers"),
        (lambda: LeafCrossEntropyLoss(TREE, 5, [-1.0] * 6), "class_weights must be 0 or more"),
        (lambda: LevelCrossEntropyLoss(TREE, 5, [1.0]), "level_weights must be 3 numbers"),
        (lambda: LevelCrossEntropyLoss(TREE, 5, [-1.0] * 3), "level_weights must be 0 or more"),
        (lambda: NodeBCELoss(TREE, 5, [1.0]), "positive_weights must be 11 numbers"),
        (lambda: HierarchicalCrossEntropyLoss(TREE, 5, -1.0), "alpha must be 0 or more"),
        (lambda: SoftLabelLoss(TREE, 5, -1.0), "beta must be 0 or more"),
        (lambda: HierarchicalPrototypeLoss(TREE, -1.0), "alpha must be 0 or more"),
        (lambda: HierarchicalPrototypeLoss(TREE, shots=0), "shots must be an integer"),
        (lambda: CPCCLoss(LabelTree([])), "an empty one"),
        (lambda: node_class_weights(TREE, [1]), "a count for each of the 11 nodes"),
        (lambda: node_positive_weights(TREE, [-1] * 11), "counts must be 0 or more"),
        (lambda: CPCCLoss(TREE)(torch.eye(3), CODES[:3, :2]), "tree of 3 levels"),
        (lambda: CPCCLoss(TREE)(torch.eye(3), torch.eye(3)), "tree of 3 levels"),
    ],
)
def test_wrong_use_is_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()
