"""How good the scores of a detector are on the test clips of its run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import polars as pl
import torch

from tonotopy.detection import Detector, Threshold
from tonotopy.metrics import best_f1, f1_ev, harmonic_mean, section_scores


def anomaly_metrics(scores: pl.DataFrame, detector: Detector) -> dict[str, Any]:
    """Measure scores on test clips of which the condition is known.

    Args:
        scores: Of `score_run`.
        detector: Whose they are.

    Returns:
        `machines`: for each its counts, thresholds, false-alarm rate on test normals and, where
        there are at least two recordings of each condition, AUC and pAUC, by domain too, best F1
        and F1-EV; `hmean`: harmonic means over these machines of AUC and pAUC, or None.
    """
    machines = {
        name: _machine_metrics(scores.filter(pl.col("machine") == name), detector, name)
        for name in detector.names
    }
    judged = [found["scores"] for found in machines.values() if found["scores"] is not None]
    return {
        "scorer": detector.options.scorer.to_dict(),
        "false_alarm_rate": detector.options.false_alarm_rate,
        "window_seconds": detector.window_seconds,
        "machines": machines,
        "hmean": {
            name: harmonic_mean([found[name] for found in judged]) for name in ("auc", "pauc")
        }
        if judged
        else None,
    }


def _machine_metrics(own: pl.DataFrame, detector: Detector, name: str) -> dict[str, Any]:
    machine = detector.machine(name)
    test = own.filter(pl.col("split") == "test", pl.col("condition").is_not_null())
    anomalous = torch.from_numpy((test["condition"] == "anomaly").to_numpy().copy())
    scores = torch.from_numpy(test["score"].to_numpy().copy())
    alarms = torch.from_numpy(test["anomalous"].to_numpy().copy())
    found: dict[str, Any] = {
        "references": len(machine.references),
        "calibrated_on": machine.calibrated_on,
        "thresholds": {key: _threshold(value) for key, value in machine.thresholds.items()},
        "test_normals": int((~anomalous).sum()),
        "test_anomalies": int(anomalous.sum()),
        "false_alarms": int(alarms[~anomalous].sum()),
        "detected": int(alarms[anomalous].sum()),
        "scores": None,
    }
    recordings = test.group_by("condition").agg(pl.col("path").n_unique())["path"]
    if len(recordings) == 2 and (recordings > 1).all():  # nothing is claimed from one recording
        normal_scores, anomaly_scores = scores[~anomalous], scores[anomalous]
        found["scores"] = asdict(
            section_scores(name, scores, anomalous, test["domain"].to_list())
        ) | {
            "best_f1": best_f1(normal_scores, anomaly_scores)._asdict(),
            "f1_ev": f1_ev(normal_scores, anomaly_scores),
        }
    return found


def _threshold(threshold: Threshold) -> dict[str, Any]:
    return {
        "value": threshold.value,
        "method": threshold.method,
        "calibration_clips": len(threshold.scores),
        "guarantee": threshold.guarantee,
    }
