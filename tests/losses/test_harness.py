"""What every loss must do, over the table of all losses: adding a loss is adding a row."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from loss_row import C, Row, labelled
from loss_table import ROWS
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy.labels import PairRelations
from tonotopy.losses import Loss, PairLoss, WeightedSumLoss

every_loss = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
# N = 11: the cosine forms go through class moments for D = 5, pair by pair for D = 16.
both_widths = pytest.mark.parametrize("dim", [5, 16])


def gradients(
    loss: Loss, z: Tensor, labels: Tensor, run: Callable[..., Tensor] | None = None
) -> tuple[Tensor, list[Tensor]]:
    leaf = z.clone().requires_grad_()
    value = (loss if run is None else run)(leaf, labels)
    return value, list(torch.autograd.grad(value, [leaf, *loss.parameters()]))


@every_loss
@both_widths
def test_agrees_with_loops(row: Row, dim: int) -> None:
    loss = row.build(dim)
    z, labels = row.batch(dim)
    expected = row.oracle(loss, z.tolist(), labels.tolist())
    assert loss(z, labels).item() == pytest.approx(expected, rel=row.tolerance)


@every_loss
@both_widths
def test_gradient_is_the_derivative(row: Row, dim: int) -> None:
    if row.constants_inside:
        pytest.skip("it takes moving targets for constants")
    loss = row.build(dim)
    z, labels = row.batch(dim)
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), z.requires_grad_())


@every_loss
@both_widths
def test_float32_agrees_with_float64(row: Row, dim: int) -> None:
    z, labels = row.batch(dim)
    value, grads = gradients(row.build(dim, torch.float32), z.float(), labels)
    exact, exact_grads = gradients(row.build(dim), z.float().double(), labels)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=1e-6)
    for grad, exact_grad in zip(grads, exact_grads, strict=True):
        torch.testing.assert_close(grad.double(), exact_grad, rtol=1e-4, atol=1e-6)


@every_loss
def test_order_of_clips_does_not_matter(row: Row) -> None:
    if row.order_matters:
        pytest.skip("the first clips of a class stand for it")
    loss = row.build(5)
    z, labels = row.batch(5)
    order = torch.randperm(len(z), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(loss(z[order], labels[order]), loss(z, labels))


@every_loss
def test_names_of_classes_do_not_matter_to_pairs(row: Row) -> None:
    loss = row.build(5)
    if not isinstance(loss, PairLoss):
        pytest.skip("its classes have places of their own")
    z, labels = row.batch(5)
    renamed = torch.where(labels >= 0, 100 - 3 * labels, labels)
    torch.testing.assert_close(loss(z, renamed), loss(z, labels))


@every_loss
def test_a_mean_over_clips_is_that_of_its_parts(row: Row) -> None:
    loss = row.build(5)
    if loss.kind == "batch":
        pytest.skip("it needs the whole batch")
    z, labels = row.batch(5)
    parts = [(z[:4], labels[:4]), (z[4:], labels[4:])]
    counts = [loss.sample_count(part) for _, part in parts]
    total = sum(
        (loss(*part) * count for part, count in zip(parts, counts, strict=True)), z.new_zeros(())
    )
    torch.testing.assert_close(total / sum(counts), loss(z, labels))


@every_loss
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_cuda_agrees_with_the_processor(row: Row) -> None:
    loss = row.build(16)
    z, labels = row.batch(16)
    value, grads = gradients(loss, z, labels)
    there = row.build(16).cuda()
    value_there, grads_there = gradients(there, z.cuda(), labels.cuda())
    torch.testing.assert_close(
        [value_there.cpu(), *(grad.cpu() for grad in grads_there)], [value, *grads]
    )


@every_loss
@both_widths
def test_ignored_clips_change_nothing(row: Row, dim: int) -> None:
    loss = row.build(dim)
    z, labels = row.batch(dim)
    _, (grad, *_) = gradients(loss, z, labels)
    known = labelled(labels)
    assert not grad[~known].any()
    torch.testing.assert_close(loss(z, labels), loss(z[known], labels[known]))


@every_loss
def test_length_and_rotation(row: Row) -> None:
    loss = row.build(5)
    z, labels = row.batch(5)
    generator = torch.Generator().manual_seed(2)
    lengths = 0.1 + 9.0 * torch.rand(len(z), 1, generator=generator, dtype=z.dtype)
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=generator, dtype=z.dtype)).Q
    same = {
        "scale_free": torch.isclose(loss(z * lengths, labels), loss(z, labels), rtol=1e-10),
        "rotation_free": torch.isclose(loss(z @ rotation, labels), loss(z, labels), rtol=1e-10),
    }
    assert {name: bool(value) for name, value in same.items()} == {
        "scale_free": row.scale_free,
        "rotation_free": row.rotation_free,
    }


@every_loss
def test_label_forms_agree(row: Row) -> None:
    if row.form == "codes":
        pytest.skip("made for codes of a label tree")
    loss = row.build(5)
    z, labels = row.batch(5)
    expected = loss(z, labels)
    one_hot = F.one_hot(labels.clamp_min(0), C).double() * (labels >= 0)[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the largest class, which a one-hot row has
        torch.testing.assert_close(loss(z, one_hot), expected)
    # Class 1 ends a level early, as a complete path.
    paths = torch.tensor([[10, 13], [11, -2], [10, 14], [-1, -1]])
    if row.uses_levels:
        paths = torch.tensor([[13], [11], [14], [-1]])
    codes = paths[torch.where(labels < 0, 3, labels)]
    if isinstance(loss, PairLoss):
        torch.testing.assert_close(loss(z, codes), expected)
    else:
        with pytest.raises(UsageError, match="leaf_index"):
            loss(z, codes)


@every_loss
def test_relations_of_pairs_say_the_same(row: Row) -> None:
    loss = row.build(5)
    z, labels = row.batch(5)
    relations = PairRelations.from_labels(labels)
    lo, hi = relations.bounds()
    explicit = PairRelations.from_levels(lo.where(lo == hi, -1), relations.num_levels)
    if not loss.takes_relations or isinstance(loss, WeightedSumLoss):
        with pytest.raises(UsageError, match="relations"):
            loss(z, relations)
        return
    torch.testing.assert_close(loss(z, relations), loss(z, labels))
    if row.form == "ids":  # in a tree, an interval says more than "unknown"
        torch.testing.assert_close(loss(z, explicit), loss(z, labels))


@every_loss
def test_rows_that_are_not_finite_are_named(row: Row) -> None:
    loss = row.build(5)
    z, labels = row.batch(5)
    z[3, 1], z[7, 0] = torch.nan, torch.inf
    with pytest.raises(DataError, match="2 of 11 rows are not: row 3, 7;"):
        loss(z, labels)


def _line(*values: float) -> Tensor:
    return torch.tensor(values)[:, None] * torch.ones(1, 4)


HARD_BATCHES = {
    "one clip": (torch.ones(1, 4), [0]),
    "two clips of two classes": (torch.eye(4)[:2], [0, 1]),
    "one pair": (torch.eye(4)[:2], [1, 1]),
    "one class": (torch.eye(4) + 0.1, [2, 2, 2, 2]),
    "no two of a class": (torch.eye(4)[:3] + 0.1, [0, 1, 2]),
    "nothing labelled": (torch.eye(4), [-1, -1, -1, -1]),
    "empty": (torch.zeros(0, 4), []),
    "zero rows": (torch.tensor([[0.0] * 4, [0.0] * 4, [1.0] * 4, [0.0] * 4]), [0, 0, 1, 1]),
    "many zero rows": (torch.zeros(7, 4), [0, 0, 1, 1, 2, -1, 2]),
    "coincident": (_line(1, 1, 1, 1, 1, 1), [0, 0, 0, 1, 1, 1]),
    "antipodal": (_line(1, -1, 2, -2, 3, -1), [0, 0, 0, 1, 1, 1]),
    "tiny": (_line(1e-30, 1e-20, 1e-12, 1e-8, 1e-6, 1e-4), [0, 0, 0, 1, 1, 1]),
    "huge": (_line(1e15, -1e15, 1e12, 1e15, 1e10, 1e8), [0, 0, 0, 1, 1, 1]),
}


@every_loss
@pytest.mark.parametrize("case", HARD_BATCHES)
def test_hard_batches_give_finite_values_and_gradients(row: Row, case: str) -> None:
    z, ids = HARD_BATCHES[case]
    loss = row.build(4, torch.float32)
    labels = row.labels(torch.tensor(ids, dtype=torch.long))
    for rows, targets in ((z, labels), (z.repeat(3, 1), torch.cat([labels] * 3))):
        value, grads = gradients(loss, rows, targets)
        assert value.requires_grad
        assert value.isfinite()
        assert all(grad.isfinite().all() for grad in grads)
        if case in ("nothing labelled", "empty"):
            assert value.item() == 0.0
            assert not any(grad.any() for grad in grads)


@every_loss
@both_widths
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_autocast_is_left(row: Row, dim: int, half: torch.dtype) -> None:
    z, labels = row.batch(dim, half)
    loss = row.build(dim, torch.float32)
    leaf = z.clone().requires_grad_()
    with torch.autocast("cpu", dtype=half):
        value = loss(leaf, labels)
    value.backward()
    assert value.dtype == torch.float32
    torch.testing.assert_close(
        value.double(), row.build(dim)(z.double(), labels), rtol=1e-5, atol=0
    )
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()


@every_loss
def test_state_round_trip(row: Row) -> None:
    z, labels = row.batch(5)
    saved, other = row.build(5), row.build(5)
    with torch.no_grad():
        for parameter in saved.parameters():
            parameter.add_(1.0)
    other.load_state_dict(saved.state_dict())
    assert torch.equal(other(z, labels), saved(z, labels))


@every_loss
def test_kind_terms_and_shapes(row: Row) -> None:
    loss = row.build(5)
    z, labels = row.batch(5)
    assert loss.kind == row.kind
    assert loss.terms() == {}
    loss(z.requires_grad_(), labels)
    assert not any(term.requires_grad for term in loss.terms().values())
    odd = labels.double() if row.form == "ids" else labels[:, :, None]
    for bad_z, bad_labels in ((z[0], labels), (z, labels[:-1]), (z, odd)):
        with pytest.raises(UsageError, match="embeddings and labels"):
            loss(bad_z, bad_labels)


@every_loss
def test_copies_and_pickles(row: Row) -> None:
    loss = row.build(5)
    z, labels = row.batch(5)
    value = loss(z, labels)
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(twin(z, labels), value)


@every_loss
def test_exports(row: Row) -> None:
    if not row.compiles:
        pytest.skip("its sizes depend on the data")
    loss = row.build(16)
    z, labels = row.batch(16)
    program = torch.export.export(loss, (z, labels))
    torch.testing.assert_close(program.module()(z, labels), loss(z, labels))


@every_loss
def test_compiles_without_breaks(row: Row) -> None:
    if not row.compiles:
        pytest.skip("its sizes depend on the data")
    z, labels = row.batch(16)
    loss = row.build(16)
    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    value, grads = gradients(loss, z, labels)
    compiled_value, compiled_grads = gradients(loss, z, labels, compiled)
    torch.testing.assert_close([compiled_value, *compiled_grads], [value, *grads])
