"""RISE: golden values, known answers, and what must not change the result."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.explanation import MapSums, draw_masks, fill_values, map_correlation, rise

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "rise.json").read_text())
SHAPE = (64, 60)
BINS, FRAMES = slice(20, 28), slice(30, 45)


def _clip() -> Tensor:
    return 0.5 + torch.rand(SHAPE, generator=torch.Generator().manual_seed(9))


def _score_patch(masked: Tensor) -> Tensor:
    return masked[:, BINS, FRAMES].mean(dim=(1, 2))


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _tensor(name: str) -> Tensor:
    return torch.tensor(GOLDEN[name], dtype=torch.float64)


@pytest.mark.parametrize("shift", [0.0, 0.5, 1e6])
@pytest.mark.parametrize("parts", [(4,), (1, 3), (2, 1, 1)])
def test_maps_reproduce_the_golden_values(shift: float, parts: tuple[int, ...]) -> None:
    sums = MapSums.empty((2, 3), shift=shift)
    start = 0
    for size in parts:
        part = slice(start, start + size)
        sums = sums.with_masks(_tensor("masks")[part], _tensor("scores")[part])
        start += size

    # A shift of a million times the scores costs six of sixteen digits.
    tolerance = 1e-9 if shift == 1e6 else 1e-12
    for name, found in [
        ("raw", sums.raw(GOLDEN["keep"])),
        ("self_normalised", sums.self_normalised()),
        ("covariance", sums.covariance()),
    ]:
        torch.testing.assert_close(found, _tensor(name), rtol=0, atol=tolerance)
    variance = _tensor("masks").var(dim=0, unbiased=False)
    expected = _tensor("covariance") / variance
    torch.testing.assert_close(sums.centred(), expected, rtol=0, atol=10 * tolerance)


def test_sums_add_up() -> None:
    masks, scores = _tensor("masks"), _tensor("scores")
    empty = MapSums.empty((2, 3), shift=0.1)
    halves = empty.with_masks(masks[::2], scores[::2]) + empty.with_masks(masks[1::2], scores[1::2])

    torch.testing.assert_close(halves.covariance(), _tensor("covariance"))
    with pytest.raises(ValueError, match="shifts"):
        _ = empty + MapSums.empty((2, 3))


def test_a_large_constant_in_the_score_costs_no_digits() -> None:
    masks = draw_masks(500, (8, 8), generator=_generator()).double()
    scores = masks[:, 2, 3]
    plain = MapSums.empty((8, 8)).with_masks(masks, scores)
    raised = MapSums.empty((8, 8), shift=1e8).with_masks(masks, scores + 1e8)

    torch.testing.assert_close(raised.centred(), plain.centred(), rtol=0, atol=1e-6)


def test_rise_is_the_definition() -> None:
    values = _clip()
    hidden = fill_values(values, "mean")
    found = rise(values, _score_patch, hidden=hidden, generator=_generator(3), masks=64)

    masks = draw_masks(64, SHAPE, generator=_generator(3)).double()
    raw = torch.zeros(SHAPE, dtype=torch.float64)
    scores = []
    for mask in masks:
        score = _score_patch((hidden + mask * (values - hidden))[None])[0]
        scores.append(score)
        raw += score * mask / (64 * 0.5)
    assert found.raw is not None
    torch.testing.assert_close(found.raw, raw, rtol=0, atol=1e-5)
    # The slope of a least-squares line through (mask, score) is cov / var.
    for place in [(0, 0), (24, 40), (63, 59)]:
        line = torch.stack([masks[:, *place], torch.ones(64)], dim=1)
        slope = torch.linalg.lstsq(line, torch.stack(scores).double()[:, None]).solution[0, 0]
        assert float(found.centred[place]) == pytest.approx(float(slope), abs=1e-5)
    assert found.evaluations == 65


@pytest.mark.parametrize("fill", ["zero", "mean"])
def test_rise_finds_the_patch_that_alone_counts(fill: str) -> None:
    values = _clip()
    if fill == "mean":  # the patch stands out of its bins' means
        values[BINS, FRAMES] += 2
    hidden = fill_values(values, "zero" if fill == "zero" else "mean")
    found = rise(
        values,
        _score_patch,
        hidden=hidden,
        generator=_generator(),
        masks=2000,
        grid=(12, 16),
    )

    inside = torch.zeros(SHAPE, dtype=torch.bool)
    inside[BINS, FRAMES] = True
    assert inside.flatten()[found.centred.argmax()]
    highest = torch.zeros(inside.numel(), dtype=torch.bool)
    highest[found.centred.flatten().topk(int(inside.sum())).indices] = True
    shared = (highest & inside.flatten()).sum() / (highest | inside.flatten()).sum()
    assert float(shared) > 0.6
    assert found.split_half > 0.85


def test_the_centred_map_estimates_the_weights_of_a_linear_score() -> None:
    generator = _generator(5)
    # As smooth as the masks: what is finer than a cell no mask can tell apart.
    weights = draw_masks(1, SHAPE, generator=generator, grid=(4, 4))[0] - 0.5
    values = torch.ones(SHAPE)

    found = rise(
        values,
        lambda masked: (masked * weights).mean(dim=(1, 2)),
        hidden=torch.zeros(64, 1),
        generator=generator,
        masks=4000,
    )

    assert map_correlation(found.centred, weights) > 0.9


def test_the_same_seed_gives_the_same_map_bit_for_bit() -> None:
    values = _clip()
    hidden = fill_values(values, "mean")
    maps = [
        rise(values, _score_patch, hidden=hidden, generator=_generator(seed), masks=100)
        for seed in (0, 0, 1)
    ]

    assert torch.equal(maps[0].centred, maps[1].centred)
    assert maps[0].split_half == maps[1].split_half
    assert not torch.equal(maps[0].centred, maps[2].centred)


@pytest.mark.parametrize("batch_size", [1, 7, 100, 128])
def test_batches_change_nothing_but_rounding(batch_size: int) -> None:
    values = _clip()
    hidden = fill_values(values, "mean")
    whole = rise(values, _score_patch, hidden=hidden, generator=_generator(), masks=101)
    found = rise(
        values,
        _score_patch,
        hidden=hidden,
        generator=_generator(),
        masks=101,
        batch_size=batch_size,
    )

    torch.testing.assert_close(found.centred, whole.centred, rtol=0, atol=1e-6)
    assert found.split_half == pytest.approx(whole.split_half, abs=1e-4)


def test_masks_are_doubled_until_the_halves_agree() -> None:
    values = _clip()
    hidden = fill_values(values, "zero")

    def run(masks: int, max_masks: int | None) -> tuple[int, float]:
        found = rise(
            values,
            _score_patch,
            hidden=hidden,
            generator=_generator(),
            masks=masks,
            max_masks=max_masks,
        )
        return found.evaluations - 1, found.split_half

    few, agreement = run(50, None)
    assert few == 50
    assert agreement < 0.9
    assert run(50, 199)[0] == 100  # 200 would exceed the limit
    many, agreement = run(50, 12800)
    assert agreement >= 0.9
    assert many in {50 * 2**power for power in range(1, 9)}
    # Doubling goes on with the same masks: it is the map of as many masks at once.
    assert run(many, None)[1] == pytest.approx(agreement, abs=1e-6)


def test_a_constant_score_has_an_empty_map() -> None:
    values = _clip()
    found = rise(
        values,
        lambda masked: torch.full((len(masked),), 3.5),
        hidden=fill_values(values, "mean"),
        generator=_generator(),
        masks=60,
        max_masks=10_000,
    )

    assert torch.equal(found.centred, torch.zeros(SHAPE, dtype=torch.float64))
    assert math.isnan(found.split_half)
    assert found.evaluations == 61  # nothing to settle, nothing doubled
    assert found.raw is not None
    assert float((found.raw - 3.5).abs().max()) < 2  # what the centred map is for


def test_masks_that_never_differ_give_zero() -> None:
    values = _clip()
    found = rise(
        values,
        _score_patch,
        hidden=fill_values(values, "zero"),
        generator=_generator(),
        masks=8,
        keep=1.0,
    )

    assert torch.equal(found.centred, torch.zeros(SHAPE, dtype=torch.float64))


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (lambda masked: masked.mean(), "one number a clip"),
        (lambda masked: masked.mean(dim=2), "one number a clip"),
        (lambda masked: masked.mean(dim=(1, 2)) * torch.nan, "NaN or infinity"),
    ],
)
def test_a_score_function_that_misbehaves_is_named(score, message: str) -> None:  # type: ignore[no-untyped-def]
    values = _clip()
    with pytest.raises(UsageError, match=message):
        rise(values, score, hidden=fill_values(values, "zero"), generator=_generator())


@pytest.mark.parametrize("options", [{"masks": 3}, {"batch_size": 0}, {"keep": 0.0}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    values = _clip()
    with pytest.raises(UsageError, match=next(iter(options))):
        rise(
            values,
            _score_patch,
            hidden=fill_values(values, "zero"),
            generator=_generator(),
            **options,  # type: ignore[arg-type]  # one of several options
        )
