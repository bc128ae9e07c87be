"""AdaCos, sub-cluster AdaCos and AdaProj: reference values, and the scale that follows batches."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from angular_golden import SOFT, VALUES, WS, W, Y, Z, golden, one_hot, tensor, units
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.geometry.angular_heads import projection_cosines
from tonotopy.losses import AdaCosLoss, AdaProjLoss, SubclusterAdaCosLoss
from tonotopy.losses._adaptive_scale import AdaptiveScaleLoss, fixed_scale, masked_median
from tonotopy.losses.adacos import adacos_scale
from tonotopy.losses.adaproj import released_projection_scale
from tonotopy.losses.subcluster_adacos import released_subcluster_scale

ONE = one_hot(Y, 3)


def subclusters(mode: Any = "fixed") -> SubclusterAdaCosLoss:
    return golden(lambda: SubclusterAdaCosLoss(3, 3, subclusters=2, scale_mode=mode), WS)


def adacos(dynamic: bool = False) -> AdaCosLoss:
    return golden(lambda: AdaCosLoss(3, 3, dynamic=dynamic), W)


DYNAMIC: dict[str, Callable[[], AdaptiveScaleLoss]] = {
    "adacos": lambda: AdaCosLoss(3, 4, dynamic=True),
    "subcluster-safe": lambda: SubclusterAdaCosLoss(3, 4, subclusters=2, scale_mode="safe"),
    "subcluster-published": lambda: SubclusterAdaCosLoss.published(3, 4, subclusters=2),
    "adaproj-safe": lambda: AdaProjLoss(3, 4, subspace_dim=2, scale_mode="safe"),
    "adaproj-published": lambda: AdaProjLoss.published(3, 4, subspace_dim=2),
}

every_dynamic = pytest.mark.parametrize("name", DYNAMIC)


def dynamic(name: str) -> AdaptiveScaleLoss:
    torch.manual_seed(0)
    return DYNAMIC[name]()


def test_fixed_scales_are_those_of_the_reference() -> None:
    for vectors, name in (
        (3, "adacos_fixed/scale"),
        (100, "adacos_fixed_C100/scale"),
        (167, "adacos_fixed_C167/scale"),
        (167 * 16, "scadacos_C167_S16/scale_0"),
        (6, "scadacos/scale_0"),
        (2, "adaproj/fixed_scale_C2(guarded)"),
    ):
        assert fixed_scale(vectors) == pytest.approx(VALUES[name], rel=1e-12)
    assert AdaCosLoss(2, 4).classifier.scale.item() == 0.5
    assert adacos().classifier.scale.item() == VALUES["adacos_fixed/scale"]


def test_fixed_reference() -> None:
    loss = adacos()
    for i, expected in enumerate(VALUES["adacos_fixed/per_sample"]):
        assert loss(Z[i : i + 1], Y[i : i + 1]).item() == pytest.approx(expected, rel=1e-9)
    expected = VALUES["adacos_fixed/mean"]
    assert loss(Z, Y).item() == pytest.approx(expected, rel=1e-9)
    assert loss.float()(Z.float(), Y).item() == pytest.approx(expected, rel=1e-5)


def test_dynamic_reference() -> None:
    loss = adacos(dynamic=True)
    for step in (1, 2):
        value = loss(Z, Y).item()
        assert value == pytest.approx(VALUES[f"adacos_dyn/mean_loss_{step}"], rel=1e-9)
        expected = VALUES[f"adacos_dyn/scale_{step}"]
        assert loss.classifier.scale.item() == pytest.approx(expected, rel=1e-9)
        assert loss.terms()["scale"].item() == pytest.approx(expected, rel=1e-9)


def test_subcluster_reference() -> None:
    loss = subclusters()
    p = loss.classifier(Z).softmax(dim=1)
    expected_p = torch.tensor(VALUES["scadacos/class_prob_s0"], dtype=torch.float64)
    torch.testing.assert_close(p, expected_p, rtol=1e-9, atol=0)
    for i, expected in enumerate(VALUES["scadacos/per_sample_hard_s0"]):
        assert loss(Z[i : i + 1], Y[i : i + 1]).item() == pytest.approx(expected, rel=1e-9)
    for labels, name in (
        (Y, "hard"),
        (SOFT, "soft"),
        (tensor("soft_labels_max_rule"), "soft_maxlabels"),
    ):
        expected = VALUES[f"scadacos/mean_{name}_s0"]
        assert loss(Z, labels).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("mode", ["released", "safe"])
@pytest.mark.parametrize(("labels", "form"), [(Y, "hard"), (SOFT, "soft")], ids=["hard", "soft"])
def test_subcluster_update_reference(mode: str, labels: Tensor, form: str) -> None:
    loss = subclusters(mode)
    value = loss(Z, labels).item()
    name = f"scadacos/{mode}_{form}"
    assert loss.classifier.scale.item() == pytest.approx(VALUES[f"{name}/scale_1"], rel=1e-9)
    assert value == pytest.approx(VALUES[f"{name}/mean_loss_1"], rel=1e-9)


def test_one_subcluster_is_adacos() -> None:
    one = golden(lambda: SubclusterAdaCosLoss(3, 3, subclusters=1, scale_mode="safe"), W)
    plain = adacos(dynamic=True)
    for labels in (Y, SOFT, Y):
        torch.testing.assert_close(one(Z, labels), plain(Z, labels), rtol=1e-14, atol=0)
        torch.testing.assert_close(one.classifier.scale, plain.classifier.scale, rtol=1e-14, atol=0)


def _well_classified() -> tuple[Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(0)
    w = units(torch.from_numpy(rng.standard_normal((80, 64))))
    y = torch.arange(20).repeat_interleave(3)
    return w[4 * y] + 0.05 * torch.from_numpy(rng.standard_normal((60, 64))), w, y


def test_scale_runs_away_by_the_released_rule_only() -> None:
    z, w, y = _well_classified()
    cosines = (units(units(z)) @ w.T).view(-1, 20, 4)
    for rule, name in ((released_subcluster_scale, "released"), (adacos_scale, "safe")):
        trace = [torch.tensor(fixed_scale(80), dtype=torch.float64)]
        for _ in range(6):
            trace.append(rule(cosines, one_hot(y, 20), trace[-1]))
        expected = torch.tensor(VALUES[f"runaway/{name}_scale_trace"], dtype=torch.float64)
        torch.testing.assert_close(torch.stack(trace), expected, rtol=1e-9, atol=0)


def test_runaway_scale_is_stopped_with_one_warning() -> None:
    z, w, y = _well_classified()
    loss = golden(lambda: SubclusterAdaCosLoss(20, 64, 4, scale_mode="released"), w)
    for _ in range(4):
        loss(z, y)
    with pytest.warns(UserWarning, match=r"within \[0.5, 24.7\], but the batch asks for 25.7"):
        loss(z, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(z, y)
    assert loss.classifier.scale.item() == pytest.approx(4 * fixed_scale(80))
    safe = golden(lambda: SubclusterAdaCosLoss(20, 64, 4, scale_mode="safe"), w)
    for _ in range(20):
        safe(z, y)
    assert safe.classifier.scale.item() == pytest.approx(4.8322, rel=1e-3)


def test_collapsing_scale_is_stopped() -> None:
    """With two classes and the embedding right, log of e^(scale · -1) would turn it negative."""
    loss = AdaCosLoss(2, 2, dynamic=True)
    with torch.no_grad():
        loss.classifier.load_state_dict({"centres": torch.eye(2), "scale": torch.tensor(0.5)})
    with pytest.warns(UserWarning, match="keeps its scale"):
        loss(torch.tensor([[1.0, -1.0]]), torch.tensor([0]))
    assert loss.classifier.scale.item() == 0.5


def test_scales_and_labels_are_class_major() -> None:
    """Labels tiled over class-major centres, a known defect, would pick others' angles."""
    centres = torch.eye(6, dtype=torch.float64)
    loss = golden(lambda: SubclusterAdaCosLoss(3, 6, subclusters=2), centres)
    predicted = loss.classifier(centres).argmax(dim=1)
    assert predicted.tolist() == [0, 0, 1, 1, 2, 2]
    cosines = loss.classifier.cosines(centres[[2]])  # on a centre of class 1
    on = adacos_scale(cosines, one_hot(torch.tensor([1]), 3), torch.tensor(1.0))
    off = adacos_scale(cosines, one_hot(torch.tensor([0]), 3), torch.tensor(1.0))
    assert on.item() == pytest.approx(math.log(4))  # the angle is 0, the others at 90 degrees
    assert off.item() == pytest.approx(math.sqrt(2) * math.log(3 + math.e))
    values = [loss(centres[[2]], torch.tensor([c])).item() for c in range(3)]
    s = loss.classifier.scale.item()
    total = math.log(math.exp(s) + 5)
    expected = [total - math.log(2), total - math.log(math.exp(s) + 1), total - math.log(2)]
    assert values == pytest.approx(expected)


@pytest.mark.parametrize("soft", [False, True])
def test_large_scale_is_finite(soft: bool) -> None:
    """The logarithm of a sum of probabilities, a known defect, is NaN here."""
    torch.manual_seed(0)
    loss = SubclusterAdaCosLoss(300, 32, subclusters=16)
    loss.classifier.scale.fill_(120.0)
    labels = torch.arange(64)
    z = (3.0 * loss.state_dict()["classifier.centres"][16 * 7 :][:64]).requires_grad_()
    value = loss(z, one_hot(labels, 300).float() if soft else labels)
    grads = torch.autograd.grad(value, [z, *loss.parameters()])
    assert value.item() > 50
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize(
    ("count", "expected"), [(0, math.inf), (1, 3.0), (2, 2.0), (3, 3.0), (4, 4.0), (5, 5.0)]
)
def test_median_is_the_mean_of_the_two_middle_ones(count: int, expected: float) -> None:
    values = torch.tensor([3.0, 1.0, 7.0, 5.0, 8.0, 100.0, -100.0])
    chosen = torch.arange(7) < count
    assert masked_median(values, chosen).item() == expected


def test_median_reference() -> None:
    angles = torch.tensor(VALUES["median4/sorted"], dtype=torch.float64).flip(0)
    median = masked_median(angles, torch.ones(4, dtype=torch.bool)).item()
    assert median == pytest.approx(VALUES["median4/mean(numpy)"], rel=1e-12)


@every_dynamic
def test_ignored_clips_do_not_enter_the_statistics(name: str) -> None:
    z = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, -1, 1, 2, -1, 2, 0, -1])
    known = labels >= 0
    scales = []
    for rows, targets in (
        (z, labels),
        (z[known], labels[known]),
        (z, one_hot(labels.clamp_min(0), 3).float() * known[:, None]),
    ):
        loss = dynamic(name)
        loss(rows, targets)
        scales.append(loss.classifier.scale.item())
    assert scales[0] != dynamic(name).classifier.scale.item()
    assert scales == pytest.approx([scales[0]] * 3, rel=1e-6)


@every_dynamic
def test_scale_changes_in_training_only_and_without_gradient(name: str) -> None:
    loss = dynamic(name)
    first = loss.classifier.scale.item()
    z = torch.randn(6, 4).requires_grad_()
    labels = torch.tensor([0, 1, 2, 2, 1, 0])
    loss.eval()(z, labels)
    assert loss.classifier.scale.item() == first
    value = loss.train()(z, labels)
    changed = loss.classifier.scale.item()
    assert changed != first
    assert not loss.classifier.scale.requires_grad
    (grad,) = torch.autograd.grad(value, z)
    (with_fixed,) = torch.autograd.grad(loss.eval()(z, labels), z)
    assert torch.equal(grad, with_fixed)  # what a constant scale of this size gives


@every_dynamic
@pytest.mark.filterwarnings("ignore:.*keeps its scale")
def test_scale_is_restored_from_a_checkpoint(name: str) -> None:
    loss, other = dynamic(name), dynamic(name)
    z, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 2, 1, 0])
    for _ in range(3):
        loss(z, labels)
    other.load_state_dict(loss.state_dict())
    assert torch.equal(other.classifier.scale, loss.classifier.scale)
    assert torch.equal(other(z, labels), loss(z, labels))
    assert torch.equal(copy.deepcopy(other)(z, labels), loss(z, labels))


@every_dynamic
def test_batches_with_nothing_to_judge_keep_the_scale(name: str) -> None:
    loss = dynamic(name)
    first = loss.classifier.scale.item()
    for z, labels in (
        (torch.randn(3, 4), torch.tensor([-1, -1, -1])),
        (torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)),
        (torch.randn(2, 4), torch.zeros(2, 3)),
    ):
        assert loss(z.requires_grad_(), labels).item() == 0.0
        assert loss.classifier.scale.item() == first


@every_dynamic
@pytest.mark.filterwarnings("ignore:.*keeps its scale")
def test_degenerate_batches_keep_the_scale_finite(name: str) -> None:
    loss = dynamic(name)
    for z, labels in (
        (torch.zeros(3, 4), torch.tensor([0, 1, 2])),
        (torch.ones(1, 4), torch.tensor([1])),
        (torch.ones(5, 4), torch.tensor([0, 1, 2, 2, -1])),
        (1e15 * torch.eye(4)[:3], torch.tensor([0, 1, 2])),
    ):
        value = loss(z.requires_grad_(), labels)
        torch.autograd.backward(value)
        assert value.isfinite()
        assert 0.5 <= loss.classifier.scale.item() < 40.0


@every_dynamic
@pytest.mark.filterwarnings("ignore:.*keeps its scale")
def test_two_batches_may_wait_for_one_backward_pass(name: str) -> None:
    loss = dynamic(name)
    z = torch.randn(6, 4).requires_grad_()
    labels = torch.tensor([0, 1, 2, 2, 1, 0])
    torch.autograd.backward(loss(z, labels) + loss(z * 2, labels))
    assert z.grad is not None


@every_dynamic
def test_update_compiles(name: str) -> None:
    loss = dynamic(name)
    z, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 2, -1, 0])
    torch.compiler.reset()
    compiled = torch.compile(copy.deepcopy(loss), fullgraph=True, backend="aot_eager")
    for _ in range(2):
        torch.testing.assert_close(compiled(z, labels), loss(z, labels))


def test_adaproj_reference() -> None:
    u = units(tensor("adaproj_embedding"))[None]
    bases = units(tensor("adaproj_bases"))
    expected = VALUES["adaproj/cos_released(non-orthogonal basis)"]
    assert projection_cosines(u, bases)[0].tolist() == pytest.approx(expected, rel=1e-9)
    orthonormal = torch.linalg.qr(bases.mT).Q.mT
    expected = VALUES["adaproj/cos_true_projection(QR basis)"]
    assert projection_cosines(u, orthonormal)[0].tolist() == pytest.approx(expected, rel=1e-9)
    head = golden(lambda: AdaProjLoss(2, 3, subspace_dim=2), bases.flatten(0, 1)).head
    expected = [0.5 * s for s in VALUES["adaproj/cos_released(non-orthogonal basis)"]]
    assert head(tensor("adaproj_embedding")[None])[0].tolist() == pytest.approx(expected, rel=1e-9)


def test_adaproj_lets_a_class_spread_over_its_subspace() -> None:
    centres = torch.eye(4, dtype=torch.float64)
    loss = golden(lambda: AdaProjLoss(2, 4, subspace_dim=2), centres)
    angles = torch.linspace(0, 2 * math.pi, 9, dtype=torch.float64)
    z = torch.stack([angles.cos(), angles.sin(), 0 * angles, 0 * angles], dim=1)
    values = torch.stack([loss(row[None], torch.tensor([0])) for row in z])
    torch.testing.assert_close(values, values[:1].expand(9))


def test_adaproj_updates_by_their_formulas() -> None:
    generator = torch.Generator().manual_seed(0)
    s = 2 * torch.rand(3, 3, 1, generator=generator, dtype=torch.float64) - 1
    q = torch.tensor([[0.0, 1.0, 0.0], [0.3, 0.7, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    c = s.squeeze(2).tolist()
    scale = 3.0
    row0 = [math.exp(scale * c[0][0]), 1.0, math.exp(scale * c[0][2])]
    row1 = [math.exp(scale * value) for value in c[1]]
    angle = (math.acos(c[0][1]) + 0.3 * math.acos(c[1][0]) + 0.7 * math.acos(c[1][1])) / 2
    mass = (math.fsum(row0) + math.fsum(row1)) / 2
    expected = math.log(mass) / math.cos(min(math.pi / 4, angle))
    released = released_projection_scale(s, q, torch.tensor(scale, dtype=torch.float64))
    assert released.item() == pytest.approx(expected, rel=1e-12)


def test_adaproj_stores_no_vector_of_every_clip_and_class() -> None:
    sizes: list[int] = []

    def note(saved: Tensor) -> Tensor:
        sizes.append(saved.numel())
        return saved

    clips, classes, rank, dim = 64, 50, 4, 32
    loss = AdaProjLoss(classes, dim, subspace_dim=rank)
    z = torch.randn(clips, dim, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
        loss(z, torch.randint(classes, (clips,)))
    assert max(sizes) <= clips * classes * rank < clips * classes * dim


def test_published_forms() -> None:
    sub = SubclusterAdaCosLoss.published(10, 8)
    assert (sub.scale_mode, sub.classifier.subclusters) == ("released", 16)
    assert list(sub.parameters()) == []
    assert sub.classifier.scale.item() == pytest.approx(math.sqrt(2) * math.log(159))
    projection = AdaProjLoss.published(10, 32)
    assert projection.scale_mode == "released"
    assert list(projection.parameters()) == []
    assert projection.classifier.scale.item() == pytest.approx(math.sqrt(2) * math.log(159))
    assert AdaProjLoss(10, 32).classifier.scale.item() == pytest.approx(fixed_scale(10))
    assert AdaCosLoss.published(10, 8).kind == "batch"
    assert AdaCosLoss(10, 8).kind == "sample"


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(UsageError, match="scale_mode must be one of"):
        SubclusterAdaCosLoss(3, 4, scale_mode="dynamic")  # type: ignore[arg-type]
