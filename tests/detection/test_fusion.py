"""Fusing the scores of several models."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import pytest
import torch

from tonotopy._errors import UsageError
from tonotopy.detection.fusion import Fusion, fuse_scores

SCORES = [torch.tensor([0.1, 0.4, 0.2]), torch.tensor([70.0, 20.0, 50.0])]
NORMAL = [torch.tensor([0.0, 0.1, 0.3]), torch.tensor([10.0, 40.0])]


@pytest.mark.parametrize("how", ["sum", "min", "max"])
@pytest.mark.parametrize("standardised", [False, True])
def test_fused_scores_are_those_of_loops(how: Fusion, standardised: bool) -> None:
    rules: dict[Fusion, Callable[[list[float]], float]] = {"sum": sum, "min": min, "max": max}
    expected = []
    for clip in range(3):
        values = []
        for scores, normal in zip(SCORES, NORMAL, strict=True):
            value = scores[clip].item()
            if standardised:
                known = normal.tolist()
                value = (value - statistics.mean(known)) / statistics.pstdev(known)
            values.append(value)
        expected.append(rules[how](values))
    fused = fuse_scores(SCORES, NORMAL if standardised else None, how=how)
    assert fused.dtype == torch.float64
    assert fused.tolist() == pytest.approx(expected)


def test_standardised_scores_do_not_depend_on_the_scale_of_a_model() -> None:
    fused = fuse_scores(SCORES, NORMAL)
    scaled = fuse_scores([SCORES[0], 7 * SCORES[1] - 3], [NORMAL[0], 7 * NORMAL[1] - 3])
    torch.testing.assert_close(fused, scaled)


def test_equal_normal_scores_are_subtracted_only() -> None:
    for normal in (torch.tensor([0.1]), torch.full((7,), 0.1)):
        fused = fuse_scores([SCORES[0]], [normal])
        assert fused.tolist() == pytest.approx([0.0, 0.3, 0.1])


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(UsageError, match="got none"):
        fuse_scores([])
    with pytest.raises(UsageError, match=r"got \(3,\), \(2,\)"):
        fuse_scores([SCORES[0], SCORES[1][:2]])
    with pytest.raises(UsageError, match=r"got \(1, 3\)"):
        fuse_scores([SCORES[0][None]])
    with pytest.raises(UsageError, match="of 1 models for 2"):
        fuse_scores(SCORES, NORMAL[:1])
    with pytest.raises(UsageError, match=r"got shape \(0,\)"):
        fuse_scores(SCORES, [NORMAL[0], torch.empty(0)])
    with pytest.raises(UsageError, match="'mean'"):
        fuse_scores(SCORES, how="mean")  # type: ignore[arg-type]
