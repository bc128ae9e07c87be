"""Five accuracies against loops written from their definitions, and their relations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.metrics import (
    CLIP_ACCURACIES,
    clip_accuracies,
    clip_majority,
    clip_probabilities,
)

CLASSES = 4


def drawn(seed: int, clips: int = 30) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Patches of clips of unequal length in mixed order, and random decisions."""
    random = np.random.default_rng(seed)
    counts = random.integers(1, 6, clips)
    owners = random.permutation(np.repeat(np.arange(clips), counts))
    labels = random.integers(-1, CLASSES, clips)
    patches = np.where(
        random.random(len(owners)) < 0.5, labels[owners], random.integers(0, CLASSES, len(owners))
    )
    decided = np.where(random.random(clips) < 0.6, labels, random.integers(0, CLASSES, clips))
    return tuple(torch.from_numpy(a) for a in (patches, decided, owners, labels))  # type: ignore[return-value]


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def loop(patches: Tensor, decided: Tensor, owners: Tensor, labels: Tensor) -> list[float]:
    """The definitions, clip by clip and patch by patch."""
    clip_right: dict[int, list[int]] = {}
    patch_right: dict[int, list[int]] = {}
    weighted: list[int] = []
    for clip, (guess, label) in enumerate(zip(decided.tolist(), labels.tolist(), strict=True)):
        if label < 0:
            continue
        clip_right.setdefault(label, []).append(int(guess == label))
        for patch, owner in zip(patches.tolist(), owners.tolist(), strict=True):
            if owner == clip:
                patch_right.setdefault(label, []).append(int(patch == label))
                weighted.append(int(guess == label))
    return [
        mean([right for rights in clip_right.values() for right in rights]),
        mean([mean(rights) for rights in clip_right.values()]),
        mean([right for rights in patch_right.values() for right in rights]),
        mean([mean(rights) for rights in patch_right.values()]),
        mean(weighted),
    ]


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_definitions(seed: int) -> None:
    case = drawn(seed)
    found = clip_accuracies(*case, draws=0)
    assert list(found) == list(CLIP_ACCURACIES)
    assert [found[name].value for name in CLIP_ACCURACIES] == pytest.approx(loop(*case), abs=1e-12)
    assert all(math.isnan(found[name].low) for name in CLIP_ACCURACIES)


def test_patch_weighted_is_the_mean_of_clip_decisions_by_their_patches() -> None:
    patches, decided, owners, labels = drawn(3)
    sizes = Counter(owners.tolist())
    known = [clip for clip in range(len(labels)) if labels[clip] >= 0]
    right = [float(decided[clip] == labels[clip]) for clip in known]
    expected = np.average(right, weights=[sizes[clip] for clip in known])
    found = clip_accuracies(patches, decided, owners, labels, draws=0)
    assert found["accuracy_patch_weighted"].value == pytest.approx(expected)
    # With equally many patches in each clip the weights say nothing.
    even = clip_accuracies(
        decided.repeat_interleave(3),
        decided,
        torch.arange(len(labels)).repeat_interleave(3),
        labels,
        draws=0,
    )
    micro = even["accuracy_clip_micro"].value
    assert even["accuracy_patch_weighted"].value == pytest.approx(micro)
    assert even["accuracy_patch_micro"].value == pytest.approx(micro)


def test_the_interval_is_that_of_resampled_clips() -> None:
    """Against the loop over explicitly resampled clips, in distribution."""
    case = drawn(1, clips=40)
    found = clip_accuracies(*case, draws=4000, seed=5)
    patches, decided, owners, labels = case
    random = np.random.default_rng(0)
    known = np.flatnonzero(labels.numpy() >= 0)
    values = []
    for _ in range(400):
        chosen = torch.from_numpy(random.choice(known, len(known)))
        rows = [torch.nonzero(owners == clip).ravel() for clip in chosen]
        again = torch.cat([torch.full((len(row),), place) for place, row in enumerate(rows)])
        values.append(loop(patches[torch.cat(rows)], decided[chosen], again, labels[chosen]))
    low, high = np.percentile(values, [2.5, 97.5], axis=0)
    for name, a, b in zip(CLIP_ACCURACIES, low, high, strict=True):
        assert found[name].low == pytest.approx(a, abs=0.05)
        assert found[name].high == pytest.approx(b, abs=0.05)
        assert found[name].low <= found[name].value <= found[name].high
        assert found[name].high - found[name].low > 0.1


def test_resamples_depend_on_the_seed_alone() -> None:
    case = drawn(2)
    assert clip_accuracies(*case, seed=1) == clip_accuracies(*case, seed=1)
    assert clip_accuracies(*case, seed=1) != clip_accuracies(*case, seed=2)


def test_blocks_of_resamples_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    case = drawn(2)
    whole = clip_accuracies(*case, draws=50)
    # One clip a block would draw the same numbers in the same order.
    monkeypatch.setattr("tonotopy.metrics.clip_accuracy.BLOCK_VALUES", 1)
    assert clip_accuracies(*case, draws=50) == whole


def test_permuting_patches_and_clips_changes_no_value() -> None:
    patches, decided, owners, labels = drawn(4)
    turn = torch.randperm(len(owners), generator=torch.Generator().manual_seed(0))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    place = order.argsort()
    plain = clip_accuracies(patches, decided, owners, labels, draws=0)
    mixed = clip_accuracies(
        patches[turn], decided[order], place[owners[turn]], labels[order], draws=0
    )
    for name in CLIP_ACCURACIES:
        assert mixed[name].value == pytest.approx(plain[name].value, abs=1e-12)


def test_extremes() -> None:
    labels, owners = torch.tensor([0, 1, 2]), torch.tensor([0, 0, 1, 2])
    right = clip_accuracies(labels[owners], labels, owners, labels)
    assert all(tuple(entry) == (1.0, 1.0, 1.0) for entry in right.values())
    wrong = clip_accuracies(labels[owners] + 1, labels + 1, owners, labels)
    assert all(tuple(entry) == (0.0, 0.0, 0.0) for entry in wrong.values())
    none = clip_accuracies(labels[owners], labels, owners, torch.full((3,), -1))
    assert all(math.isnan(entry.value) for entry in none.values())


def test_clips_decide_by_mean_probability_or_majority() -> None:
    # Two patches lean to class 1, one is sure of class 0: mean and majority differ.
    probabilities = torch.tensor([[0.45, 0.55], [0.45, 0.55], [1.0, 0.0]])
    owners = torch.tensor([0, 0, 0])
    assert clip_probabilities(probabilities, owners, 1).argmax().item() == 0
    assert clip_majority(probabilities.argmax(dim=1), owners, 1, 2).item() == 1
    # A tie goes to the lowest class, whichever comes first.
    for votes in ([3, 1], [1, 3]):
        assert clip_majority(torch.tensor(votes), torch.tensor([0, 0]), 1, 4).item() == 1


def test_what_does_not_fit_is_refused() -> None:
    owners = torch.tensor([0, 0])
    with pytest.raises(UsageError, match="clip 1 has no patch"):
        clip_majority(torch.tensor([0, 0]), owners, 2, 2)
    with pytest.raises(UsageError, match="one owner for each of 2 patches"):
        clip_probabilities(torch.ones(2, 2), torch.tensor([0]), 1)
    with pytest.raises(UsageError, match="0 to 0"):
        clip_majority(torch.tensor([0]), torch.tensor([1]), 1, 2)
    labels = torch.tensor([0])
    with pytest.raises(UsageError, match="labels"):
        clip_accuracies(torch.tensor([0, 0]), torch.tensor([0, 1]), owners, labels)
    with pytest.raises(UsageError, match="draws"):
        clip_accuracies(torch.tensor([0, 0]), torch.tensor([0]), owners, labels, draws=-1)
