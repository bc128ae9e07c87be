"""Angular margins: reference values, gradients on a centre, and very many classes in blocks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from angular_golden import SOFT, VALUES, WS, W, Y, Z, golden, one_hot, units
from torch import Tensor

from tonotopy._components import build
from tonotopy._errors import UsageError
from tonotopy.geometry import CosineHead, Head, SubspaceHead
from tonotopy.losses import (
    AdaCosLoss,
    AdaProjLoss,
    ArcFaceLoss,
    ClassifierLoss,
    CosFaceLoss,
    NormalizedSoftmaxLoss,
    SphereFaceLoss,
    SubclusterAdaCosLoss,
    _class_blocks,
)
from tonotopy.losses._angular_margins import arcface_cosine, sphereface_cosine
from tonotopy.losses.margin_softmax import margin_softmax_loss

CASES: dict[str, Callable[[], ClassifierLoss]] = {
    "softmax_cos_s30": lambda: NormalizedSoftmaxLoss(3, 3),
    "arcface_s30_m0.5": lambda: ArcFaceLoss(3, 3),
    "arcface_easy_s30_m0.5": lambda: ArcFaceLoss(3, 3, mode="easy"),
    "cosface_s30_m0.35": lambda: CosFaceLoss(3, 3),
    "sphereface_norm_s30_m4": lambda: SphereFaceLoss(3, 3),
    "arcface_s4_m0.5": lambda: ArcFaceLoss(3, 3, scale=4.0),
    "cosface_s4_m0.35": lambda: CosFaceLoss(3, 3, scale=4.0),
}

MARGIN_LOSSES: dict[str, Callable[[int, int], ClassifierLoss]] = {
    "softmax": NormalizedSoftmaxLoss,
    "sphereface": SphereFaceLoss,
    "cosface": CosFaceLoss,
    "arcface": ArcFaceLoss,
    "arcface-plain": lambda c, d: ArcFaceLoss(c, d, mode="plain"),
    "arcface-easy": lambda c, d: ArcFaceLoss(c, d, mode="easy"),
    "adacos": AdaCosLoss,
    "subcluster-adacos": SubclusterAdaCosLoss,
    "adaproj": lambda c, d: AdaProjLoss(c, d, subspace_dim=2),
}

every_loss = pytest.mark.parametrize("name", MARGIN_LOSSES)


@pytest.mark.parametrize("name", CASES)
def test_reference(name: str) -> None:
    loss = golden(CASES[name], W)
    values = VALUES[f"{name}/per_sample"]
    for i, expected in enumerate(values):
        assert loss(Z[i : i + 1], Y[i : i + 1]).item() == pytest.approx(expected, rel=1e-9)
    assert loss(Z, Y).item() == pytest.approx(VALUES[f"{name}/mean"], rel=1e-9)
    assert loss.float()(Z.float(), Y).item() == pytest.approx(VALUES[f"{name}/mean"], rel=1e-5)


@pytest.mark.parametrize("mode", ["plain", "guarded", "easy"])
def test_reference_beyond_pi(mode: Any) -> None:
    s = torch.tensor(-0.95, dtype=torch.float64)
    expected = VALUES[f"arc_target_at_cos=-0.95_{mode}"]
    assert arcface_cosine(s, 0.5, mode).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("form", "letter"), [("per_class", "A"), ("interpolated", "B")])
def test_reference_of_soft_labels(form: Any, letter: str) -> None:
    for name, make in (("arcface", ArcFaceLoss), ("cosface", CosFaceLoss)):
        loss = golden(lambda make=make: make(3, 3, scale=4.0, soft_labels=form), W)  # type: ignore[misc]
        expected = VALUES[f"{name}_soft_{letter}_s4/mean"]
        assert loss(Z, SOFT).item() == pytest.approx(expected, rel=1e-9)


@every_loss
def test_soft_rows_of_one_class_are_hard_labels(name: str) -> None:
    torch.manual_seed(0)
    loss = MARGIN_LOSSES[name](3, 6).double()
    z = torch.randn(5, 6, dtype=torch.float64)
    torch.testing.assert_close(loss(z, one_hot(Y, 3)), loss(z, Y), rtol=1e-10, atol=1e-12)


def test_per_class_soft_labels_are_the_mean_of_hard_ones() -> None:
    loss = golden(lambda: SphereFaceLoss(3, 3), W)
    for i, row in enumerate(SOFT):
        hard = torch.stack([loss(Z[i : i + 1], torch.tensor([c])) for c in range(3)])
        torch.testing.assert_close(loss(Z[i : i + 1], row[None]), (row * hard).sum())


def test_soft_labels_keep_the_digits_of_sure_clips() -> None:
    """The logit of the right class is 60 above the others, far beyond float32."""
    loss = ArcFaceLoss(3, 3, scale=60.0, margin=0.1)
    with torch.no_grad():
        loss.head.load_state_dict({"centres": torch.eye(3), "scale": torch.tensor(60.0)})
    z = torch.eye(3)[:1].requires_grad_()
    mixed = torch.tensor([[0.5, 0.5, 0.0]])
    value = loss(z, mixed)
    (grad,) = torch.autograd.grad(value, z)
    # Label 1: log(e^60 + 1) - 60 cos(pi / 2 + 0.1); label 0 costs nothing.
    assert value.item() == pytest.approx(0.5 * (60 + 60 * math.sin(0.1)), rel=1e-5)
    assert grad.isfinite().all()


def test_margin_is_on_the_right_class_only() -> None:
    """With one on all classes, a known defect, the CosFace margin would cancel."""
    for i in range(5):
        s = (units(Z[i]) @ units(W).T).tolist()
        others = [math.exp(4.0 * s[k]) for k in range(3) if k != Y[i]]
        own = 4.0 * (s[int(Y[i])] - 0.35)
        loss = golden(lambda: CosFaceLoss(3, 3, scale=4.0), W)
        value = loss(Z[i : i + 1], Y[i : i + 1]).item()
        assert value == pytest.approx(math.log1p(math.fsum(others) / math.exp(own)), rel=1e-12)


def test_gradient_is_attraction_and_repulsion() -> None:
    """It is s (sum_k p_k c_k - c_y) / ||z||, projected on the tangent plane."""
    z = Z.clone().requires_grad_()
    loss = golden(lambda: CosFaceLoss(3, 3, scale=4.0), W)
    (grad,) = torch.autograd.grad(loss(z, Y) * 5, z)
    logits = 4.0 * (units(Z) @ units(W).T - 0.35 * one_hot(Y, 3))
    free = 4.0 * (logits.softmax(dim=1) @ units(W) - units(W)[Y])
    torch.testing.assert_close(
        free[3].tolist(), VALUES["identity/grad_wrt_embedding_sample3"], rtol=1e-9, atol=1e-9
    )
    e = units(Z)
    tangent = free - (free * e).sum(dim=1, keepdim=True) * e
    torch.testing.assert_close(grad, tangent / Z.norm(dim=1, keepdim=True))


def test_gradient_is_that_of_the_printed_loss() -> None:
    """A margin applied behind the back of autograd, a known defect, fails this."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(6, 4, generator=generator, dtype=torch.float64).requires_grad_()
    w = torch.randn(3, 4, generator=generator, dtype=torch.float64).requires_grad_()
    labels = torch.tensor([0, 1, 2, 2, 1, 0])
    soft = torch.rand(6, 3, generator=generator, dtype=torch.float64).softmax(dim=1)

    for target in (labels, soft):
        for form in ("per_class", "interpolated"):

            def run(x: Tensor, c: Tensor, target: Tensor = target, form: Any = form) -> Tensor:
                return margin_softmax_loss(
                    x,
                    c,
                    target,
                    scale=8.0,
                    margin=lambda s: arcface_cosine(s, 0.5),
                    soft_labels=form,
                )

            assert torch.autograd.gradcheck(run, (z, w))


@pytest.mark.parametrize("margin", [0.0, 0.35])
def test_constant_embedding_never_beats_its_bound(margin: float) -> None:
    generator = torch.Generator().manual_seed(0)
    bound = VALUES["trivial/lower_bound_C3_sm1.4" if margin else "trivial/lower_bound_C3_sm0"]
    assert bound == pytest.approx(math.log(1 + 2 * math.exp(4 * margin)), rel=1e-9)
    loss = golden(lambda: CosFaceLoss(3, 3, scale=4.0, margin=margin), W)
    for _ in range(200):
        z = torch.randn(1, 3, generator=generator, dtype=torch.float64).expand(3, 3)
        assert loss(z, torch.arange(3)).item() >= bound - 1e-12


@every_loss
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_embedding_on_its_centre_has_a_finite_gradient(name: str, side: float) -> None:
    """sqrt(1 - s²) and arccos have infinite slopes there: the defect of several libraries."""
    torch.manual_seed(0)
    loss = MARGIN_LOSSES[name](200, 16)
    labels = torch.arange(200)
    own = loss.state_dict()["classifier.centres"].view(200, -1, 16)[:, 0]
    for z in (side * 3.0 * own, side * own / own.norm(dim=1, keepdim=True)):
        leaf = z.clone().requires_grad_()
        for target in (labels, one_hot(labels, 200).float()):
            value = loss(leaf, target)
            grads = torch.autograd.grad(200 * value, [leaf, *loss.parameters()])
            assert value.isfinite()
            assert all(grad.isfinite().all() for grad in grads)
            assert all(grad.norm(dim=1).max() < 1e3 for grad in grads)


def test_margins_near_a_centre_are_those_of_float64() -> None:
    theta = torch.logspace(-3, math.log10(math.pi), 50, dtype=torch.float64)
    s = theta.cos()
    plain = arcface_cosine(s.float(), 0.5, "plain").double()
    torch.testing.assert_close(plain, (theta + 0.5).cos(), rtol=0, atol=2e-4)
    exact = torch.tensor([1.0, -1.0, 1.0 + 1e-7])
    torch.testing.assert_close(
        arcface_cosine(exact, 0.5, "plain"), exact * math.cos(0.5), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("margin", [1, 2, 3, 4, 5])
def test_sphereface_falls_from_1_without_a_step(margin: int) -> None:
    s = torch.linspace(1, -1, 4001, dtype=torch.float64)
    psi = sphereface_cosine(s, margin)
    assert psi[0] == 1.0
    assert psi[-1] == pytest.approx(1.0 - 2.0 * margin)
    steps = psi.diff()
    assert (steps <= 1e-12).all()
    assert steps.abs().max() < 5e-4 * margin**2 * 1.01


def test_guarded_margin_falls_up_to_pi_and_plain_does_not() -> None:
    s = torch.linspace(1, -1, 4001, dtype=torch.float64)
    assert (arcface_cosine(s, 0.5).diff() < 0).all()
    assert (arcface_cosine(s, 0.5, "plain").diff() > 0).any()


def _run(
    z: Tensor, centres: Tensor, labels: Tensor, subclusters: int, margin: Any
) -> tuple[Tensor, list[Tensor]]:
    leaves = [z.clone().requires_grad_(), centres.clone().requires_grad_()]
    value = margin_softmax_loss(
        leaves[0], leaves[1], labels, scale=16.0, margin=margin, subclusters=subclusters
    )
    return value, list(torch.autograd.grad(value, leaves))


@pytest.mark.parametrize("subclusters", [1, 3])
@pytest.mark.parametrize("margin", [None, lambda s: arcface_cosine(s, 0.5)], ids=["none", "arc"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blocks_of_classes_equal_the_dense_form(
    monkeypatch: pytest.MonkeyPatch, subclusters: int, margin: Any, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(9, 8, generator=generator, dtype=torch.float64).to(dtype)
    centres = torch.randn(41 * subclusters, 8, generator=generator, dtype=torch.float64).to(dtype)
    labels = torch.tensor([0, 40, 7, -1, 7, 39, 1, 20, -1])
    dense = _run(z, centres, labels, subclusters, margin)
    monkeypatch.setattr(_class_blocks, "DENSE_ENTRIES", 0)
    for entries in (1, 9 * subclusters * 4, 10**6):  # classes one by one, four, all at once
        monkeypatch.setattr(_class_blocks, "BLOCK_ENTRIES", entries)
        torch.testing.assert_close(_run(z, centres, labels, subclusters, margin), dense)


def test_blocks_have_the_derivative_and_serve_frozen_centres(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_class_blocks, "DENSE_ENTRIES", 0)
    monkeypatch.setattr(_class_blocks, "BLOCK_ENTRIES", 20)
    z = torch.randn(5, 4, dtype=torch.float64).requires_grad_()
    w = torch.randn(14, 4, dtype=torch.float64).requires_grad_()
    labels = torch.tensor([0, 6, -1, 2, 2])

    def run(x: Tensor, c: Tensor) -> Tensor:
        return margin_softmax_loss(x, c, labels, scale=4.0, subclusters=2)

    assert torch.autograd.gradcheck(run, (z, w))
    assert torch.autograd.gradcheck(lambda x: run(x, w.detach()), (z,))


def test_no_tensor_of_clips_times_classes_lives_until_the_backward_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []

    def note(saved: Tensor) -> Tensor:
        sizes.append(saved.numel())
        return saved

    clips, classes, subclusters, dim = 64, 100, 4, 8
    loss = SubclusterAdaCosLoss(classes, dim, subclusters)
    z = torch.randn(clips, dim, requires_grad=True)
    labels = torch.randint(classes, (clips,))
    largest = []
    for entries in (2**26, 0):
        monkeypatch.setattr(_class_blocks, "DENSE_ENTRIES", entries)
        sizes.clear()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
            loss(z, labels)
        largest.append(max(sizes))
    assert largest[0] >= clips * classes * subclusters
    assert largest[1] <= classes * subclusters * dim


def test_blocks_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_class_blocks, "DENSE_ENTRIES", 0)
    monkeypatch.setattr(_class_blocks, "BLOCK_ENTRIES", 30)
    loss = ArcFaceLoss(7, 4)
    z = torch.randn(6, 4)
    labels = torch.tensor([0, 1, 2, 3, 6, -1])
    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(z, labels), loss(z, labels))


HEADS = [
    CosineHead(6, 3),
    CosineHead(6, 3, subclusters=4, scale=7.0, trainable=False),
    SubspaceHead(6, 3, subspace_dim=2),
]


@pytest.mark.parametrize("head", HEADS, ids=lambda head: type(head).__name__)
def test_head_is_rebuilt_from_its_component_and_state(head: Any) -> None:
    z = torch.randn(5, 6)
    head = build(head.component, Head, "tonotopy.geometry")
    head.scale.fill_(11.0)
    rebuilt = build(head.component, Head, "tonotopy.geometry")
    rebuilt.load_state_dict(head.state_dict())
    assert torch.equal(rebuilt(z), head(z))
    assert head(z).shape == (5, 3)
    half = rebuilt.bfloat16()
    assert half(z).dtype == torch.float32
    assert half(z.bfloat16()).isfinite().all()


def test_softmax_of_the_head_is_the_sum_over_sub_centres() -> None:
    loss = golden(lambda: SubclusterAdaCosLoss(3, 3, subclusters=2), WS)
    head = loss.classifier
    p = (head.scale * units(Z) @ units(WS).T).softmax(dim=1).view(5, 3, 2).sum(dim=2)
    torch.testing.assert_close(head(Z).softmax(dim=1), p)
    assert [name for name, _ in CosineHead(4, 3, trainable=False).named_parameters()] == []


@every_loss
def test_one_class_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="at least 2 classes"):
        MARGIN_LOSSES[name](1, 6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ArcFaceLoss(3, 4, margin=4.0), r"angle in \[0, pi\)"),
        (lambda: ArcFaceLoss(3, 4, mode="soft"), "mode must be one of"),  # type: ignore[arg-type]
        (lambda: CosFaceLoss(3, 4, margin=-0.1), "margin must be 0 or more"),
        (lambda: CosFaceLoss(3, 4, soft_labels="b"), "soft_labels must be"),  # type: ignore[arg-type]
        (lambda: SphereFaceLoss(3, 4, margin=0), "integer of at least 1"),
        (lambda: NormalizedSoftmaxLoss(3, 4, scale=0.0), "a scale above 0"),
        (lambda: CosineHead(4, 3, subclusters=0), "at least 1 vector"),
        (lambda: SubspaceHead(4, 3, subspace_dim=4), "below embedding_dim"),
        (lambda: ArcFaceLoss(3, 3)(Z, SOFT[:, :2]), r"soft targets must be \(B, 3\)"),
    ],
)
def test_wrong_use_is_named(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()
