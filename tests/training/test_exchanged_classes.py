"""Exchanged branches and the classes of what was exchanged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tonotopy._errors import UsageError
from tonotopy.audio import StatEx
from tonotopy.encoders import TwoBranchNet
from tonotopy.training.exchanged_classes import FeatEx, exchange_features, exchanged_classes

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "exchange.json").read_text(encoding="utf-8")
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def soft_labels(count: int = 9, classes: int = 4) -> torch.Tensor:
    return torch.rand(count, classes, generator=seeded(1), dtype=torch.float64).softmax(dim=1)


def test_published_labels() -> None:
    inputs = GOLDEN["inputs"]
    one_hot = torch.eye(inputs["classes"], dtype=torch.float64)
    labels = one_hot[[inputs["label"], inputs["other_label"]]]
    got = exchanged_classes(labels, torch.tensor([1, 0]), torch.tensor([False, False]))
    assert got[0].tolist() == GOLDEN["featex/kept"]
    got = exchanged_classes(labels, torch.tensor([1, 0]), torch.tensor([True, False]))
    assert got[0].tolist() == GOLDEN["featex/exchanged"]


def test_each_class_becomes_three() -> None:
    labels = soft_labels()
    partners = torch.arange(9).roll(4)
    exchanged = torch.rand(9, generator=seeded()) < 0.5
    got = exchanged_classes(labels, partners, exchanged)
    assert got.shape == (9, 12)
    assert got.dtype == labels.dtype
    assert 0 < exchanged.sum() < 9
    for row in range(9):
        for k in range(4):
            own, other = labels[row, k].item(), labels[partners[row], k].item()
            expected = [0.0, own / 2, other / 2] if exchanged[row] else [own, 0.0, 0.0]
            assert got[row, k::4].tolist() == expected
    torch.testing.assert_close(got.sum(dim=1), torch.ones(9, dtype=torch.float64))


def test_statistics_and_features_exchanged_make_nine_classes() -> None:
    labels = torch.eye(2)
    both = torch.tensor([True, True])
    swap = torch.tensor([1, 0])
    once = exchanged_classes(labels, swap, both)
    twice = exchanged_classes(once, swap, both)
    assert twice.shape == (2, 18)
    # Own pattern class 0 with the statistics of class 1, and beside it the other way round.
    expected = torch.zeros(18)
    expected[6:12] = torch.tensor([0, 0, 0.25, 0, 0, 0.25])
    expected[12:18] = torch.tensor([0, 0, 0, 0.25, 0.25, 0])
    assert torch.equal(twice[0], expected)


def test_the_second_branch_is_the_others() -> None:
    x, y = torch.arange(10.0).view(2, 5), -torch.arange(10.0).view(2, 5)
    got = exchange_features(x, y, (2, 3))
    assert got.tolist() == [[0, 1, -2, -3, -4], [5, 6, -7, -8, -9]]


def test_some_embeddings_are_changed_and_the_marks_say_which() -> None:
    x = torch.randn(20, 8, generator=seeded(1))
    before = x.clone()
    changed, partners, exchanged = FeatEx((4, 4))(x, seeded())
    assert 0 < exchanged.sum() < 20
    assert torch.equal(x, before)
    for row in range(20):
        assert partners[row] != row
        source = partners[row] if exchanged[row] else row
        assert torch.equal(changed[row, :4], x[row, :4])
        assert torch.equal(changed[row, 4:], x[source, 4:])
    again = FeatEx((4, 4))(x, seeded())[0]
    assert torch.equal(again, changed)
    assert not torch.equal(FeatEx((4, 4))(x, seeded(2))[0], changed)


def test_nothing_happens_in_eval_to_one_clip_or_with_probability_zero() -> None:
    x, dims = torch.randn(6, 8, generator=seeded(1)), (4, 4)
    for module, size in (
        (FeatEx(dims, 1.0).eval(), 6),
        (FeatEx(dims, 1.0), 1),
        (FeatEx(dims, 0.0), 6),
    ):
        got, partners, exchanged = module(x[:size], seeded())
        assert torch.equal(got, x[:size])
        assert torch.equal(
            exchanged_classes(torch.eye(size), partners, exchanged)[:, :size], torch.eye(size)
        )


def test_they_fit_the_two_branch_network() -> None:
    torch.manual_seed(0)
    encoder = TwoBranchNet(num_samples=4096, embedding_dim=16).train()
    stat_ex, feat_ex = StatEx(1.0), FeatEx(encoder.branch_dims, 1.0)
    labels = torch.eye(3)[torch.tensor([0, 1, 2, 0])]
    spectrum, magnitudes = encoder.views(torch.randn(4, 1, 4096, generator=seeded(1)))
    changed, partners, exchanged = stat_ex(magnitudes, seeded())
    targets = exchanged_classes(labels, partners, exchanged)
    embeddings = encoder.combine((spectrum, changed))
    mixed, partners, exchanged = feat_ex(embeddings, seeded())
    targets = exchanged_classes(targets, partners, exchanged)
    assert torch.equal(mixed[:, 8:], embeddings[partners, 8:])
    assert targets.shape == (4, 27)
    mixed.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"branch_dims": (128,)}, "TwoBranchNet"),
        ({"branch_dims": (1, 2, 3)}, "two branches"),
        ({"branch_dims": (8, 0)}, "two branches"),
        ({"branch_dims": (4, 4), "probability": -1.0}, "probability"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        FeatEx(**options)


def test_embeddings_of_another_length_are_refused() -> None:
    with pytest.raises(UsageError, match=r"10 = 4 \+ 6, got 8"):
        FeatEx((4, 6))(torch.zeros(2, 8), seeded())
