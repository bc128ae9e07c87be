"""Exchanged statistics: published values, and statistics that are the partner's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.audio import StatEx, draw_exchanges, exchange_statistics

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "exchange.json").read_text(encoding="utf-8")
)
DIMS = {"frequency": -2, "time": -1}
each_axis = pytest.mark.parametrize("axis", DIMS)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(count: int = 12, seed: int = 1) -> Tensor:
    x = torch.randn(count, 5, 7, generator=seeded(seed), dtype=torch.float64)
    return x * torch.arange(1, count + 1)[:, None, None] + torch.arange(count)[:, None, None]


@each_axis
def test_published_values(axis: str) -> None:
    x, y = (
        torch.tensor(GOLDEN["inputs"][name], dtype=torch.float64)
        for name in ("spectrogram", "other")
    )
    expected = torch.tensor(GOLDEN[f"statex/{axis}"], dtype=torch.float64)
    got = exchange_statistics(x, y, DIMS[axis])
    torch.testing.assert_close(got, expected, atol=1e-9, rtol=1e-9)


@each_axis
def test_the_statistics_are_the_others_and_the_pattern_is_kept(axis: str) -> None:
    dim = DIMS[axis]
    x, y = batch(3), batch(3, seed=2)
    got = exchange_statistics(x, y, dim)
    torch.testing.assert_close(got.mean(dim), y.mean(dim))
    torch.testing.assert_close(got.std(dim), y.std(dim))
    torch.testing.assert_close(exchange_statistics(got, x, dim), x)
    torch.testing.assert_close(exchange_statistics(x, x, dim), x)
    torch.testing.assert_close(exchange_statistics(7 * x + 3, y, dim), got)


@each_axis
@pytest.mark.parametrize("level", [0.0, 0.1, 1e4])
def test_a_constant_spectrogram_becomes_the_others_mean(axis: str, level: float) -> None:
    x = torch.full((1, 513, 311), level)
    y = torch.rand(1, 513, 311, generator=seeded())
    expected = y.mean(DIMS[axis], keepdim=True).expand_as(x)
    torch.testing.assert_close(exchange_statistics(x, y, DIMS[axis]), expected)
    assert torch.equal(exchange_statistics(x, 0 * x, DIMS[axis]), 0 * x)


@each_axis
def test_some_clips_are_changed_and_the_marks_say_which(axis: Any) -> None:
    x = batch()
    before = x.clone()
    changed, partners, exchanged = StatEx(0.5, axis)(x, seeded())
    assert 0 < exchanged.sum() < len(x)
    assert torch.equal(x, before)
    for row in range(len(x)):
        partner = int(partners[row])
        assert partner != row
        if exchanged[row]:
            expected = exchange_statistics(x[row], x[partner], DIMS[axis])
            torch.testing.assert_close(changed[row], expected)
        else:
            assert torch.equal(changed[row], x[row])


def test_the_generator_decides_everything() -> None:
    x = batch()
    first, again, other = (StatEx()(x, seeded(seed))[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_nothing_happens_in_eval_to_one_clip_or_with_probability_zero() -> None:
    x = batch()
    for module, size in ((StatEx(1.0).eval(), 12), (StatEx(1.0), 1), (StatEx(0.0), 12)):
        got, partners, exchanged = module(x[:size], seeded())
        assert torch.equal(got, x[:size])
        assert partners.shape == exchanged.shape == (size,)
        assert not exchanged.any()


def test_as_many_exchange_as_asked_for() -> None:
    x = torch.zeros(20000, 1)
    _, exchanged = draw_exchanges(x, 0.3, seeded())
    assert exchanged.double().mean().item() == pytest.approx(0.3, abs=0.015)
    assert draw_exchanges(x, 1.0, seeded())[1].all()


@pytest.mark.parametrize(
    ("options", "message"), [({"probability": 2.0}, "probability"), ({"axis": "bins"}, "axis")]
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"StatEx.*{message}"):
        StatEx(**options)
