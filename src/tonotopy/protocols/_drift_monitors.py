"""Drift monitors for the machines of a detector."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy.detection import Detector, DriftMonitor, References
from tonotopy.detection.drift import BINS
from tonotopy.detection.machine_model import ANY_MACHINE, MachineModel


def monitor_of(
    detector: Detector, machine: MachineModel, domain: str | None = None
) -> DriftMonitor | None:
    """Make a monitor that compares with what a machine's threshold was calibrated on.

    Returns:
        None where the calibration scores up to the threshold are too few to compare with.
    """
    threshold = machine.threshold(domain)
    scores = torch.tensor(threshold.scores, dtype=torch.float64)
    if int((scores <= threshold.value).sum()) < BINS:
        return None
    clips = _calibration_clips(detector, machine)
    if domain is not None and domain in machine.thresholds:
        own = torch.tensor([found == domain for found in clips.domains])
        embeddings = clips.embeddings[own]
    else:
        embeddings = clips.embeddings
    sure = own_confidence(detector, machine, embeddings)
    return DriftMonitor(
        scores,
        threshold.value,
        references=embeddings,
        confidences=None if sure is None else sure.tolist(),
    )


def _calibration_clips(detector: Detector, machine: MachineModel) -> References:
    if machine.calibrated_on != "held-out":
        return machine.references
    everything = machine.name == ANY_MACHINE
    return detector.held_out if everything else detector.held_out.of_machine(machine.name)


@torch.no_grad()
def own_confidence(detector: Detector, machine: MachineModel, embeddings: Tensor) -> Tensor | None:
    """Give the probability that each of (M, D) embeddings is of one of the machine's classes.

    Returns:
        (M,), or None where the model has no classifier or the machine no classes.
    """
    classifier = detector.embedder.classifier
    if classifier is None or not machine.classes or not len(embeddings):
        return None
    columns = [classifier.tree.leaf_names.index(name) for name in machine.classes]
    probabilities = classifier.leaf_probabilities(embeddings.to(detector.embedder.device))
    return probabilities[:, columns].sum(dim=-1).cpu()
