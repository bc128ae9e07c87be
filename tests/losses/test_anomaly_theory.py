"""The facts of docs/anomaly-theory.md on margins, compactness, constants and the scale."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from angular_golden import VALUES, WS, W, Y, Z, golden, units
from benchmarks.anomaly_theory import escaping_losses, fill
from benchmarks.theory import constant_maps, free_embeddings, scale_rules
from benchmarks.theory.charts import Axis, line_chart, number, table
from benchmarks.theory.free_embeddings import CASES, Step, descend
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.losses import (
    AdaCosLoss,
    ArcFaceLoss,
    CosFaceLoss,
    NormalizedSoftmaxLoss,
    OneClassCompactnessLoss,
    SubclusterAdaCosLoss,
)
from tonotopy.losses._adaptive_scale import fixed_scale
from tonotopy.losses.margin_softmax import margin_softmax_loss

S, M = 4.0, 0.35
MERGING = "C = 10, S = 16, trained"
COSFACE = golden(lambda: CosFaceLoss(3, 3, scale=S, margin=M), W)
ARCFACE = golden(lambda: ArcFaceLoss(3, 3, scale=S, mode="plain"), W)
NORMFACE = golden(lambda: NormalizedSoftmaxLoss(3, 3, scale=S), W)


def even(classes: int) -> Tensor:
    return torch.full((classes,), 1.0 / classes, dtype=torch.float64)


@cache
def run_of(name: str) -> list[Step]:
    """Descend once for all tests; the trained sub-centres until they have merged."""
    return descend(CASES[name], 3000 if name == MERGING else 400)


# (a) Minimising the margin loss minimises compactness.


@pytest.mark.parametrize(
    ("loss", "extra"),
    [
        (COSFACE, lambda s: S * M),
        (NORMFACE, lambda s: 0.0),
        (ARCFACE, lambda s: S * (s - math.cos(math.acos(s) + 0.5))),
    ],
    ids=["cosface", "softmax", "arcface"],
)
def test_loss_is_a_rising_function_of_the_own_chord_alone(loss: object, extra: object) -> None:
    """log(1 + e^margin · e^(s d_y² / 2) · sum of e^(-s d_k² / 2)) for each clip."""
    assert callable(loss)
    assert callable(extra)
    chords = (units(Z)[:, None] - units(W)[None]).square().sum(dim=2).tolist()
    for i, (row, y) in enumerate(zip(chords, Y.tolist(), strict=True)):
        others = math.fsum(math.exp(-S / 2 * row[k]) for k in range(3) if k != y)
        margin = math.exp(extra(1.0 - row[y] / 2))
        expected = math.log1p(margin * math.exp(S / 2 * row[y]) * others)
        assert loss(Z[i : i + 1], Y[i : i + 1]).item() == pytest.approx(expected, rel=1e-9)


def test_gradient_is_the_mean_centre_less_the_own() -> None:
    """On the sphere: s (sum p_k c_k - c_y), without what points along the embedding, / length."""
    for i, y in enumerate(Y.tolist()):
        z = Z[i].clone().requires_grad_()
        (grad,) = torch.autograd.grad(COSFACE(z[None], Y[i : i + 1]), z)
        e, w = units(Z[i]), units(W)
        logits = S * (w @ e)
        logits[y] -= S * M
        p = logits.softmax(dim=0)
        free = S * (p @ w - w[y])
        if i == 3:
            expected = VALUES["identity/grad_wrt_embedding_sample3"]
            assert free.tolist() == pytest.approx(expected, rel=1e-9)
        along = free - (free @ e) * e
        torch.testing.assert_close(grad, along / torch.linalg.vector_norm(Z[i]))
        # The same as a step of compactness of weight 1 - p_y, and repulsion of weights p_k.
        others = [k for k in range(3) if k != y]
        steps = (1 - p[y]) * (e - w[y]) - sum(p[k] * (e - w[k]) for k in others)
        torch.testing.assert_close(free, S * steps)
        assert (1 - p[y]).item() == pytest.approx(sum(p[k].item() for k in others))


def test_gradient_with_sub_centres_pulls_by_responsibility() -> None:
    loss = golden(lambda: SubclusterAdaCosLoss(3, 3, subclusters=2), WS)
    s = loss.classifier.scale.item()
    for i, y in enumerate(Y.tolist()):
        z = Z[i].clone().requires_grad_()
        (grad,) = torch.autograd.grad(loss(z[None], Y[i : i + 1]), z)
        e, w = units(Z[i]), units(WS)
        p = (s * w @ e).softmax(dim=0)
        own = slice(2 * y, 2 * y + 2)
        r = p[own] / p[own].sum()
        free = s * (p @ w - r @ w[own])
        expected = (free - (free @ e) * e) / torch.linalg.vector_norm(Z[i])
        torch.testing.assert_close(grad, expected)


@pytest.mark.parametrize(
    ("name", "loss", "chord"),
    [
        ("C = 10, S = 1, frozen", 0.0036, 0.21),
        ("C = 100, S = 1, frozen", 0.049, 0.019),
        ("C = 10, S = 16, frozen", 0.072, 0.014),
        (MERGING, 0.057, 0.007),
    ],
)
def test_compactness_falls_with_the_loss(name: str, loss: float, chord: float) -> None:
    """To the figures of an independent run from other random numbers."""
    run = run_of(name)[:401]
    first, last = run[0], run[-1]
    assert last.loss == pytest.approx(loss, rel=0.25)
    assert last.compactness == pytest.approx(chord, abs=0.05)
    assert last.compactness < 0.12 * first.compactness
    assert last.loss < 0.05 * first.loss
    assert last.pull < 0.1 < first.pull
    assert all(b.loss < a.loss + 1e-12 for a, b in pairwise(run))


def test_classes_shrink_to_a_point_unless_they_have_frozen_sub_centres() -> None:
    one = run_of("C = 100, S = 1, frozen")[-1]
    frozen = run_of("C = 10, S = 16, frozen")[-1]
    assert one.spread < 1e-6
    assert frozen.spread > 1.5


def test_trained_sub_centres_merge_in_the_end_and_compactness_may_rise() -> None:
    run = run_of(MERGING)
    assert run[400].spread > 1.5
    assert run[-1].spread < 0.6
    later = [step.compactness for step in run[400:]]
    assert max(later) > 4 * later[0]
    assert run[-1].loss < 0.5 * run[400].loss


def test_centres_at_equal_angles_are_where_classes_rest() -> None:
    for classes in (2, 3, 10):
        for scale in (1.0, 8.0, 32.0):
            w = free_embeddings.simplex(classes)
            assert free_embeddings.tilt_degrees(w, scale) < 1e-6


@pytest.mark.parametrize(("scale", "expected"), [(1.0, 20.29), (8.0, 22.23), (32.0, 24.53)])
def test_other_centres_are_shunned(scale: float, expected: float) -> None:
    w = free_embeddings.random_centres(10)
    e = free_embeddings.resting_places(w, scale)
    drawn = free_embeddings.directions_of_least_loss(e, w, scale)
    torch.testing.assert_close(e, units(drawn))  # nowhere left to go on the sphere
    assert free_embeddings.tilt_degrees(w, scale) == pytest.approx(expected, abs=0.01)
    y = torch.arange(10)

    def at(x: Tensor) -> float:
        return margin_softmax_loss(x, w, y, scale=scale).item()

    generator = torch.Generator().manual_seed(1)
    for size in (1e-3, 0.1, 1.0):
        noise = torch.randn(e.shape, generator=generator, dtype=torch.float64)
        assert at(e) < at(units(e + size * noise))
    assert at(e) < at(w)


@pytest.mark.parametrize(
    ("dim", "scale", "stuck"), [(2, 8.0, True), (2, 1.0, False), (4, 8.0, False)]
)
def test_clips_opposite_to_their_centre_may_stay_in_as_few_dimensions_as_classes(
    dim: int, scale: float, stuck: bool
) -> None:
    """Three centres at equal angles: -c_y is a local minimum on the circle for s > 2."""
    angles = torch.arange(3, dtype=torch.float64) * (2 * math.pi / 3)
    w = torch.zeros(3, dim, dtype=torch.float64)
    w[:, 0], w[:, 1] = angles.cos(), angles.sin()
    start = -w[:1] + 0.05 * torch.tensor([[0.0, 1.0, 1.0, 1.0]], dtype=torch.float64)[:, :dim]
    e = free_embeddings.slide(start, w, torch.tensor([0]), scale)
    cosine = (e @ w[0]).item()
    assert cosine == pytest.approx(-1.0) if stuck else cosine > 0.5


# (b) No trivial solution for two classes or more.


def test_constants_cost_the_bound_at_least() -> None:
    assert constant_maps.bound(3) == pytest.approx(VALUES["trivial/lower_bound_C3_sm0"])
    assert constant_maps.bound(3, S * M) == pytest.approx(VALUES["trivial/lower_bound_C3_sm1.4"])
    assert constant_maps.bound(167) == pytest.approx(VALUES["trivial/lower_bound_C167_sm0"])
    random = np.random.default_rng(1)
    drawn = torch.from_numpy(random.standard_normal((2000, 3)))
    least = min(constant_maps.loss_of_constants(drawn, W, S, M))
    assert least == pytest.approx(VALUES["trivial/best_constant_found"], rel=1e-9)
    assert least >= constant_maps.bound(3, S * M) - 1e-9


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("margin", [0.0, M])
def test_no_search_beats_the_bound_and_separating_does(classes: int, margin: float) -> None:
    bound = constant_maps.bound(classes, 8.0 * margin)
    found = constant_maps.best_constant(even(classes), 8.0, margin)
    assert bound - 1e-9 <= found <= bound * (1 + 1e-4)  # and the bound is reached
    assert constant_maps.separated(classes, 8.0, margin) < 0.02 * bound


@pytest.mark.parametrize("name", escaping_losses())
def test_training_leaves_a_constant_start(name: str) -> None:
    run = constant_maps.escape(escaping_losses()[name](), "last layer")
    assert run.cosines[0] == pytest.approx(1.0, abs=1e-5)
    assert run.losses[0] > math.log(4)
    assert run.cosines[-1] < 0.3
    assert run.losses[-1] < 0.5 * math.log(4)


def test_compactness_alone_never_leaves_it() -> None:
    run = constant_maps.escape(OneClassCompactnessLoss(around="mean"), "last layer")
    assert run.losses == pytest.approx([0.0] * len(run.losses), abs=1e-6)
    assert run.cosines == pytest.approx([1.0] * len(run.cosines), abs=1e-5)


def test_zero_layers_are_a_saddle_that_no_loss_leaves() -> None:
    """Not the minimum, as the loss shows, but without a gradient on any weight."""
    run = constant_maps.escape(AdaCosLoss(4, 8), "all layers")
    assert run.cosines[-1] == pytest.approx(1.0, abs=1e-5)
    assert run.losses[-1] >= math.log(4) - 1e-5


@pytest.mark.parametrize("subclusters", [1, 4])
def test_one_class_teaches_nothing_and_is_refused(subclusters: int) -> None:
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    w = W[:1].float().repeat(subclusters, 1).requires_grad_()
    for labels in (torch.zeros(5, dtype=torch.long), torch.ones(5, 1)):
        loss = margin_softmax_loss(z, w, labels, scale=8.0, subclusters=subclusters)
        assert loss.item() == 0.0
        for grad in torch.autograd.grad(loss, [z, w]):
            assert not grad.any()
    with pytest.raises(UsageError, match="at least 2 classes, got 1"):
        SubclusterAdaCosLoss(1, 3, subclusters)


def test_adacos_of_two_classes_keeps_a_scale() -> None:
    """The formula gives 0, with which every embedding costs log 2."""
    assert math.sqrt(2) * math.log(2 - 1) == 0.0
    z = torch.randn(6, 3, dtype=torch.float64).requires_grad_()
    labels = torch.arange(6) % 2
    flat = margin_softmax_loss(z, W[:2], labels, scale=0.0)
    assert flat.item() == pytest.approx(math.log(2))
    assert not torch.autograd.grad(flat, z)[0].any()
    guarded = AdaCosLoss(2, 8)
    assert guarded.classifier.scale.item() == fixed_scale(2) == 0.5
    run = constant_maps.escape(guarded, "last layer", classes=2)
    assert run.cosines[-1] < 0.1
    assert run.losses[-1] == pytest.approx(constant_maps.separated(2, 0.5), abs=0.01)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_constants_cost_the_prior_entropy_only(share: float) -> None:
    shares = torch.tensor([share, 1.0 - share], dtype=torch.float64)
    entropy = constant_maps.prior_entropy(shares)
    found = constant_maps.best_constant(shares, 8.0, steps=1000)
    assert entropy - 1e-9 <= found <= entropy * 1.01
    assert (entropy < 0.1 * constant_maps.bound(2)) == (share == 0.99)


# (d) The scale that follows the batches.


@pytest.mark.parametrize("name", ["released", "safe"])
def test_scale_of_one_batch_again_and_again(name: str) -> None:
    trace = scale_rules.repeat_rule(scale_rules.RULES[name])
    assert trace == pytest.approx(VALUES[f"runaway/{name}_scale_trace"], rel=1e-9)


def test_released_rule_grows_by_what_the_largest_cosine_gives() -> None:
    cosines, _ = scale_rules.well_classified()
    clips, largest = len(cosines), cosines.max().item()
    trace = scale_rules.repeat_rule(scale_rules.RULES["released"], updates=12)
    for before, after in pairwise(trace):
        assert after >= math.sqrt(2) * (before * largest - math.log(clips))
    certain = scale_rules.growth_threshold(clips, largest)
    beyond = [s for s in trace if s > certain]
    assert len(beyond) > 2
    assert beyond == sorted(beyond)
    assert scale_rules.growth_threshold(60, 0.7) == math.inf


def test_mixup_hides_that_the_released_rule_runs_away() -> None:
    first = fixed_scale(40)
    released, safe = scale_rules.RULES["released"], scale_rules.RULES["safe"]
    alone = scale_rules.train_with(released, mixup=False)
    assert alone[-1] > 1e4
    assert len(alone) < 100
    hidden = scale_rules.train_with(released, mixup=True)
    assert len(hidden) == 301
    assert 1.5 * first < max(hidden[100:]) < 4 * first
    for mixup in (False, True):
        assert max(scale_rules.train_with(safe, mixup)) < 1.2 * first


# What the page is made with.


def test_tables_go_where_the_page_names_them() -> None:
    page = "a\n<!-- t -->\nold\n<!-- end -->\nb\n<!-- u -->\n<!-- end -->\n"
    text = table(["x", "y"], [["r", 0.00012345], ["s", 12.345]])
    assert text == "| x | y |\n| --- | --- |\n| r | 1.2·10⁻⁴ |\n| s | 12.3 |"
    filled = fill(page, {"t": text})
    assert filled == page.replace("old", f"\n{text}\n")
    assert fill(filled, {"t": text}) == filled
    with pytest.raises(ValueError, match="<!-- v -->' once, got 0"):
        fill(page, {"v": text})


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (2.835, "2.83"), (0.0704, "0.0704"), (166.0, "166"), (2e6, "2.0·10⁶")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_chart_is_drawn_with_its_labels_within_its_frame() -> None:
    lines = {"one": [(1.0, 0.01), (100.0, 1.0)], "two & more": [(0.0, 1.0), (10.0, 0.1)]}
    chart = line_chart("Title", Axis("steps", log=True), Axis("nats", log=True), lines)
    root = ET.fromstring(chart)
    texts = [node.text for node in root.iter() if node.tag.endswith("text")]
    assert {"Title", "steps", "nats", "one", "two & more", "100"} <= set(texts)
    drawn = [node.get("points") or "" for node in root.iter() if node.tag.endswith("polyline")]
    places = [[float(x) for x in p.split(",")] for line in drawn for p in line.split()]
    assert len(places) == 3  # what has no logarithm is left out
    assert all(0 <= x <= 640 and 0 <= y <= 380 for x, y in places)


def test_steps_report_what_they_say() -> None:
    """A clip on its centre, the other class at a right angle."""
    case = free_embeddings.Case(classes=2, subclusters=1, clips=2)
    w = torch.eye(2, dtype=torch.float64)
    z = w.repeat_interleave(2, dim=0)
    step = free_embeddings._measure(case, torch.tensor(0.5), z, w, torch.tensor([0, 0, 1, 1]))
    expected = Step(0.5, compactness=0.0, spread=0.0, pull=1 / (1 + math.exp(8.0)))
    assert step.compactness == pytest.approx(expected.compactness)
    assert step.pull == pytest.approx(expected.pull)
    turned = free_embeddings._measure(
        case, torch.tensor(0.5), w.repeat(2, 1), w, torch.arange(4) // 2
    )
    assert turned.spread == pytest.approx(2.0)
    assert turned.compactness == pytest.approx(1.0)
