"""Anomaly metrics: values computed from their formulas by loops, and two published baselines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tonotopy.metrics import (
    SectionScores,
    best_f1,
    f1_ev,
    harmonic_mean,
    official_score,
    partial_auc,
    roc_auc,
    section_scores,
)

_FILE: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[1] / "golden" / "anomaly.json").read_text(encoding="utf-8")
)
VALUES: dict[str, float] = _FILE["values"]
INPUTS = _FILE["inputs"]


def scores(name: str) -> Tensor:
    return torch.tensor(INPUTS[name], dtype=torch.float64)


def wanted(name: str) -> Any:
    return pytest.approx(VALUES[name], abs=1e-9)


def test_areas_and_f1() -> None:
    both = scores("normal"), scores("anomalous")
    assert roc_auc(*both) == wanted("auc")
    assert partial_auc(*both) == wanted("pauc_0.1")
    assert partial_auc(*both, 0.25) == wanted("pauc_0.25")
    assert partial_auc(*both, form="counting") == wanted("pauc_counting")
    assert f1_ev(*both) == wanted("f1_ev")
    assert best_f1(*both) == (wanted("best_f1"), wanted("best_threshold"))
    assert harmonic_mean([0.9, 0.6, 0.55]) == wanted("harmonic_mean")


def test_a_section_of_two_domains() -> None:
    names = ["source_normal", "source_anomalous", "target_normal", "target_anomalous"]
    parts = [scores(name) for name in names]
    found = section_scores(
        "fan/00",
        torch.cat(parts),
        torch.cat([torch.full((len(p),), n % 2 == 1) for n, p in enumerate(parts)]),
        [name.split("_")[0] for name, part in zip(names, parts, strict=True) for _ in part],
    )
    for name in ("auc_source", "auc_target", "auc_within_source", "auc_within_target"):
        assert getattr(found, name) == wanted(name)
    assert found.pauc == wanted("pauc_section")
    assert official_score([found], 2021) == wanted("score_2021")
    for year in (2022, 2023, 2024, 2025):
        assert official_score([found], year) == wanted("score_2022")


@pytest.mark.parametrize("name", ["baseline_mahalanobis", "baseline_mse"])
def test_the_published_baselines_of_2023(name: str) -> None:
    sections = [
        SectionScores(f"machine{number}/00", auc_source=source, auc_target=target, pauc=pauc)
        for number, (source, target, pauc) in enumerate(zip(*INPUTS[name], strict=True))
    ]
    assert official_score(sections, 2023) == wanted(name)
