"""The learning rate rises, then falls to zero."""

from __future__ import annotations

import pytest

from tonotopy.training.schedule import warmup_cosine


def test_shape() -> None:
    values = [warmup_cosine(step, 10, 100) for step in range(101)]
    assert values[0] > 0
    assert values[:11] == sorted(values[:11])
    assert values[10:] == sorted(values[10:], reverse=True)
    assert values[10] == 1.0
    assert values[55] == pytest.approx(0.5)
    assert values[100] == pytest.approx(0.0)


def test_no_warmup_starts_at_the_peak() -> None:
    assert warmup_cosine(0, 0, 10) == 1.0


def test_all_warmup_never_divides_by_zero() -> None:
    assert warmup_cosine(10, 10, 10) == 1.0
