"""Accuracy apart by the confidence of labels, against loops."""

from __future__ import annotations

import math

import pytest
import torch

from tonotopy._errors import UsageError
from tonotopy.metrics import accuracy, confidence_scores, expected_calibration_error


def drawn(count: int = 60) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.randn(count, 4, generator=generator).softmax(dim=1)
    labels = torch.randint(-1, 4, (count,), generator=generator)
    confidence = torch.tensor([0.0, 0.3, 1.0])[torch.randint(3, (count,), generator=generator)]
    return probabilities, labels, confidence


def test_it_is_a_loop_over_clips() -> None:
    probabilities, labels, confidence = drawn()
    found = confidence_scores(probabilities, labels, confidence)
    right = {True: [0, 0], False: [0, 0]}
    weighted = weights = 0.0
    for row, label, sure in zip(probabilities, labels.tolist(), confidence.tolist(), strict=True):
        if label < 0:
            continue
        hit = int(row.argmax()) == label
        right[sure == 1.0][0] += hit
        right[sure == 1.0][1] += 1
        weighted += sure * hit
        weights += sure
    assert (found.verified, found.unverified) == (right[True][1], right[False][1])
    assert found.accuracy_verified == pytest.approx(right[True][0] / right[True][1])
    assert found.accuracy_unverified == pytest.approx(right[False][0] / right[False][1])
    assert found.accuracy_weighted == pytest.approx(weighted / weights)
    sure_rows = confidence == 1.0
    for rows, ece in ((sure_rows, found.ece_verified), (~sure_rows, found.ece_unverified)):
        assert ece == pytest.approx(expected_calibration_error(probabilities[rows], labels[rows]))


def test_with_equal_confidence_it_is_the_accuracy() -> None:
    probabilities, labels, _ = drawn()
    plain = accuracy(probabilities.argmax(dim=1), labels)
    found = confidence_scores(probabilities, labels, torch.full((60,), 0.4))
    assert found.accuracy_weighted == pytest.approx(plain)
    assert found.accuracy_unverified == pytest.approx(plain)
    assert math.isnan(found.accuracy_verified)
    assert math.isnan(found.ece_verified)


def test_flags_weigh_only_verified_clips() -> None:
    probabilities, labels, confidence = drawn()
    flags = confidence > 0.5
    found = confidence_scores(probabilities, labels, flags)
    assert found.accuracy_weighted == found.accuracy_verified
    assert math.isnan(confidence_scores(probabilities, labels, ~flags & flags).accuracy_weighted)


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan])
def test_confidences_out_of_range_are_refused(bad: float) -> None:
    probabilities, labels, confidence = drawn()
    confidence[int((labels >= 0).nonzero()[0])] = bad
    with pytest.raises(UsageError, match="0 to 1"):
        confidence_scores(probabilities, labels, confidence)


def test_shapes_must_fit() -> None:
    probabilities, labels, confidence = drawn()
    with pytest.raises(UsageError, match="one confidence for each of 60 labels"):
        confidence_scores(probabilities, labels, confidence[:-1])
