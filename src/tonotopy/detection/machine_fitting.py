"""From normal clips to what is normal for a machine: a fitted scorer and calibrated thresholds."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from tonotopy._components import Component, build, find_class
from tonotopy._errors import UsageError
from tonotopy.detection.machine_model import ALL, MachineModel
from tonotopy.detection.references import References
from tonotopy.detection.scorer import Scorer
from tonotopy.detection.thresholds import Threshold, ThresholdMethod, fit_threshold
from tonotopy.embedder import AudioEmbedder
from tonotopy.geometry import CosineHead

CalibrateOn = Literal["auto", "held-out", "leave-one-out"]

TRAINED = (
    "but they are of clips that may have trained the model, which score lower than new ones: "
    "expect many times as many alarms"
)
"""What is added to the promise of leave-one-out scores. Measured on simulated machines: 22 to 29 %
of alarms where 5 % were promised."""


@dataclass(frozen=True)
class DetectorOptions:
    """How a detector scores and when it alarms.

    Args:
        window_seconds: Length of the windows that are scored.
        scorer: How far a clip is from the references.
        false_alarm_rate: Share of normal windows that may alarm, in (0, 1).
        threshold: `"conformal"`, `"gamma"` or `"pareto"`, see `fit_threshold`.
        calibrate_on: `"held-out"` or `"leave-one-out"`; `"auto"` is, for each machine, the former
            where it has enough held-out clips for the false alarm rate, the latter otherwise.
    """

    window_seconds: float
    scorer: Component
    false_alarm_rate: float = 0.05
    threshold: ThresholdMethod = "conformal"
    calibrate_on: CalibrateOn = "auto"


def fit_machine(
    name: str,
    embedder: AudioEmbedder,
    references: References,
    held_out: References,
    options: DetectorOptions,
    classes: Sequence[str],
) -> MachineModel:
    """Fit a scorer to the references of one machine and set its thresholds.

    Args:
        name: The machine.
        embedder: The model that made the embeddings.
        references: Its normal clips.
        held_out: Other normal clips of it; may be empty.
        options: How to score and alarm.
        classes: Auxiliary classes of its training clips; may be empty.
    """
    scorer = make_scorer(embedder, options, classes)
    scorer.fit(references.embeddings, references.domains)
    calibrated_on = _calibration_source(options, held_out)
    others = (held_out.embeddings, held_out.domains) if calibrated_on == "held-out" else None
    scores, domains = _calibration_scores(scorer, references, others)
    by_domain = {ALL: scores} | {
        domain: scores[torch.tensor([found == domain for found in domains])]
        for domain in sorted({found for found in domains if found is not None})
    }
    rate, method = options.false_alarm_rate, options.threshold
    try:
        thresholds = {
            key: fit_threshold(values, false_alarm_rate=rate, method=method)
            for key, values in by_domain.items()
            if key == ALL or len(values) >= _clips_needed(rate)
        }
        if calibrated_on == "leave-one-out":
            thresholds = {key: _with_caveat(value) for key, value in thresholds.items()}
    except UsageError as error:
        raise UsageError(
            f"no {method} threshold for {name}: {error}; `tonotopy calibrate --rebuild true` takes "
            "another --threshold without training"
        ) from error
    return MachineModel(name, references, scorer, thresholds, calibrated_on, classes)


def _with_caveat(threshold: Threshold) -> Threshold:
    """Say that clips which trained the model are not exchangeable with new ones."""
    if threshold.never_alarms:
        return threshold
    return replace(threshold, guarantee=f"{threshold.guarantee}; {TRAINED}")


def _calibration_source(options: DetectorOptions, held_out: References) -> str:
    if options.calibrate_on != "auto":
        enough = len(held_out) > 0 or options.calibrate_on == "leave-one-out"
    else:
        enough = len(held_out) >= _clips_needed(options.false_alarm_rate)
    if options.calibrate_on == "leave-one-out" or not enough:
        return "leave-one-out"
    return "held-out"


def _clips_needed(false_alarm_rate: float) -> int:
    """Give the least number of scores of which a conformal quantile exists."""
    return math.ceil(1.0 / false_alarm_rate - 1e-9) - 1


def make_scorer(
    embedder: AudioEmbedder, options: DetectorOptions, classes: Sequence[str]
) -> Scorer:
    """Make a scorer; one that needs centres gets those of the machine's own classes.

    Raises:
        UsageError: It needs centres, and the model has none.
    """
    supplied = {}
    head, tree = embedder.head, embedder.tree
    if isinstance(head, CosineHead) and tree is not None and classes:
        columns = [tree.leaf_names.index(name) for name in classes]
        centres = head.centres.detach().view(head.num_classes, -1, embedder.embedding_dim)
        supplied["centres"] = centres[columns].flatten(0, 1)
    found = find_class(options.scorer.class_path, Scorer, "tonotopy.detection")
    if "centres" in inspect.signature(found).parameters and not supplied:
        raise UsageError(
            f"{found.__name__} needs the centres of an angular margin loss, and this model was "
            "trained without one: take NearestNeighbourScorer, or train with AdaCosLoss or "
            "another of that family"
        )
    return build(options.scorer, Scorer, "tonotopy.detection", **supplied)


def _calibration_scores(
    scorer: Scorer,
    references: References,
    held_out: tuple[Tensor, Sequence[str | None]] | None,
) -> tuple[Tensor, list[str | None]]:
    """Give scores of normal clips that the scorer did not learn from, and their domains.

    Args:
        scorer: Fitted.
        references: That it was fitted to.
        held_out: (M, D) embeddings of other normal clips and their domains; None for the
            references themselves, each left out in turn with all windows of its recording.

    Returns:
        (N,) float64 scores, none where there is but one recording and nothing held out; domains.
    """
    if held_out is not None:
        return scorer.score(held_out[0]), list(held_out[1])
    if len(set(references.recordings)) < 2:
        return torch.empty(0, dtype=torch.float64), []
    return scorer.leave_one_out(references.recordings), references.domains
