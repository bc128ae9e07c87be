from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score
from sklearn.metrics import confusion_matrix as sklearn_confusion
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy.metrics import (
    accuracy,
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
)


def draw(n: int, classes: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    predicted = torch.randint(classes, (n,), generator=generator)
    labels = torch.where(torch.rand(n, generator=generator) < 0.6, predicted, predicted.roll(1))
    labels[torch.rand(n, generator=generator) < 0.2] = -1
    labels[labels == classes - 1] = -1  # the last class is predicted but never true
    return predicted, labels


@pytest.mark.parametrize(("n", "classes", "seed"), [(200, 5, 0), (60, 12, 1), (30, 2, 2)])
def test_agree_with_scikit_learn(n: int, classes: int, seed: int) -> None:
    predicted, labels = draw(n, classes, seed)
    known = labels >= 0
    truth, guess = labels[known].numpy(), predicted[known].numpy()
    present = np.unique(truth)
    assert accuracy(predicted, labels) == pytest.approx(accuracy_score(truth, guess))
    assert macro_f1(predicted, labels, classes) == pytest.approx(
        f1_score(truth, guess, labels=present, average="macro", zero_division=0)
    )
    wanted = sklearn_confusion(truth, guess, labels=range(classes))
    assert confusion_matrix(predicted, labels, classes).tolist() == wanted.tolist()


def loop_ece(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    total, known = 0.0, [i for i, label in enumerate(labels.tolist()) if label >= 0]
    for b in range(bins):
        inside = [
            i
            for i in known
            if b / bins < max(probabilities[i].tolist()) <= (b + 1) / bins
            or (b == 0 and max(probabilities[i].tolist()) == 0.0)
        ]
        if inside:
            confidence = sum(max(probabilities[i].tolist()) for i in inside) / len(inside)
            right = sum(int(probabilities[i].argmax() == labels[i]) for i in inside) / len(inside)
            total += len(inside) / len(known) * abs(right - confidence)
    return total


@pytest.mark.parametrize("bins", [1, 15])
def test_ece_equals_a_loop_over_bins(bins: int) -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.randn(300, 4, generator=generator, dtype=torch.float64).softmax(dim=1)
    labels = torch.randint(-1, 4, (300,), generator=generator)
    got = expected_calibration_error(probabilities, labels, num_bins=bins)
    assert got == pytest.approx(loop_ece(probabilities, labels, bins), abs=1e-12)


@pytest.mark.parametrize("edge", range(1, 16))
def test_a_confidence_on_an_edge_belongs_to_the_bin_below(edge: int) -> None:
    at = edge / 15
    # Wrong on the edge, right just inside the same bin: the gaps cancel only in one bin.
    inside = at - 1 / 30
    probabilities = torch.tensor([[at, 0.0], [inside, 0.0]], dtype=torch.float64)
    got = expected_calibration_error(probabilities, torch.tensor([1, 0]))
    assert got == pytest.approx(abs((0 - at) + (1 - inside)) / 2, abs=1e-12)


def test_a_confidence_of_zero_belongs_to_the_first_bin() -> None:
    probabilities = torch.tensor([[0.0, 0.0], [0.05, 0.0]], dtype=torch.float64)
    # Both right by the first-class rule: gaps 1 and 0.95 in one bin.
    got = expected_calibration_error(probabilities, torch.tensor([0, 1]))
    assert got == pytest.approx(abs((1 - 0) + (0 - 0.05)) / 2)


def test_ece_knows_calibrated_from_overconfident() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    honest = torch.tensor([[0.75, 0.25]] * 4)
    boasting = torch.tensor([[1.0, 0.0]] * 4)
    assert expected_calibration_error(honest, labels) == pytest.approx(0.0, abs=1e-7)
    assert expected_calibration_error(boasting, labels) == pytest.approx(0.25)


def test_unlabelled_clips_change_nothing() -> None:
    predicted, labels = draw(100, 4, 3)
    known = labels >= 0
    assert accuracy(predicted, labels) == accuracy(predicted[known], labels[known])
    assert macro_f1(predicted, labels, 4) == macro_f1(predicted[known], labels[known], 4)
    probabilities = torch.randn(100, 4, generator=torch.Generator().manual_seed(0)).softmax(dim=1)
    probabilities[~known] = torch.nan
    assert expected_calibration_error(probabilities, labels) == expected_calibration_error(
        probabilities[known], labels[known]
    )


def test_nothing_labelled_is_nan() -> None:
    labels = torch.tensor([-1, -1])
    assert math.isnan(accuracy(torch.tensor([0, 1]), labels))
    assert math.isnan(macro_f1(torch.tensor([0, 1]), labels, 2))
    assert math.isnan(expected_calibration_error(torch.eye(2), labels))


def test_wrong_use_is_named() -> None:
    with pytest.raises(UsageError, match="below num_classes = 2, got 2"):
        confusion_matrix(torch.tensor([0]), torch.tensor([2]), 2)
    with pytest.raises(UsageError, match="below num_classes = 2, got 5"):
        confusion_matrix(torch.tensor([5]), torch.tensor([0]), 2)
    with pytest.raises(UsageError, match="0 or more"):
        confusion_matrix(torch.tensor([-1]), torch.tensor([0]), 2)
    with pytest.raises(UsageError, match="got"):
        confusion_matrix(torch.tensor([0, 1]), torch.tensor([0]), 2)
    with pytest.raises(UsageError, match="num_bins"):
        expected_calibration_error(torch.eye(2), torch.tensor([0, 1]), num_bins=0)
    with pytest.raises(UsageError, match="below num_classes = 2"):
        expected_calibration_error(torch.eye(2), torch.tensor([0, 2]))
    with pytest.raises(DataError, match="1 of 2 probabilities"):
        expected_calibration_error(torch.tensor([[1.0], [math.nan]]), torch.tensor([0, 0]))
