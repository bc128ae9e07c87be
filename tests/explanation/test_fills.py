"""What stands in hidden places."""

from __future__ import annotations

import pytest
import torch

from tonotopy._errors import UsageError
from tonotopy.explanation import fill_values, noise_floor
from tonotopy.explanation.fills import apply_masks

VALUES = torch.tensor([[1.0, 3.0], [0.0, 8.0], [5.0, 5.0]])


def test_fills_are_constant_over_time() -> None:
    floor = torch.tensor([0.1, 0.2, 0.3])

    assert fill_values(VALUES, "zero").tolist() == [[0], [0], [0]]
    assert fill_values(VALUES, "mean").tolist() == [[2], [4], [5]]
    assert torch.equal(fill_values(VALUES, "floor", floor=floor), floor[:, None])


def test_the_noise_floor_is_low_in_time_and_typical_over_clips() -> None:
    quiet = torch.linspace(0, 10, 11).repeat(2, 1)
    clips = [quiet, 2 * quiet[:, torch.randperm(11)], 1000 * quiet]

    assert noise_floor(clips).tolist() == pytest.approx([2, 2])
    assert noise_floor(iter(clips), quantile=0.5).tolist() == pytest.approx([10, 10])


def test_masks_blend_clip_and_fill() -> None:
    masks = torch.tensor([1.0, 0.0, 0.25]).reshape(3, 1, 1).expand(3, 3, 2)
    hidden = fill_values(VALUES, "mean")
    found = apply_masks(VALUES, masks, hidden)

    assert torch.equal(found[0], VALUES)
    assert torch.equal(found[1], hidden.expand(3, 2))
    torch.testing.assert_close(found[2], 0.25 * VALUES + 0.75 * hidden)


@pytest.mark.parametrize("floor", [None, torch.zeros(2), torch.zeros(3, 1)])
def test_the_floor_must_fit(floor: torch.Tensor | None) -> None:
    with pytest.raises(UsageError, match="noise floor"):
        fill_values(VALUES, "floor", floor=floor)


def test_nonsense_is_refused() -> None:
    with pytest.raises(UsageError, match="'median'"):
        fill_values(VALUES, "median")  # type: ignore[arg-type]  # what the test is about
    with pytest.raises(UsageError, match="at least one"):
        noise_floor([])
