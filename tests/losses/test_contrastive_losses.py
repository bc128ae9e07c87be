"""Contrastive losses: reference values and gradients, what options do, what must not happen."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.labels import LabelTree, PairRelations
from tonotopy.losses import (
    AlignmentUniformityLoss,
    AngularContrastiveLoss,
    AngularMarginContrastiveLoss,
    HiMulConLoss,
    Loss,
    NTXentLoss,
    SupConLoss,
    angular_contrastive_loss,
)
from tonotopy.losses.angular_margin_contrastive import angle_sums

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden" / "contrastive.json").read_text(encoding="utf-8")
)
VALUES: dict[str, Any] = GOLDEN["values"]
H = torch.tensor(GOLDEN["views"]["h"], dtype=torch.float64)
Z = torch.tensor(GOLDEN["views"]["z"], dtype=torch.float64)
CLIPS = torch.tensor(GOLDEN["views"]["clips"])
X = torch.tensor(GOLDEN["classes"]["embeddings"], dtype=torch.float64)
Y = torch.tensor(GOLDEN["classes"]["labels"])

LEAVES = [("f0", "i0", "t0"), ("f0", "i0", "t1"), ("f0", "i1", "t2")]
LEAVES += [("f1", "i2", "t3"), ("f1", "i2", "t4"), ("f1", "i3", "t5")]
CODES = LabelTree.from_paths(LEAVES).encode([leaf for leaf in LEAVES for _ in range(2)])
T = torch.tensor(GOLDEN["tree_embeddings"], dtype=torch.float64)

AMC = AngularMarginContrastiveLoss


def exactly(value: Any) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-12)


def gradient(loss: Loss, z: Tensor, labels: Tensor) -> Tensor:
    leaf = z.clone().requires_grad_()
    return torch.autograd.grad(loss(leaf, labels), leaf)[0]


@pytest.mark.parametrize(
    ("loss", "z", "reference"),
    [
        (NTXentLoss(), Z, "ntxent"),
        (SupConLoss(0.2), Z, "ntxent"),
        (AMC.published(), H, "amc_code"),
        (AMC(reduction="mean_all"), H, "amc_mean_all"),
        (AMC(weights=(1.0, 1.0)), H, "amc_mean_split"),
        (AMC.published(), Z, "amc_code_on_z"),
    ],
)
def test_two_views_agree_with_reference_values(loss: Loss, z: Tensor, reference: str) -> None:
    assert loss(z, CLIPS).item() == exactly(VALUES[reference])


def test_classes_agree_with_reference_values() -> None:
    assert AMC.published("supervised")(X, Y).item() == exactly(VALUES["sup_amc_code"])
    sums = angle_sums(X / X.norm(dim=1, keepdim=True), PairRelations.from_labels(Y), margin=0.5)
    parts = (sums.pull, sums.push, sums.same, sums.different, sums.active)
    names = ("pos_sum", "neg_sum", "n_pos", "n_neg", "n_active")
    for part, name in zip(parts, names, strict=True):
        assert part.item() == exactly(VALUES[f"sup_{name}"])


def test_one_row_of_ntxent_agrees_with_reference_values() -> None:
    for row, expected in enumerate(VALUES["ntxent_rows"]):
        levels = PairRelations.from_labels(CLIPS).bounds()[0]
        apart = torch.arange(6) != row
        levels[apart] = levels[apart].clamp_max(0)  # nobody else has a positive
        alone = PairRelations.from_levels(levels, 1)
        assert NTXentLoss()(Z, alone).item() == exactly(expected)


@pytest.mark.parametrize(
    ("options", "reference"),
    [
        ({"reduction": "published"}, "acl_code"),
        ({"reduction": "mean_all"}, "acl_mean_all"),
        ({"weights": (1.0, 1.0)}, "acl_mean_split"),
    ],
)
def test_angular_contrast_agrees_with_reference_values(
    options: dict[str, Any], reference: str
) -> None:
    value, terms = angular_contrastive_loss(H, Z, PairRelations.from_labels(CLIPS), **options)
    assert value.item() == exactly(VALUES[reference])
    assert terms["contrastive"].item() == exactly(VALUES["ntxent"])
    assert terms["active"].item() == exactly(VALUES["amc_n_active"] / VALUES["amc_n_neg"])


def test_gradients_of_angular_contrast_agree_with_reference_values() -> None:
    h, z = H.clone().requires_grad_(), Z.clone().requires_grad_()
    relations = PairRelations.from_labels(CLIPS)
    value, _ = angular_contrastive_loss(h, z, relations, reduction="published")
    grads = dict(zip("hz", torch.autograd.grad(value, (h, z)), strict=True))
    for name, grad in grads.items():
        assert grad[0].tolist() == exactly(VALUES[f"grad_{name}_row0"])
        assert grad.norm().item() == exactly(VALUES[f"grad_{name}_norm"])
        expected = torch.tensor(VALUES[f"grad_{name}"], dtype=torch.float64)
        torch.testing.assert_close(grad, expected, rtol=1e-9, atol=1e-12)


def test_the_default_weights_are_the_published_sums_of_128_clips() -> None:
    generator = torch.Generator().manual_seed(0)
    centre = torch.ones(1, 16, dtype=torch.float64)
    noise = torch.randn(256, 16, generator=generator, dtype=torch.float64)
    h, clips = centre + 0.3 * noise, torch.arange(128).repeat(2)
    assert AMC()(h, clips).item() == exactly(AMC.published()(h, clips).item())


def test_alpha_picks_one_part() -> None:
    for alpha, name in ((1.0, "contrastive"), (0.0, "angular")):
        loss = AngularContrastiveLoss(alpha=alpha)
        assert loss(H, CLIPS) == loss.terms()[name]
    assert AngularContrastiveLoss(alpha=1.0)(H, CLIPS) == NTXentLoss()(H, CLIPS)
    assert AngularContrastiveLoss(alpha=0.0)(H, CLIPS) == AMC()(H, CLIPS)


def test_the_projection_is_trained_and_saved() -> None:
    loss = AngularContrastiveLoss(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)))
    loss(H.float(), CLIPS).backward()
    assert all(p.grad is not None and p.grad.any() for p in loss.parameters())
    assert "projection.0.weight" in loss.state_dict()


def test_negatives_beyond_the_margin_have_no_gradient() -> None:
    assert not gradient(AMC(), torch.eye(4).double(), torch.tensor([0, 1, 2, 3])).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("labels", [[0, 0], [0, 1]])
@pytest.mark.parametrize("flip", [1.0, -1.0])
def test_coincident_and_antipodal_pairs_have_small_gradients(
    dtype: torch.dtype, labels: list[int], flip: float
) -> None:
    x = torch.tensor([[0.3, -1.1, 0.7, 0.2], [0.6, -2.2, 1.4, 0.4]], dtype=dtype)
    grad = gradient(
        AMC(weights=(1.0, 1.0)), x * torch.tensor([[1.0], [flip]]), torch.tensor(labels)
    )
    assert grad.abs().max() < 1e-2  # a unit of angle would have some 1


def test_near_positives_and_negatives_move_apart_as_the_angle_says() -> None:
    for theta in (1e-2, 1e-1, 0.4):
        x = torch.tensor([[1.0, 0.0], [math.cos(theta), math.sin(theta)]])
        for labels, slope in (([0, 0], 2 * theta), ([0, 1], -2 * (0.5 - theta))):
            grad = gradient(AMC(weights=(1.0, 1.0)), x, torch.tensor(labels))
            assert grad[1].norm().item() == pytest.approx(abs(slope), rel=1e-3)
            tangent = torch.tensor([-math.sin(theta), math.cos(theta)])
            assert float(grad[1] @ tangent) * slope > 0


def test_splitting_the_means_makes_the_batch_size_irrelevant() -> None:
    twice, labels = torch.cat([H, -H]), torch.cat([CLIPS, CLIPS + 3])
    # The copies are beyond the margin, so only the mean over negatives knows of them.
    assert AMC(weights=(1.0, 0.0))(twice, labels).item() == exactly(
        AMC(weights=(1.0, 0.0))(H, CLIPS).item()
    )
    assert AMC.published()(twice, labels).item() == exactly(2 * AMC.published()(H, CLIPS).item())


def test_alignment_and_uniformity_agree_with_reference_values() -> None:
    loss = AlignmentUniformityLoss()
    loss(Z, CLIPS)
    assert loss.terms()["alignment"].item() == exactly(VALUES["alignment_z"])
    loss(Z[:3], CLIPS[:3])
    assert loss.terms()["uniformity"].item() == exactly(VALUES["uniformity_z1"])
    assert loss.terms()["alignment"] == 0


def test_uniformity_does_not_underflow() -> None:
    loss = AlignmentUniformityLoss(t=200.0)
    assert loss(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([0, 1])).item() == -800.0


def test_levels_agree_with_reference_values() -> None:
    for column in range(3):
        expected = VALUES["G.supcon_tau0.1_levels123"][column]
        assert SupConLoss()(T, CODES[:, column]).item() == exactly(expected)
    loss = HiMulConLoss()
    assert loss(T, CODES).item() == exactly(VALUES["G.himulcon"])
    levels = [loss.terms()[f"level_{level}"].item() for level in (1, 2, 3)]
    assert levels == exactly(VALUES["G.supcon_tau0.1_levels123"])
    released = HiMulConLoss.published()
    assert released(T, CODES).item() == exactly(VALUES["G.himulcone_batchmax"])
    pairs = HiMulConLoss(constraint="pair")
    assert pairs(T, CODES).item() == exactly(VALUES["G.himulcone_pairmax"])


def test_a_level_costs_no_less_than_a_finer_one() -> None:
    angles = torch.tensor([0.0, 180.0, 60.0, 240.0, 120.0, 300.0], dtype=torch.float64).deg2rad()
    hexagon = torch.stack([angles.cos(), angles.sin()], dim=1)  # leaves are torn apart
    families = torch.cat([hexagon @ torch.eye(4)[:2].double(), hexagon @ torch.eye(4)[2:].double()])
    free, bound = HiMulConLoss(), HiMulConLoss.published()
    for loss in (free, bound):
        loss(families, CODES)
    plain, raised = ([loss.terms()[f"level_{k}"] for k in (1, 2, 3)] for loss in (free, bound))
    assert raised == [max(plain), max(plain[1:]), plain[2]]
    assert raised != plain


def test_weights_of_levels() -> None:
    loss = HiMulConLoss(level_weights=(0.0, 0.0, 3.0))
    assert loss(T, CODES).item() == exactly(SupConLoss()(T, CODES[:, 2]).item())
    with pytest.raises(UsageError, match="3 levels, got 2 weights"):
        HiMulConLoss(level_weights=(1.0, 1.0))(T, CODES)


@pytest.mark.parametrize("constraint", [None, "level", "pair"])
def test_a_partial_label_counts_where_it_is_certain(constraint: Any) -> None:
    tree = LabelTree.from_paths(LEAVES)
    paths: list[tuple[str, ...]] = [leaf for leaf in LEAVES for _ in range(2)]
    paths[5] = ("f0",)
    loss = HiMulConLoss(constraint=constraint)
    grad = gradient(loss, T, tree.encode(paths))
    finest = gradient(HiMulConLoss(level_weights=(0.0, 0.0, 1.0)), T, tree.encode(paths))
    # It is a positive of its family; at the finest level a negative of the other family alone.
    assert grad[5].any()
    unknown = tree.encode(paths)
    unknown[6:] = -1
    without = gradient(HiMulConLoss(level_weights=(0.0, 0.0, 1.0)), T, unknown)
    assert finest[5].any()
    assert not without[5].any()


def test_the_temperature_learns_within_bounds() -> None:
    loss = NTXentLoss(0.5, learnable_temperature=True).double()
    assert torch.autograd.gradcheck(
        lambda log_scale: torch.func.functional_call(loss, {"log_scale": log_scale}, (Z, CLIPS)),
        loss.log_scale.detach().clone().requires_grad_(),
    )
    (grad,) = torch.autograd.grad(loss(Z, CLIPS), [loss.log_scale])
    assert grad.abs() > 1e-3
    for log_scale, temperature in ((9.0, 0.01), (-9.0, 1.0)):
        with torch.no_grad():
            loss.log_scale.fill_(log_scale)
        value = loss(Z, CLIPS)
        assert loss.terms()["temperature"].item() == pytest.approx(temperature)
        assert torch.autograd.grad(value, [loss.log_scale])[0].abs() > 0  # it finds its way back


def test_clips_of_unknown_class_are_in_no_denominator() -> None:
    z, labels = torch.cat([Z, Z[:1]]), torch.cat([CLIPS, torch.tensor([-1])])
    for loss in (NTXentLoss(), AMC(), AlignmentUniformityLoss()):
        assert loss(z, labels).item() == exactly(loss(Z, CLIPS).item())


def test_views_may_be_swapped() -> None:
    swapped = torch.cat([H[3:], H[:3]])
    for loss in (NTXentLoss(), AMC(), AlignmentUniformityLoss()):
        assert loss(swapped, CLIPS).item() == exactly(loss(H, CLIPS).item())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NTXentLoss(0.0), "temperature must be above 0"),
        (lambda: SupConLoss(math.inf), "temperature must be above 0"),
        (lambda: HiMulConLoss(-1.0), "temperature must be above 0"),
        (lambda: HiMulConLoss(constraint="batch"), "constraint must be one of"),  # type: ignore[arg-type]
        (lambda: HiMulConLoss(level_weights=(1.0, -1.0)), "level_weights must be 0 or more"),
        (lambda: AMC(28.6), "radians between 0 and pi"),
        (lambda: AMC(reduction="sum"), "reduction must be one of"),  # type: ignore[arg-type]
        (lambda: AMC(weights=(1.0,)), "two numbers"),  # type: ignore[arg-type]
        (lambda: AMC(weights=(1.0, -1.0)), "weights must be 0 or more"),
        (lambda: AMC(reduction="mean_all", weights=(1.0, 1.0)), "weights belong to"),
        (lambda: AMC(divisor=50.0), "divisor belongs to"),
        (lambda: AMC(reduction="published", divisor=0.0), "divisor must be above 0"),
        (lambda: AMC.published("semi"), "form must be one of"),  # type: ignore[arg-type]
        (lambda: AngularContrastiveLoss(alpha=1.1), r"alpha must be in \[0, 1\]"),
        (lambda: AngularContrastiveLoss(margin=-0.5), "radians between 0 and pi"),
        (lambda: AlignmentUniformityLoss(alpha=0.0), "alpha and t must be above 0"),
        (lambda: AlignmentUniformityLoss(uniformity_weight=-1.0), "uniformity_weight must be"),
    ],
)
def test_wrong_use_is_named(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()
