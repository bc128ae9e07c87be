"""What every anomaly scorer promises, and the checks and the order that they share."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

from tonotopy._components import Configurable
from tonotopy._errors import DataError, UsageError
from tonotopy.detection._cosine_distances import row_blocks
from tonotopy.geometry import unit_vectors

FOLDS = 10
"""Parts that references are held out in, where refitting for each one would cost too much."""


class Scorer(Configurable, ABC):
    """Score embeddings by how unlike the references, embeddings of normal clips, they are.

    Every embedding is scaled to length one first, in float64; a zero vector stays zero. A scorer
    has no trained state of its own: it is its component and the references, and is fitted again
    when either changes. It sorts the references before it fits anything, so their order does not
    matter, and random steps have a fixed seed: the same references give the same scores, bit by
    bit, on one machine.

    Examples:
        >>> from tonotopy.detection import NearestNeighbourScorer
        >>> references = torch.tensor([[1.0, 0.0], [3.0, 1.0], [0.0, 2.0]])
        >>> scorer = NearestNeighbourScorer().fit(references, ["source", "source", "target"])
        >>> scorer.score(torch.tensor([[2.0, 0.0], [-1.0, 0.0]]))
        tensor([0.0000, 0.5000], dtype=torch.float64)
    """

    _units: Tensor | None = None
    _domains: list[str]
    _order: Tensor

    @torch.no_grad()
    def fit(self, references: Tensor, domains: Sequence[str | None]) -> Self:
        """Learn what is normal; forget earlier references.

        Args:
            references: (N, D) floats of any type, not necessarily normalised; N at least 1.
            domains: The domain of each: `"source"`, `"target"` or another name; None counts as
                `"source"`.

        Returns:
            The scorer itself.

        Raises:
            UsageError: There is no reference, or shapes do not fit.
            DataError: A reference is not finite.
        """
        units = _checked_units(references, "references")
        if not len(units):
            raise UsageError(
                f"{type(self).__name__} has no references: give it at least one normal clip"
            )
        if len(domains) != len(units):
            raise UsageError(f"got {len(domains)} domains for {len(units)} references")
        names = [domain or "source" for domain in domains]
        self._order = _canonical_order(units, names)
        self._units = units[self._order]
        self._domains = [names[row] for row in self._order.tolist()]
        self._fit(self._units, self._domains)
        return self

    @torch.no_grad()
    def score(self, embeddings: Tensor) -> Tensor:
        """Give the anomaly score of each embedding.

        Args:
            embeddings: (M, D) floats of any type, not necessarily normalised.

        Returns:
            (M,) float64, finite; higher = more anomalous.

        Raises:
            UsageError: Nothing was fitted, or D is not that of the references.
            DataError: An embedding is not finite.
        """
        references = self._fitted()
        units = _checked_units(embeddings, "embeddings")
        if units.shape[1] != references.shape[1]:
            raise UsageError(
                f"the embeddings have {units.shape[1]} dimensions, the references "
                f"{references.shape[1]}: both must come from the same model"
            )
        return self._score_in_blocks(units)

    @torch.no_grad()
    def leave_one_out(self, groups: Sequence[str] | None = None) -> Tensor:
        """Give the score that each reference has when it is not among the references.

        Nearest neighbours without SMOTE leave out exactly one clip at a time, and sub-centres have
        learned from none. Every other scorer is fitted again 10 times (N times where N < 10)
        without a tenth of the references: reference i in the sorted order is held out with all
        j = i modulo 10, which spreads each domain evenly. As a tenth is missing, these scores are
        slightly higher than with one left out, so thresholds from them err towards fewer alarms.

        Windows of one recording are alike: where only the window itself is left out, its neighbours
        from the same recording make it look more normal than any new recording can. So what is of
        one group is left out together, a tenth of the groups at a time.

        Args:
            groups: N names of what must be left out together, such as recordings. Default: each
                reference is alone.

        Returns:
            (N,) float64, in the order given to `fit`.

        Raises:
            UsageError: Nothing was fitted, or there is but one reference or one group.
        """
        count = len(self._fitted())
        names = range(count) if groups is None else groups
        if len(names) != count:
            raise UsageError(f"got {len(names)} groups for {count} references")
        # Numbered as they come in the canonical order, so that the order given does not matter.
        numbers: dict[str | int, int] = {}
        group_of = [numbers.setdefault(names[row], len(numbers)) for row in self._order.tolist()]
        if len(numbers) < 2:
            what = "reference" if groups is None or count == 1 else "recording"
            raise UsageError(
                f"leaving one {what} out needs at least 2 of them, got 1: add normal clips"
            )
        alone = len(numbers) == count
        scores = torch.empty(count, dtype=torch.float64)
        scores[self._order] = (
            self._leave_one_out() if alone else self._leave_folds_out(torch.tensor(group_of))
        )
        return scores

    @abstractmethod
    def _fit(self, units: Tensor, domains: list[str]) -> None:
        """Learn from unit vectors (N, D) float64 in the canonical order, and their domains.

        What is learned goes to attributes of the scorer and is never changed in place.
        """

    @abstractmethod
    def _score(self, units: Tensor) -> Tensor:
        """Score a block of unit vectors (M, D) float64, M at least 1."""

    def _leave_one_out(self) -> Tensor:
        """Give (N,) scores in the canonical order; N is at least 2."""
        return self._leave_folds_out(torch.arange(len(self._fitted())))

    def _leave_folds_out(self, group_of: Tensor) -> Tensor:
        """Give (N,) scores in the canonical order, a tenth of the groups held out at a time.

        Args:
            group_of: (N,) numbers of the groups from 0 on, at least two.
        """
        units = self._fitted()
        scores = torch.empty(len(units), dtype=torch.float64)
        folds = min(FOLDS, int(group_of.max()) + 1)
        fold_of = group_of % folds
        for fold in range(folds):
            kept = fold_of != fold
            rest = copy.copy(self)
            names = [self._domains[row] for row in kept.nonzero().squeeze(1).tolist()]
            rest._fit(units[kept], names)
            scores[~kept] = rest._score_in_blocks(units[~kept])
        return scores

    def _numbers_per_row(self) -> int:
        """Give how many numbers scoring one embedding takes, which limits the rows of a block."""
        return max(self._fitted().shape)

    def _score_in_blocks(self, units: Tensor) -> Tensor:
        parts = [self._score(block) for block in row_blocks(units, self._numbers_per_row())]
        return torch.cat([torch.empty(0, dtype=torch.float64), *parts])

    def _fitted(self) -> Tensor:
        if self._units is None:
            raise UsageError(f"{type(self).__name__} has no references yet: call fit first")
        return self._units


def _checked_units(vectors: Tensor, what: str) -> Tensor:
    if vectors.ndim != 2 or not vectors.shape[1]:
        raise UsageError(f"expected {what} (rows, D), got shape {tuple(vectors.shape)}")
    vectors = vectors.detach().cpu().double()
    bad = int((~vectors.isfinite().all(dim=1)).sum())
    if bad:
        raise DataError(
            f"{bad} of {len(vectors)} {what} are not finite (NaN or infinite): check the clips "
            "they come from, or whether training diverged"
        )
    return unit_vectors(vectors) + 0.0  # adding 0 makes -0 a 0, which compares byte by byte


def _canonical_order(units: Tensor, domains: list[str]) -> Tensor:
    """Sort by domain, then lexicographically by the bytes of the vectors.

    Any fixed order of the values serves; that of their bytes takes one pass however long they are.
    """
    rows = units.contiguous().numpy()
    by_value = rows.view(f"V{rows.itemsize * rows.shape[1]}").ravel().argsort(kind="stable")
    by_domain = np.array(domains)[by_value].argsort(kind="stable")
    return torch.from_numpy(by_value[by_domain])
