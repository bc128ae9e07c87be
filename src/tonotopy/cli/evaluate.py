"""`tonotopy evaluate`: how good a run is, in numbers."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tonotopy._errors import UsageError
from tonotopy.cli._output import Output
from tonotopy.cli._parse import call

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def run(arguments: Sequence[str]) -> Output:
    """Run the verb."""

    def evaluate(
        run: Path,
        data: Path | None = None,
        *,
        confidence: str | None = None,
        unverified: float = 0.0,
    ) -> Output:
        """Measure a run: classification, retrieval, calibration and structure of the embedding.

        Args:
            run: The run folder.
            data: Other labelled clips of the same classes. Default: the run's own test clips, or
                its validation clips where there is no test.
            confidence: Column of the run's own clips that says how sure each label is, such as
                `manually_verified`: true or false, or 0 to 1. Accuracy and calibration are then
                measured apart on verified clips (1) and others, in every split.
            unverified: With --confidence, what 0 counts as in the weighted accuracy; below 1.
        """
        from tonotopy.protocols import evaluate_run
        from tonotopy.protocols.confidence import evaluate_confidence
        from tonotopy.protocols.machine_scores import evaluate_detector, has_detector

        command = shlex.join(["tonotopy", "evaluate", *arguments])
        if confidence is not None and (data is not None or has_detector(run)):
            raise UsageError("--confidence is for a classifier's own clips: leave it out here")
        if not has_detector(run):
            further = {}
            if confidence is not None:
                found = evaluate_confidence(run, column=confidence, unverified=unverified)
                further["confidence"] = found
            metrics = evaluate_run(run, data, command=command, further=further)
        elif data is None:
            metrics = evaluate_detector(run, command=command)
        else:
            raise UsageError(
                f"{run} is an anomaly detector: `tonotopy detect {run} {data}` scores recordings"
            )
        return Output(metrics, _summary(metrics), lambda console: _show(console, metrics))

    return call("evaluate", evaluate, arguments)


def _summary(metrics: dict[str, Any]) -> str:
    if "anomaly" in metrics:
        found = metrics["anomaly"]["hmean"]
        line = f"{len(metrics['anomaly']['machines'])} machines"
        return (
            line if found is None else f"{line}, AUC {found['auc']:.3f}, pAUC {found['pauc']:.3f}"
        )
    known = f"of {metrics['num_classes']} classes" if metrics["classes"] else "without labels"
    return f"{metrics['num_clips']} {metrics['split']} clips {known}"


def _show_confidence(console: Console, splits: dict[str, dict[str, Any]]) -> None:
    from rich.table import Table

    shown = Table("split", "labels", "clips", "accuracy", "ECE")
    for split, found in splits.items():
        for kind in ("verified", "unverified"):
            numbers = (found[f"accuracy_{kind}"], found[f"ece_{kind}"])
            shown.add_row(split, kind, str(found[kind]), *(f"{number:.4f}" for number in numbers))
        shown.add_row(split, "by confidence", "", f"{found['accuracy_weighted']:.4f}", "")
    console.print(shown)


def _show(console: Console, metrics: dict[str, Any]) -> None:
    from rich.table import Table

    scores = Table("measure", "value")
    if metrics["classification"] is not None:
        for name, value in metrics["classification"].items():
            scores.add_row(name.replace("_", " "), f"{value:.4f}")
    if metrics["classes"]:
        _add_neighbours(scores, metrics)
    for name, value in metrics["features"].items():
        scores.add_row(name.replace("_", " "), f"{value:.4f}")
    console.print(scores)
    if metrics["classes"]:
        _show_structure(console, metrics["structure"])
    if "confidence" in metrics:
        _show_confidence(console, metrics["confidence"])
    if "anomaly" in metrics:
        _show_machines(console, metrics["anomaly"]["machines"])
    if "tree" in metrics:
        _show_tree(console, metrics["tree"])


def _add_neighbours(scores: Table, metrics: dict[str, Any]) -> None:
    scores.add_row(f"kNN accuracy, k = {metrics['knn']['k']}", f"{metrics['knn']['accuracy']:.4f}")
    retrieval = metrics["retrieval"]
    scores.add_row("mAP", f"{retrieval['map']:.4f}")
    scores.add_row("R-precision", f"{retrieval['r_precision']:.4f}")
    for k, value in retrieval["precision_at_k"].items():
        scores.add_row(f"precision@{k}", f"{value:.4f}")


def _show_structure(console: Console, measured: dict[str, Any]) -> None:
    from rich.table import Table

    structure = Table("distance", "over", "compactness", "separation", "intra CV", "inter CV")
    for distance, pools in measured.items():
        for pool in ("pooled", "macro"):
            properties = ("compactness", "separation", "intra_cv", "inter_cv")
            structure.add_row(distance, pool, *(f"{pools[pool][name]:.4f}" for name in properties))
    console.print(structure)


def _show_machines(console: Console, machines: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("machine", "false alarms", "detected", "AUC", "pAUC", "best F1", "F1-EV")
    for name, machine in machines.items():
        scores = machine["scores"]
        measured = (
            [scores["auc"], scores["pauc"], scores["best_f1"]["f1"], scores["f1_ev"]]
            if scores is not None
            else []
        )
        table.add_row(
            name,
            f"{machine['false_alarms']} of {machine['test_normals']}",
            f"{machine['detected']} of {machine['test_anomalies']}",
            *(f"{value:.4f}" for value in measured),
        )
    console.print(table)


def _show_tree(console: Console, tree: dict[str, Any]) -> None:
    from rich.table import Table

    levels = Table("level", "classes", "clips", "accuracy", "kNN", "mAP", "silhouette")
    for level in tree["levels"]:
        accuracy = "-" if level["accuracy"] is None else f"{level['accuracy']:.4f}"
        levels.add_row(
            str(level["level"]),
            str(level["classes"]),
            str(level["clips"]),
            accuracy,
            f"{level['knn']['accuracy']:.4f}",
            f"{level['map']:.4f}",
            f"{level['silhouette']:.4f}",
        )
    console.print(levels)

    scores = Table("over the tree", "value")
    scores.add_row("NDCG", f"{tree['ndcg']:.4f}")
    floor = f"(lowest possible {tree['mnr_floor']:.4f})"
    scores.add_row("mean normalised rank", f"{tree['mnr']:.4f} {floor}")
    scores.add_row("triplet accuracy", f"{tree['triplet_accuracy']:.4f}")
    if tree["mistakes"]:
        scores.add_row("mistake severity", f"{tree['mistakes']['severity']:.4f}")
    if tree["unseen"]:
        for way, value in tree["unseen"]["lvp"].items():
            if value is not None:
                name = way.replace("_", " ")
                scores.add_row(f"unseen clips under their parent, by {name}", f"{value:.4f}")
    console.print(scores)
