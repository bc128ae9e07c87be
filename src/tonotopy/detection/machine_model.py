"""One machine: what is normal for it, and from which score on it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.detection.references import References
from tonotopy.detection.scorer import Scorer
from tonotopy.detection.thresholds import Threshold
from tonotopy.geometry import unit_vectors

ALL = "all"
"""Key of the threshold for clips of any domain."""

ANY_MACHINE = "any"
"""Stands for a machine that is not named: it is compared with the references of all."""


@dataclass(frozen=True)
class MachineModel:
    """References of one machine, a scorer fitted to them, and thresholds.

    Args:
        name: The machine, as in `fan/id_00`.
        references: Its normal clips.
        scorer: Fitted to them.
        thresholds: `"all"`, and one for every domain that has enough clips to calibrate on.
        calibrated_on: `"held-out"` or `"leave-one-out"`.
        classes: Auxiliary classes that its training clips are of; empty where none is known.
    """

    name: str
    references: References
    scorer: Scorer
    thresholds: Mapping[str, Threshold]
    calibrated_on: str
    classes: Sequence[str] = ()

    def score(self, embeddings: Tensor) -> Tensor:
        """Give the anomaly score of each of (M, D) embeddings, (M,) float64."""
        return self.scorer.score(embeddings)

    def threshold(self, domain: str | None = None) -> Threshold:
        """Give the threshold for a domain; that for all where the domain is unknown or has none."""
        return self.thresholds.get(domain or ALL, self.thresholds[ALL])

    def nearest(self, embeddings: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Give the most similar references of each of (M, D) embeddings.

        Returns:
            Cosines (M, k), descending, and rows of `references` (M, k); fewer columns where there
            are fewer references.

        Raises:
            UsageError: `k` is not positive.
        """
        if k < 1:
            raise UsageError(f"the number of nearest references must be at least 1, got {k}")
        known = unit_vectors(self.references.embeddings.double())
        cosines = unit_vectors(embeddings.detach().cpu().double()) @ known.T
        found = cosines.topk(min(k, len(known)), dim=1)
        return found.values, found.indices
