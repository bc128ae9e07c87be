"""The published results of the angular contrastive paper.

Wang, Tripathy and Mesaros, "Self-Supervised Learning of Audio Representations Using Angular
Contrastive Loss", ICASSP 2023, from the authors' code and notes. One training each; what the
self-supervised ones call accuracy weights every clip by its number of patches.
"""

from __future__ import annotations

ALPHAS = tuple(round(0.1 * step, 1) for step in range(11))
"""Shares of the contrastive part that were tried; at 1 there is no angular one."""

TEMPERATURE = 0.2
"""At which all shares were published."""

WEIGHTED, MACRO, MICRO = "accuracy_patch_weighted", "accuracy_clip_macro", "accuracy_clip_micro"

_SELF_SUPERVISED = {
    "linear": (
        (71.295, 74.994, 74.701, 77.070, 71.712, 74.013, 76.596, 75.671, 76.472, 74.453, 74.160),
        (71.125, 72.924, 72.656, 74.463, 70.757, 72.688, 74.975, 73.688, 73.687, 73.291, 72.698),
    ),
    "finetune-noisy": (
        (71.566, 72.513, 76.156, 72.118, 72.795, 73.303, 76.416, 71.701, 76.416, 77.543, 77.521),
        (71.132, 73.125, 74.001, 72.521, 72.551, 72.114, 76.000, 72.487, 75.596, 74.953, 75.563),
    ),
    "finetune-clean": (
        (79.044, 79.596, 78.040, 79.856, 79.912, 78.141, 79.461, 78.017, 76.731, 78.119, 79.111),
        (76.803, 77.349, 76.477, 76.608, 76.654, 76.120, 77.963, 76.176, 76.116, 76.513, 77.057),
    ),
}
"""Stage to patch-weighted and macro accuracy in percent of every alpha at temperature 0.2."""

_TEMPERATURES = {
    0.1: (0.7, 77.081, 78.356),
    0.3: (0.4, 75.570, 75.615),
    0.4: (0.8, 75.175, 75.389),
    0.5: (0.3, 74.893, 77.149),
    0.6: (0.7, 75.626, 77.645),
    0.7: (0.2, 75.897, 76.664),
    0.8: (0.9, 74.126, 75.276),
    0.9: (0.3, 72.930, 76.810),
    1.0: (0.9, 71.329, 75.964),
}
"""Temperature to the best alpha and the patch-weighted linear accuracy of alpha 1 and of it."""

_SUPERVISED = {
    "clean": (56.0, 61.4, 61.0, 62.1, 64.5, 63.0, 57.9, 58.1, 58.6, 60.2),
    "all": (67.4, 69.8, 71.9, 72.7, 71.2, 71.3, 73.6, 72.7, 71.6, 70.1),
    "noisy": (64.9, 65.4, 68.3, 68.3, 67.7, 66.9, 67.5, 67.1, 66.1, 66.4),
    "noisy_small": (34.5, 39.9, 39.3, 33.5, 39.0, 33.3, 35.0, 31.6, 33.1, 33.7),
}
"""Training clips to the micro accuracy of clips for alpha 0.1 to 1."""

SUBSETS = tuple(_SUPERVISED)
"""Training clips of the supervised table."""


def published_accuracy(
    stage: str, alpha: float, *, temperature: float | None = None, subset: str | None = None
) -> dict[str, float]:
    """Give what the authors published for a training: accuracy by name, 0 to 1; empty for nothing.

    Args:
        stage: `"linear"`, `"finetune-noisy"`, `"finetune-clean"` or `"supervised"`.
        alpha: Share of the contrastive part, or of cross-entropy.
        temperature: Of a self-supervised training.
        subset: Training clips of a supervised one.
    """
    return {
        name: percent / 100
        for name, percent in _percents(stage, alpha, temperature, subset).items()
    }


def _percents(
    stage: str, alpha: float, temperature: float | None, subset: str | None
) -> dict[str, float]:
    at = round(10 * alpha)
    if abs(10 * alpha - at) > 1e-6:
        return {}
    if stage == "supervised":
        return {MICRO: _SUPERVISED[subset][at - 1]} if subset in _SUPERVISED and at else {}
    if temperature == TEMPERATURE:
        weighted, macro = _SELF_SUPERVISED[stage]
        return {WEIGHTED: weighted[at], MACRO: macro[at]}
    if stage == "linear" and temperature in _TEMPERATURES:
        best, contrastive, angular = _TEMPERATURES[temperature]
        if at in (10, round(10 * best)):
            return {WEIGHTED: contrastive if at == 10 else angular}
    return {}
