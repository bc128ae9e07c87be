from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy.metrics import (
    SectionScores,
    decision_scores,
    harmonic_mean,
    jackknife_interval,
    official_score,
    partial_auc,
    pooled_interval,
    roc_auc,
    section_scores,
)


def draw(n: int, seed: int) -> tuple[Tensor, Tensor, list[str]]:
    generator = torch.Generator().manual_seed(seed)
    anomalous = torch.rand(n, generator=generator) < 0.4
    target = torch.rand(n, generator=generator) < 0.3
    scores = torch.randn(n, generator=generator).double() + anomalous + 0.5 * target
    return scores, anomalous, ["target" if flag else "source" for flag in target.tolist()]


def test_domains_are_scored_as_by_the_evaluator() -> None:
    scores, anomalous, domains = draw(150, 0)
    found = section_scores("fan/00", scores, anomalous, domains)
    y, s, d = anomalous.numpy(), scores.numpy(), np.array(domains)
    assert found.machine == "fan/00"
    assert found.auc == pytest.approx(roc_auc_score(y, s))
    assert found.pauc == pytest.approx(roc_auc_score(y, s, max_fpr=0.1))
    for domain in ("source", "target"):
        official, within = (d == domain) | y, d == domain
        for name, kept, p in (
            ("auc", official, None),
            ("auc_within", within, None),
            ("pauc_within", within, 0.1),
        ):
            wanted = roc_auc_score(y[kept], s[kept], max_fpr=p)
            assert getattr(found, f"{name}_{domain}") == pytest.approx(wanted, abs=1e-12)


def test_a_clip_of_unknown_domain_is_not_lost() -> None:
    scores, anomalous, domains = draw(60, 1)
    unknown = [None] * 60
    found = section_scores("fan", scores, anomalous, unknown)
    assert found.auc == roc_auc(scores[~anomalous], scores[anomalous])
    assert math.isnan(found.auc_source)
    assert math.isnan(found.auc_target)
    half = [d if not a else None for d, a in zip(domains, anomalous.tolist(), strict=True)]
    known = section_scores("fan", scores, anomalous, domains)
    partly = section_scores("fan", scores, anomalous, half)
    assert (partly.auc_source, partly.auc_target) == (known.auc_source, known.auc_target)
    assert math.isnan(partly.auc_within_source)


def test_scores_of_the_years() -> None:
    rows = [
        SectionScores("fan/00", 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2),
        SectionScores("fan/02", 0.8, 0.6, 0.9, 0.5, 0.6, 0.5, 0.7, 0.4),
        SectionScores("pump/00", 0.5, 0.5, 0.5, 0.5, 0.9, 0.9, 0.9, 0.9),
    ]
    assert official_score(rows, 2020) == pytest.approx(((0.85 + 0.7) / 2 + 0.5) / 2)
    used = [0.5, 0.4, 0.3, 0.2, 0.6, 0.5, 0.7, 0.4, 0.9, 0.9, 0.9, 0.9]
    assert official_score(rows, 2021) == pytest.approx(stats.hmean(used))
    used = [0.7, 0.6, 0.8, 0.9, 0.5, 0.6, 0.5, 0.5, 0.5]
    assert official_score(rows[::-1], 2023) == pytest.approx(stats.hmean(used))


def test_an_official_score_says_what_is_missing() -> None:
    row = SectionScores("fan/00", auc=0.5, pauc=0.5, auc_source=0.5)
    assert official_score([row], 2020) == 0.5
    with pytest.raises(UsageError, match="fan/00 has no auc_target, which the score of 2024"):
        official_score([row], 2024)
    with pytest.raises(UsageError, match="at least one"):
        official_score([], 2020)
    with pytest.raises(UsageError, match="2020 to 2025"):
        official_score([row], 2019)


def test_harmonic_mean_has_a_floor() -> None:
    values = [0.5, 0.0, 0.9]
    assert harmonic_mean(values) == pytest.approx(
        stats.hmean(np.maximum(values, sys.float_info.epsilon))
    )
    assert harmonic_mean([-1.0]) == sys.float_info.epsilon
    assert math.isnan(harmonic_mean([]))
    assert math.isnan(harmonic_mean([0.5, math.nan]))


def test_decisions_agree_with_scikit_learn() -> None:
    scores, anomalous, domains = draw(80, 2)
    decided = scores > 0.8
    found = decision_scores(decided, anomalous, domains)
    for domain in ("source", "target"):
        kept = np.array(domains) == domain
        precision, recall, f1, _ = precision_recall_fscore_support(
            anomalous.numpy()[kept], decided.numpy()[kept], average="binary"
        )
        scored = found[domain]
        assert (scored.precision, scored.recall, scored.f1) == pytest.approx(
            (precision, recall, f1)
        )
    nothing = decision_scores(torch.zeros(80, dtype=torch.bool), anomalous, domains)["source"]
    assert (nothing.precision, nothing.recall, nothing.f1) == (0, 0, 0)


def test_what_does_not_fit_is_refused() -> None:
    scores, anomalous, domains = draw(10, 3)
    with pytest.raises(UsageError, match="9"):
        section_scores("fan", scores, anomalous, domains[:9])
    with pytest.raises(UsageError, match=r"torch\.float64"):
        section_scores("fan", scores, scores, domains)
    with pytest.raises(UsageError, match="'here'"):
        section_scores("fan", scores, anomalous, ["here"] * 10)
    with pytest.raises(UsageError, match="scores > threshold"):
        decision_scores(scores, anomalous, domains)
    with pytest.raises(DataError, match="NaN"):
        section_scores("fan", scores * math.nan, anomalous, domains)


def mean_of_normal(normal: Tensor, anomalous: Tensor) -> float:
    return normal.mean().item()


def test_the_jackknife_of_a_mean_is_students_interval() -> None:
    generator = torch.Generator().manual_seed(0)
    both = torch.randn(30, generator=generator).double()

    def mean(normal: Tensor, anomalous: Tensor) -> float:
        return torch.cat([normal, anomalous]).mean().item()

    found = jackknife_interval(mean, both[:20], both[20:])
    wanted = stats.t.interval(0.95, 29, loc=both.mean(), scale=stats.sem(both.numpy()))
    assert found.estimate == pytest.approx(float(both.mean()), abs=1e-12)
    assert found.half_width == pytest.approx((wanted[1] - wanted[0]) / 2, rel=1e-10)


@pytest.mark.parametrize("statistic", [roc_auc, partial_auc])
def test_the_released_interval_is_narrower_by_the_clips(statistic) -> None:  # type: ignore[no-untyped-def]
    scores, anomalous, _ = draw(60, 4)
    both = scores[~anomalous], scores[anomalous]
    truth, values = anomalous.numpy(), scores.numpy()
    p = 0.1 if statistic is partial_auc else None
    whole = roc_auc_score(truth, values, max_fpr=p)
    left_out = np.array(
        [roc_auc_score(np.delete(truth, i), np.delete(values, i), max_fpr=p) for i in range(60)]
    )
    # As the evaluators have it, written out.
    error = np.sqrt(np.sum((left_out - left_out.mean()) ** 2) / (60 * 59))
    released = jackknife_interval(statistic, *both, form="released")
    assert released.estimate == pytest.approx(60 * whole - 59 * left_out.mean(), abs=1e-9)
    assert released.half_width == pytest.approx(abs(stats.t.ppf(0.025, 59)) * error, rel=1e-8)
    ours = jackknife_interval(statistic, *both)
    assert ours.half_width == pytest.approx(59 * released.half_width, rel=1e-12)


def test_the_interval_of_auc_has_its_width() -> None:
    # 200 draws of two normal populations: the spread of the AUC against the mean half-width.
    generator = torch.Generator().manual_seed(5)
    draws = [
        (torch.randn(25, generator=generator), torch.randn(25, generator=generator) + 1)
        for _ in range(200)
    ]
    spread = np.std([roc_auc(*draw) for draw in draws], ddof=1)
    widths = [jackknife_interval(roc_auc, *draw).half_width for draw in draws[:50]]
    assert np.mean(widths) / 2.01 == pytest.approx(spread, rel=0.25)


def test_the_pooled_interval_is_a_mean_of_two() -> None:
    scores, anomalous, _ = draw(50, 6)
    both = scores[~anomalous], scores[anomalous]
    parts = [jackknife_interval(s, *both).half_width for s in (roc_auc, partial_auc)]
    assert pooled_interval(*both) == pytest.approx(sum(parts) / 2)
    with pytest.raises(UsageError, match="got 1 and"):
        pooled_interval(both[0][:1], both[1])
    with pytest.raises(UsageError, match="form"):
        jackknife_interval(mean_of_normal, *both, form="other")  # type: ignore[arg-type]
