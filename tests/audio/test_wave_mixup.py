"""Mixup of whole clips: its labels say what was mixed, so the mixture can be checked by them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.audio import Waveform, WaveMixup
from tonotopy.audio._partners import random_partners

LENGTHS = torch.tensor([40, 1, 25, 39, 40, 7, 13])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(*shape: int, fill: float = float("nan")) -> Tensor:
    """Seven clips of `LENGTHS`, each of its own class, with `fill` as padding."""
    x = torch.randn(*(shape or (7, 40)), generator=seeded(1), dtype=torch.float64)
    for row, length in zip(x, LENGTHS.tolist(), strict=True):
        row[..., length:] = fill
    return x


def repeated(clip: Tensor, size: int) -> Tensor:
    return torch.stack([clip[..., at % clip.shape[-1]] for at in range(size)], dim=-1)


@pytest.mark.parametrize("shape", [(7, 40), (7, 3, 40)])
@pytest.mark.parametrize("probability", [0.4, 1.0])
def test_a_mixture_is_what_its_label_says(shape: tuple[int, ...], probability: float) -> None:
    x, labels = batch(*shape), torch.eye(7, dtype=torch.float64)
    mixed, lengths, targets = WaveMixup(probability)(x, LENGTHS, labels, seeded(3))
    clips = [row[..., :length] for row, length in zip(x, LENGTHS.tolist(), strict=True)]
    changed = 0
    for at, (sound, target) in enumerate(zip(mixed, targets, strict=True)):
        others = [k for k in target.nonzero().flatten().tolist() if k != at]
        if not others:
            assert lengths[at] == LENGTHS[at]
            torch.testing.assert_close(sound, x[at], rtol=0, atol=0, equal_nan=True)
            continue
        changed += 1
        (other,) = others
        longest = int(max(LENGTHS[at], LENGTHS[other]))
        own, partner = repeated(clips[at], longest), repeated(clips[other], longest)
        assert lengths[at] == longest
        expected = target[at] * own + target[other] * partner
        torch.testing.assert_close(sound[..., :longest], expected)
        assert (sound[..., longest:] == 0).all()
    assert changed == 7 if probability == 1.0 else 0 < changed < 7
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(7, dtype=torch.float64))


def test_nobody_is_its_own_partner_and_anybody_else_may_be() -> None:
    generator = seeded()
    seen = torch.zeros(5, 5)
    for _ in range(2000):
        partners = random_partners(5, generator, torch.device("cpu"))
        assert partners.sort().values.tolist() == [0, 1, 2, 3, 4]
        seen[torch.arange(5), partners] += 1
    assert (seen.diagonal() == 0).all()
    shares = seen[~torch.eye(5, dtype=torch.bool)] / 2000
    torch.testing.assert_close(shares, torch.full((20,), 0.25), atol=0.05, rtol=0)
    assert random_partners(2, generator, torch.device("cpu")).tolist() == [1, 0]


def test_shares_are_uniform_and_as_many_are_mixed_as_asked_for() -> None:
    count = 20000
    x = torch.eye(2).repeat(count // 2, 1)  # the class is the sound
    labels = torch.arange(count)[:, None].double()
    lengths = torch.full((count,), 2)
    _, _, targets = WaveMixup(0.3)(x, lengths, labels, seeded())
    mixed = (targets != labels)[:, 0]
    assert mixed.double().mean().item() == pytest.approx(0.3, abs=0.015)

    own_class = torch.eye(2).repeat(count // 2, 1)
    _, _, targets = WaveMixup(1.0)(x, lengths, own_class, seeded())
    shares = (targets * own_class).sum(dim=1)
    shares = shares[shares < 1]  # not mixed with the same class
    quantiles = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])
    torch.testing.assert_close(shares.quantile(quantiles), quantiles, atol=0.02, rtol=0)


def test_the_larger_term_counts_with_the_max_rule() -> None:
    x, lengths = torch.randn(64, 8, generator=seeded(1)), torch.full((64,), 8)
    labels = torch.eye(3)[torch.arange(64) % 3]
    added = WaveMixup(1.0, "sum")(x, lengths, labels, seeded())
    larger = WaveMixup(1.0, "max")(x, lengths, labels, seeded())
    assert torch.equal(added[0], larger[0])
    alike = (added[2] > 0).sum(dim=1) == 1  # two clips of one class
    assert 5 < alike.sum() < 40
    torch.testing.assert_close(larger[2][~alike], added[2][~alike])
    torch.testing.assert_close(added[2][alike].sum(dim=1), torch.ones(int(alike.sum())))
    weights = larger[2][alike].sum(dim=1)
    assert (weights >= 0.5).all()
    assert (weights < 1).all()
    assert weights.unique().numel() > 3


def test_mixing_before_and_after_the_front_end_is_the_same() -> None:
    front_end, labels = Waveform(sample_rate=10, seconds=3.0), torch.eye(7)
    waveforms = batch().float()
    mixture = WaveMixup(1.0)
    mixed, lengths, targets = mixture(waveforms, LENGTHS, labels, seeded(3))
    before = front_end(mixed, lengths)[0]
    features, frames = front_end(waveforms, LENGTHS)
    after, frames_after, targets_after = mixture(features, frames, labels, seeded(3))
    assert torch.equal(targets, targets_after)
    assert torch.equal(frames_after, frames)
    filled = lengths >= 30
    assert 4 <= filled.sum() < 7
    torch.testing.assert_close(after[filled], before[filled])


def test_the_generator_decides_everything_and_nothing_is_changed_in_place() -> None:
    x, labels = batch(fill=2.0), torch.eye(7)
    arguments = (x.clone(), LENGTHS.clone(), labels.clone())
    torch.manual_seed(1)
    first = WaveMixup()(*arguments, seeded())
    torch.manual_seed(2)
    again = WaveMixup()(*arguments, seeded())
    other = WaveMixup()(*arguments, seeded(5))
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first[0], other[0])
    for given, kept in zip(arguments, (x, LENGTHS, labels), strict=True):
        assert torch.equal(given, kept)


def test_nothing_happens_in_eval_with_one_clip_or_with_probability_zero() -> None:
    x, labels = batch(fill=0.0), torch.eye(7)
    for mixture, size in ((WaveMixup(1.0).eval(), 7), (WaveMixup(1.0), 1), (WaveMixup(0.0), 7)):
        arguments = (x[:size], LENGTHS[:size], labels[:size])
        for got, given in zip(mixture(*arguments, seeded()), arguments, strict=True):
            assert torch.equal(got, given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probability": 1.5}, "probability"),
        ({"probability": -0.1}, "probability"),
        ({"label_rule": "mean"}, "label_rule"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"WaveMixup.*{message}"):
        WaveMixup(**options)
