"""Score by the distance to the centres that the loss has trained."""

from __future__ import annotations

from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy.detection._cosine_distances import cosine_distances
from tonotopy.detection.scorer import Scorer
from tonotopy.geometry import unit_vectors


class SubcentreScorer(Scorer):
    """Score by the distance to the nearest centre or sub-centre of an angular margin loss.

    Formula: A(x) = min over c of (1 - cos(x, c)) / 2. The references say nothing here but how long
    embeddings are; a reference's leave-one-out score is its score. It shows what references add:
    the published systems score by them, not by the centres.

    The centres belong to the model and are no part of the scorer's `component`; `build` it with
    them: `build(component, Scorer, "tonotopy.detection", centres=head.centres)`.

    Args:
        centres: (K, D), of any length: `centres` of an angular head, or the rows of the machine's
            own classes.

    Raises:
        UsageError: `centres` is not two-dimensional or empty.
        DataError: A centre is not finite.
    """

    def __init__(self, centres: Tensor) -> None:
        if centres.ndim != 2 or not centres.numel():
            raise UsageError(f"expected centres (K, D), got shape {tuple(centres.shape)}")
        if not centres.isfinite().all():
            raise DataError("a centre is not finite: training has diverged")
        self._centres = unit_vectors(centres.detach().cpu().double())
        self.component.init_args.pop("centres", None)

    def _fit(self, units: Tensor, domains: list[str]) -> None:
        if units.shape[1] != self._centres.shape[1]:
            raise UsageError(
                f"the references have {units.shape[1]} dimensions, the centres "
                f"{self._centres.shape[1]}: both must come from the same model"
            )

    def _score(self, units: Tensor) -> Tensor:
        return cosine_distances(units, self._centres).amin(dim=1)

    def _leave_one_out(self) -> Tensor:
        return self.score(self._fitted())

    def _numbers_per_row(self) -> int:
        return len(self._centres)
