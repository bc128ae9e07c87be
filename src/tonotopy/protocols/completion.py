"""What follows training: embeddings, metrics, model card and report."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tonotopy._files import write_text
from tonotopy.protocols.embedding import embed_run
from tonotopy.protocols.evaluation import evaluate_run
from tonotopy.protocols.machine_metrics import anomaly_metrics
from tonotopy.protocols.machine_scores import fit_detector, score_run
from tonotopy.protocols.model_card import model_card
from tonotopy.reporting import write_report
from tonotopy.training.config import read_config


def complete_run(run: Path, *, command: str) -> dict[str, Any]:
    """Embed all clips of a trained run, evaluate it, write model card and report.

    Args:
        run: The run folder, with its model.
        command: What the user typed; model card and report repeat it.

    Returns:
        The metrics, with `summary`, one line for people, and the paths `run` and `report`.
    """
    embed_run(run)  # anew: an interrupted run may have left those of older weights
    further = None
    config = read_config(run / "config.yaml")
    if config.task == "anomaly":
        detector = fit_detector(run, config)
        further = {"anomaly": anomaly_metrics(score_run(run, detector), detector)}
    metrics = evaluate_run(run, command=command, further=further)
    write_text(run / "README.md", model_card(run, metrics))
    report = write_report(run)
    return {**metrics, "summary": _summary(metrics, report), "run": str(run), "report": str(report)}


def _summary(metrics: dict[str, Any], report: Path) -> str:
    if "anomaly" in metrics:
        return f"{_anomaly_summary(metrics['anomaly'])}; report: {report}"
    parts = [f"{metrics['num_clips']} {metrics['split']} clips"]
    if metrics["classification"] is not None:
        parts.append(f"accuracy {metrics['classification']['accuracy']:.1%}")
    if "tree" in metrics:
        levels = metrics["tree"]["levels"]
        shares = [level["accuracy"] for level in levels if level["accuracy"] is not None]
        if shares:
            parts.append("by level " + " ".join(f"{share:.1%}" for share in shares))
    if metrics["knn"] is not None:
        parts.append(f"kNN accuracy {metrics['knn']['accuracy']:.1%}")
        parts.append(f"mAP {metrics['retrieval']['map']:.3f}")
    else:
        parts.append(f"uniformity {metrics['features']['uniformity']:.2f}")
        parts.append(f"effective rank {metrics['features']['effective_rank']:.1f}")
    return f"{', '.join(parts)}; report: {report}"


def _anomaly_summary(found: dict[str, Any]) -> str:
    machines = found["machines"].values()
    normals = sum(machine["test_normals"] for machine in machines)
    alarms = sum(machine["false_alarms"] for machine in machines)
    parts = [f"{len(machines)} machines"]
    if normals:
        kept = all(machine["calibrated_on"] == "held-out" for machine in machines)
        promised = f"{found['false_alarm_rate']:.1%} promised" if kept else "no promise"
        parts.append(f"{alarms} false alarms in {normals} normal test windows ({promised})")
    if found["hmean"] is not None:
        parts.append(f"AUC {found['hmean']['auc']:.3f}, pAUC {found['hmean']['pauc']:.3f}")
    silent = sum(machine["thresholds"]["all"]["value"] == math.inf for machine in machines)
    if silent:
        parts.append(f"{silent} machines have too few normal clips for that rate and never alarm")
    return ", ".join(parts)
