"""What follows training: embeddings, metrics, model card and report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tonotopy._files import write_text
from tonotopy.protocols.embedding import embed_run
from tonotopy.protocols.evaluation import evaluate_run
from tonotopy.protocols.model_card import model_card
from tonotopy.reporting import write_report


def complete_run(run: Path, *, command: str) -> dict[str, Any]:
    """Embed all clips of a trained run, evaluate it, write model card and report.

    Args:
        run: The run folder, with its model.
        command: What the user typed; model card and report repeat it.

    Returns:
        The metrics, with `summary`, one line for people, and the paths `run` and `report`.
    """
    embed_run(run)  # anew: an interrupted run may have left those of older weights
    metrics = evaluate_run(run, command=command)
    write_text(run / "README.md", model_card(run, metrics))
    report = write_report(run)
    return {**metrics, "summary": _summary(metrics, report), "run": str(run), "report": str(report)}


def _summary(metrics: dict[str, Any], report: Path) -> str:
    parts = [f"{metrics['num_clips']} {metrics['split']} clips"]
    if metrics["classification"] is not None:
        parts.append(f"accuracy {metrics['classification']['accuracy']:.1%}")
    if "tree" in metrics:
        levels = metrics["tree"]["levels"]
        shares = [level["accuracy"] for level in levels if level["accuracy"] is not None]
        if shares:
            parts.append("by level " + " ".join(f"{share:.1%}" for share in shares))
    parts.append(f"kNN accuracy {metrics['knn']['accuracy']:.1%}")
    parts.append(f"mAP {metrics['retrieval']['map']:.3f}")
    return f"{', '.join(parts)}; report: {report}"
