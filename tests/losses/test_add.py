"""The ADD loss: reference values, its closed form, soft targets, and what its options do."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from add_golden import GOLDEN, SOFT, Y, Z
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.geometry import unit_vectors
from tonotopy.losses import AngularDistanceDistributionLoss, _add_moments
from tonotopy.losses._add_moments import (
    BatchMoments,
    Pooling,
    SideMoments,
    closed_form_moments,
    pairwise_moments,
    weighted_moments,
)
from tonotopy.losses._add_soft import soft_gram_loss, soft_gram_loss_low_rank
from tonotopy.losses.add import moments_loss

ADD = AngularDistanceDistributionLoss
DISTANCES = {"cos": "cosine", "rad": "angle", "quad": "angle_quad"}


def exactly(value: float) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-12)


both_poolings = pytest.mark.parametrize("pooling", ["pooled", "macro"])


def gradient(loss: Tensor, at: Tensor) -> Tensor:
    return torch.autograd.grad(loss, at)[0]


def wide(z: Tensor) -> Tensor:
    """The same angles in more dimensions than clips, where pairs are taken one by one."""
    return F.pad(z, (0, 8))


@pytest.mark.parametrize("embed", [torch.clone, wide], ids=["class moments", "pairs"])
@pytest.mark.parametrize("divisor", ["bessel", "pop"])
@pytest.mark.parametrize("kind", DISTANCES)
def test_moments_reference(kind: str, divisor: str, embed: Any) -> None:
    expected = GOLDEN[f"add4_{kind}_{divisor}"]
    loss = ADD(
        distance=DISTANCES[kind],  # type: ignore[arg-type]  # a literal, looked up
        spread="std",
        divisor="ordered" if divisor == "bessel" else "population",
    )
    assert loss(embed(Z), Y).item() == exactly(expected["total"])
    names = {"intra": "pos", "inter": "neg"}
    for side, old in names.items():
        for term, symbol in (("mean", "mu"), ("std", "sd"), ("pairs", "n")):
            value = loss.terms()[f"{side}_{term}"].item()
            assert value == exactly(expected[f"{symbol}_{old}"])


@pytest.mark.parametrize("digits", ["1000", "0100", "0010", "0001", "1010", "0101"])
def test_weights_reference(digits: str) -> None:
    a, b, c, d = map(float, digits)
    loss = ADD(spread="std", divisor="ordered", weights=(a, b, c, d))
    assert loss(Z, Y).item() == exactly(GOLDEN[f"add4_cos_bessel_lam_{digits}"])


@pytest.mark.parametrize("embed", [torch.clone, wide], ids=["class moments", "pairs"])
@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("grad_add4_cos_bessel", ADD.published(form="moments")),
        ("grad_add4_quad_pop", ADD(distance="angle_quad", spread="std")),
        ("grad_gram_match_hard", ADD.published(form="gram")),
    ],
)
def test_gradient_reference(name: str, loss: ADD, embed: Any) -> None:
    z = Z.clone().requires_grad_()
    expected = torch.tensor(GOLDEN[name], dtype=torch.float64)
    torch.testing.assert_close(gradient(loss(embed(z), Y), z), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("embed", [torch.clone, wide], ids=["class moments", "pairs"])
@pytest.mark.parametrize(("labels", "name"), [(Y, "hard"), (SOFT, "soft")], ids=["hard", "soft"])
def test_gram_reference(labels: Tensor, name: str, embed: Any) -> None:
    loss = ADD.published(form="gram")
    assert loss(embed(Z), labels).item() == exactly(GOLDEN[f"gram_match_{name}"])


@pytest.mark.parametrize(
    ("name", "rows", "labels"),
    [
        ("edge_all_distinct_labels", [0, 1, 2, 3], [0, 1, 2, 3]),
        ("edge_single_class", [0, 1, 2, 3], [0, 0, 0, 0]),
        ("edge_one_positive_pair", [0, 1, 3, 5], [0, 0, 1, 2]),
    ],
)
def test_edge_reference(name: str, rows: list[int], labels: list[int]) -> None:
    loss = ADD.published()
    value = loss(Z[rows], torch.tensor(labels))
    assert value.item() == exactly(GOLDEN[name]["total"])


@pytest.mark.parametrize("kind", ["cos", "quad"])
def test_macro_moments_are_those_of_the_reference_cells(kind: str) -> None:
    mean = torch.tensor(GOLDEN[f"class_{kind}_mean"], dtype=torch.float64)
    variance = torch.tensor(GOLDEN[f"class_{kind}_sd_pop"], dtype=torch.float64).square()
    loss = ADD(distance=DISTANCES[kind], pooling="macro")  # type: ignore[arg-type]  # looked up
    loss(Z, Y)
    same = torch.eye(4, dtype=torch.bool)
    for side, cells in (("intra", same), ("inter", ~same)):
        cells = cells & ~mean.isnan()
        spread = variance[cells].mean() + mean[cells].var(correction=0)
        assert loss.terms()[f"{side}_mean"].item() == exactly(mean[cells].mean().item())
        assert loss.terms()[f"{side}_std"].item() == exactly(spread.sqrt().item())
    assert loss.terms()["intra_mean"] == pytest.approx(GOLDEN[f"macro_{kind}"]["intra_mean"])


@both_poolings
@pytest.mark.parametrize("case", ["plain", "zero rows", "all of one class", "no two of a class"])
def test_closed_form_agrees_with_pairs(pooling: Pooling, case: str) -> None:
    generator = torch.Generator().manual_seed(4)
    z = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(-1, 5, (40,), generator=generator)
    labels[0] = 7  # a class of one clip
    if case == "zero rows":
        z[::3] = 0.0
    if case == "all of one class":
        labels[:] = 2
    if case == "no two of a class":
        labels = torch.arange(40)
    u = unit_vectors(z).requires_grad_()
    ours = closed_form_moments(u, labels, pooling=pooling)
    pairs = pairwise_moments(u, labels, distance="cosine", pooling=pooling)
    for got, expected in zip(flat(ours), flat(pairs), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-13)

    leaf = z.clone().requires_grad_()
    loss = moments_loss(closed_form_moments(unit_vectors(leaf), labels, pooling=pooling), targets=T)
    other = moments_loss(
        pairwise_moments(unit_vectors(leaf), labels, distance="cosine", pooling=pooling), targets=T
    )
    torch.testing.assert_close(gradient(loss, leaf), gradient(other, leaf), rtol=1e-8, atol=1e-10)


T = (0.0, 1.0)


def flat(moments: BatchMoments) -> list[Tensor]:
    return [value for side in moments for value in side]


@both_poolings
def test_cheaper_form_is_taken(pooling: Pooling, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    for name in ("closed_form_moments", "pairwise_moments"):
        form = getattr(_add_moments, name)

        def record(*args: Any, form: Any = form, name: str = name, **kwargs: Any) -> BatchMoments:
            taken.append(name)
            moments: BatchMoments = form(*args, **kwargs)
            return moments

        monkeypatch.setattr(_add_moments, name, record)
    copies = 1 + _add_moments.SMALL_BATCH // len(Z)
    many, labels = Z.repeat(copies, 1), Y.repeat(copies)
    ADD(pooling=pooling)(many, labels)
    ADD(pooling=pooling)(Z, Y)
    ADD(pooling=pooling)(torch.cat([many] * len(many), dim=1), labels)
    ADD(pooling=pooling, distance="angle")(many, labels)
    assert taken == ["closed_form_moments"] + ["pairwise_moments"] * 3


@pytest.mark.parametrize("noise", [1e-1, 1e-2, 1e-3])
def test_closed_form_keeps_its_digits_at_collapse(noise: float) -> None:
    generator = torch.Generator().manual_seed(5)
    centres = torch.randn(10, 64, generator=generator).repeat_interleave(20, dim=0)
    z = unit_vectors(centres) + noise / 8 * torch.randn(200, 64, generator=generator)
    labels = torch.arange(10).repeat_interleave(20)
    single = closed_form_moments(unit_vectors(z), labels, pooling="pooled").intra
    double = pairwise_moments(
        unit_vectors(z.double()), labels, distance="cosine", pooling="pooled"
    ).intra
    assert single.mean.item() == pytest.approx(double.mean.item(), rel=1e-5)
    assert single.variance.sqrt().item() == pytest.approx(double.variance.sqrt().item(), rel=1e-3)


@pytest.mark.parametrize("form", ["moments", "gram"])
@pytest.mark.parametrize("distance", DISTANCES.values())
@pytest.mark.parametrize("dim", [4, 16])
def test_orthonormal_classes_are_the_optimum(form: Any, distance: Any, dim: int) -> None:
    z = torch.eye(4, dim, dtype=torch.float64)[Y] * torch.arange(1, 9)[:, None]
    assert ADD(form=form, distance=distance)(z, Y).item() == pytest.approx(0.0, abs=1e-12)


def test_simplex_is_the_optimum_of_its_own_target() -> None:
    simplex = torch.eye(4, dtype=torch.float64) - 0.25
    loss = ADD(inter_target=4 / 3)
    assert loss(simplex[Y], Y).item() == pytest.approx(0.0, abs=1e-12)
    assert ADD()(simplex[Y], Y).item() > 0.1


def test_targets_shift_the_gram_form_for_ids_and_soft_rows_alike() -> None:
    one_hot = F.one_hot(Y, 4).double()
    loss = ADD(form="gram", intra_target=0.1, inter_target=1.2)
    values = [loss(z, labels).item() for z in (Z, wide(Z)) for labels in (Y, one_hot)]
    assert values == pytest.approx([values[0]] * 4, rel=1e-12)
    assert values[0] != pytest.approx(ADD(form="gram")(Z, Y).item(), rel=1e-3)


@pytest.mark.parametrize("targets", [(0.0, 1.0), (0.1, 1.3)])
def test_low_rank_soft_form_agrees_with_pairs(targets: tuple[float, float]) -> None:
    generator = torch.Generator().manual_seed(6)
    z = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    q = torch.rand(30, 3, generator=generator, dtype=torch.float64)
    q = q / q.sum(dim=1, keepdim=True)
    z[3], q[5] = 0.0, 0.0
    leaf = z.requires_grad_()
    low = soft_gram_loss_low_rank(unit_vectors(leaf), q, targets=targets)
    full, _ = soft_gram_loss(
        unit_vectors(leaf), q, distance="cosine", targets=targets, balanced=False
    )
    torch.testing.assert_close(low, full, rtol=1e-11, atol=0)
    torch.testing.assert_close(gradient(low, leaf), gradient(full, leaf), rtol=1e-8, atol=1e-10)
    loss = ADD(form="gram", intra_target=targets[0], inter_target=targets[1])
    torch.testing.assert_close(loss(z, q), full)


def test_balanced_gram_of_class_ids_is_the_variance_form() -> None:
    torch.testing.assert_close(ADD(form="gram", balanced=True)(Z, Y), ADD()(Z, Y))


def test_variance_never_pushes_a_pair_of_a_class_apart_and_deviation_does() -> None:
    d = torch.tensor([0.01, 0.3, 0.3, 0.4], dtype=torch.float64, requires_grad=True)
    zero = torch.zeros((), dtype=torch.float64)
    side = SideMoments(*weighted_moments(d, torch.ones_like(d)), torch.tensor(4.0))
    moments = BatchMoments(side, SideMoments(zero, zero, zero))
    by_variance = gradient(moments_loss(moments, targets=T, spread="var"), d)
    side = SideMoments(*weighted_moments(d, torch.ones_like(d)), torch.tensor(4.0))
    moments = BatchMoments(side, SideMoments(zero, zero, zero))
    by_deviation = gradient(moments_loss(moments, targets=T, spread="std"), d)
    assert (by_variance >= 0).all()
    assert by_deviation[0] < 0


def test_macro_counts_rare_classes_as_much_as_common_ones() -> None:
    torch.manual_seed(0)
    spreads = torch.tensor([0.05, 1.0], dtype=torch.float64)
    labels = torch.tensor([0] * 200 + [1] * 20)
    z = torch.eye(2, 32, dtype=torch.float64)[labels]
    z = z + spreads[labels][:, None] * torch.randn(220, 32, dtype=torch.float64) / math.sqrt(32)
    pooled, macro = ADD(), ADD(pooling="macro")
    pooled(z, labels)
    macro(z, labels)
    assert pooled.terms()["intra_mean"] < 0.02
    assert macro.terms()["intra_mean"] > 0.2


def test_moments_form_warns_once_about_soft_targets() -> None:
    loss = ADD()
    with pytest.warns(UserWarning, match="largest class"):
        value = loss(Z, SOFT)
    expected = loss(Z, SOFT.argmax(dim=1))  # and no second warning: it would be an error
    torch.testing.assert_close(loss(Z, SOFT), value)
    torch.testing.assert_close(expected, value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "grams"}, "form must be one of 'moments', 'gram', got 'grams'"),
        ({"distance": "euclid"}, "distance must be one of"),
        ({"spread": "cv"}, "spread must be one of"),
        ({"pooling": "mean"}, "pooling must be one of"),
        ({"divisor": "n"}, "divisor must be one of"),
        ({"weights": (1.0, 1.0)}, "weights must be four numbers"),
        ({"weights": (1.0, -1.0, 1.0, 1.0)}, "weights must be 0 or more"),
        ({"form": "gram", "spread": "std"}, "belong to form='moments'"),
        ({"balanced": True}, "belongs to form='gram'"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ADD(**options)


def test_macro_refuses_soft_targets() -> None:
    with pytest.raises(UsageError, match="pooling='pooled'"):
        ADD(form="gram", pooling="macro")(Z, SOFT)
