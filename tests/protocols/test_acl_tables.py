"""The tables of the angular contrastive experiment: published figures, means, and what is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tonotopy.datasets.fsdnoisy18k import COUNTS
from tonotopy.metrics.clip_accuracy import CLIP_ACCURACIES
from tonotopy.protocols._acl_published import published_accuracy
from tonotopy.protocols._acl_summary import about
from tonotopy.protocols._acl_tables import choose, headings, sections, table_rows, write_tables
from tonotopy.protocols.acl_experiment import ALPHAS, AclOptions


def test_published_figures() -> None:
    assert published_accuracy("linear", 0.3, temperature=0.2) == pytest.approx(
        {"accuracy_patch_weighted": 0.77070, "accuracy_clip_macro": 0.74463}
    )
    assert published_accuracy("linear", 1.0, temperature=0.1) == pytest.approx(
        {"accuracy_patch_weighted": 0.77081}
    )
    assert published_accuracy("linear", 0.7, temperature=0.1) == pytest.approx(
        {"accuracy_patch_weighted": 0.78356}
    )
    assert published_accuracy("supervised", 0.7, subset="all") == pytest.approx(
        {"accuracy_clip_micro": 0.736}
    )
    for nothing in (
        published_accuracy("linear", 0.25, temperature=0.2),
        published_accuracy("linear", 0.3, temperature=0.1),
        published_accuracy("finetune-clean", 0.7, temperature=0.1),
        published_accuracy("supervised", 0.0, subset="all"),
    ):
        assert nothing == {}
    # The means that the paper's own table gives for alpha 0.1 to 0.9.
    weighted = [
        published_accuracy("linear", alpha, temperature=0.2)["accuracy_patch_weighted"]
        for alpha in ALPHAS[1:-1]
    ]
    assert np.mean(weighted) == pytest.approx(0.7508, abs=5e-5)
    assert np.std(weighted, ddof=1) == pytest.approx(0.0164, abs=5e-5)


def done(kind: str, alpha: float, seed: int, value: float, **others: Any) -> dict[str, Any]:
    about = {"value": value, "low": value - 0.1, "high": value + 0.1}
    trial = {"kind": kind, "alpha": alpha, "seed": seed, "temperature": 0.2, "subset": None}
    return trial | {"accuracy": dict.fromkeys(CLIP_ACCURACIES, about)} | others


def test_tables_average_seeds_and_choose_by_validation(tmp_path: Path) -> None:
    trials = [
        done("pretrain", 0.3, 0, 0.5),
        done("pretrain", 0.3, 1, 0.7),
        done("pretrain", 1.0, 0, 0.55),
        done("linear", 1.0, 0, 0.9),
        done("linear", 0.3, 0, 0.4),
        done("linear", 0.3, 1, 0.5),
    ]
    result = write_tables(tmp_path, trials, AclOptions(), {"clean": 1, "noisy": 1, "test": 1})
    assert result["chosen"] == {"0.2": 0.3}  # not the best on the test clips
    rows = sections(result["table"])["Linear evaluation, temperature 0.2"]
    assert headings(rows) == [
        "alpha", "runs", "micro", "macro", "macro, published",
        "patch-weighted", "patch-weighted, published",
    ]  # fmt: skip
    assert table_rows(rows) == [
        ["0.3", "2", *["45.0 ± 7.1 [35.0, 55.0]"] * 2, "74.5", "45.0 ± 7.1 [35.0, 55.0]", "77.1"],
        ["1", "1", *["90.0 [80.0, 100.0]"] * 2, "72.7", "90.0 [80.0, 100.0]", "74.2"],
    ]
    weighted = done("pretrain", 1.0, 0, 0.1)
    weighted["accuracy"] = weighted["accuracy"] | {
        "accuracy_patch_weighted": {"value": 0.99, "low": 0.9, "high": 1.0}
    }
    table = write_tables(tmp_path, [trials[0], weighted], AclOptions(), COUNTS)["table"]
    assert choose(table, patch_weighted=True) == {"0.2": 1.0}
    assert choose(table, patch_weighted=False) == {"0.2": 0.3}


def test_what_was_left_out_is_said() -> None:
    full = [done("linear", alpha, 0, 0.5) for alpha in ALPHAS]
    said = about(full, AclOptions(), COUNTS)
    assert not any(line.startswith("Linear evaluation") for line in said["left_out"])
    assert "Fine-tuning on the small clean set: nothing." in said["left_out"]
    part = about(full[:2], AclOptions(probe_epochs=3), COUNTS)["left_out"]
    assert "Linear evaluation: not alpha 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1." in part
    assert "Linear evaluation: 3 epochs, not 200." in part
    named = about([], AclOptions(authors=("reduction",)), COUNTS)
    assert any(line.startswith("As the authors, reduction") for line in named["ran"])
    assert any("The authors' input-scale" in line for line in named["left_out"])
