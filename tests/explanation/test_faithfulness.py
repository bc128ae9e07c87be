"""Insertion and deletion curves: definition, known answers, degenerate maps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.explanation import Faithfulness, fill_values, measure_faithfulness
from tonotopy.explanation.random_masks import draw_smooth_maps

SHAPE = (64, 60)
BINS, FRAMES = slice(20, 28), slice(30, 45)


def _clip() -> Tensor:
    return 0.5 + torch.rand(SHAPE, generator=torch.Generator().manual_seed(9))


def _truth() -> Tensor:
    saliency = torch.zeros(SHAPE)
    saliency[BINS, FRAMES] = 1
    return saliency


def _score_patch(masked: Tensor) -> Tensor:
    return masked[:, BINS, FRAMES].mean(dim=(1, 2))


def _measure(saliency: Tensor, **options: int) -> Faithfulness:
    return measure_faithfulness(
        _clip(),
        _score_patch,
        saliency,
        hidden=torch.zeros(64, 1),
        generator=torch.Generator().manual_seed(0),
        **options,  # type: ignore[arg-type]  # counts only
    )


@pytest.mark.parametrize("batch_size", [1, 5, 128])
def test_curves_are_scores_of_prefixes_of_the_order(batch_size: int) -> None:
    values = _clip()
    saliency = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1))
    found = _measure(saliency, steps=7, random_maps=2, batch_size=batch_size)

    blind = draw_smooth_maps(2, SHAPE, generator=torch.Generator().manual_seed(0))
    rows = [saliency, *blind]
    shown = [found.insertion.scores, *found.insertion.random]
    deleted = [found.deletion.scores, *found.deletion.random]
    for row, insertion, deletion in zip(rows, shown, deleted, strict=True):
        order = row.flatten().sort(descending=True, stable=True).indices
        for step in range(8):
            count = round(step / 7 * order.numel())
            picture, rest = torch.zeros(values.numel()), values.flatten().clone()
            picture[order[:count]] = values.flatten()[order[:count]]
            rest[order[:count]] = 0
            expected = _score_patch(torch.stack([picture, rest]).reshape(2, *SHAPE))
            assert float(insertion[step]) == pytest.approx(float(expected[0]), abs=1e-5)
            assert float(deletion[step]) == pytest.approx(float(expected[1]), abs=1e-5)
    # The area by hand: trapezoids of width 1/7.
    scores = found.insertion.scores
    area = float((scores[1:] + scores[:-1]).sum() / 14)
    assert found.insertion.area == pytest.approx(area)


def test_the_true_map_beats_blind_ones_and_its_opposite_does_not() -> None:
    right, wrong = _measure(_truth()), _measure(-_truth())

    assert right.ordered
    assert right.insertion.area > float(right.insertion.random_areas.max())
    assert right.deletion.area < float(right.deletion.random_areas.min())
    assert right.insertion.gain > right.insertion.spread > 0
    assert wrong.insertion.gain < 0 < wrong.deletion.gain
    # 3 % of the places are all that counts: all is shown after the first step of 5 %.
    whole = float(_score_patch(_clip()[None])[0])
    assert right.insertion.area == pytest.approx(whole * (1 - 0.05 / 2), rel=1e-5)
    assert right.deletion.area == pytest.approx(whole * 0.05 / 2, rel=1e-5)


@pytest.mark.parametrize("constant", [0.0, -2.0])
def test_a_constant_map_scores_as_blind_maps_do(constant: float) -> None:
    found = _measure(torch.full(SHAPE, constant))

    assert not found.ordered
    for curve in (found.insertion, found.deletion):
        torch.testing.assert_close(curve.scores, curve.random.mean(dim=0))
        assert curve.gain == pytest.approx(0, abs=1e-12)
        assert curve.random.shape == (10, 21)


def test_the_order_alone_counts() -> None:
    saliency = torch.rand(SHAPE, dtype=torch.float64)
    found, scaled = _measure(saliency), _measure(1000 * saliency - 3)

    assert torch.equal(found.insertion.scores, scaled.insertion.scores)
    assert torch.equal(found.deletion.random, scaled.deletion.random)


def test_curves_begin_and_end_at_the_clip_and_the_fill() -> None:
    values = _clip()
    hidden = fill_values(values, "mean")
    found = measure_faithfulness(
        values,
        _score_patch,
        _truth(),
        hidden=hidden,
        generator=torch.Generator().manual_seed(0),
        steps=4,
    )

    whole = _score_patch(values[None]).double()
    blank = _score_patch(hidden.expand(SHAPE)[None]).double()
    ends = torch.cat([blank, whole])
    torch.testing.assert_close(found.insertion.scores[[0, -1]], ends)
    torch.testing.assert_close(found.deletion.scores[[-1, 0]], ends)


@pytest.mark.parametrize("options", [{"steps": 0}, {"random_maps": 1}, {"batch_size": 0}])
def test_options_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        _measure(_truth(), **options)


def test_a_map_of_another_shape_is_refused() -> None:
    with pytest.raises(UsageError, match="map of shape"):
        _measure(torch.zeros(3, 3))
