"""What is known about every pair of clips: how many levels of their labels they share."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.labels.pairs import lca_depth_interval
from tonotopy.labels.tree import UNKNOWN

EVERYTHING = slice(None)


class PairRelations:
    """How many of H levels the labels of every two clips share, or bounds on it.

    Two clips of the same leaf share all H levels, however shallow the leaf; others share as many as
    their lowest common ancestor is deep. Flat classes are one level: 1 for equal classes, 0 for
    different ones. Where a label is partial or missing only an interval [lo, hi] is certain.

    Make it with `from_labels`, `from_levels` or `from_similarity`. It is computed in blocks of
    rows, so that a loss need not hold all pairs at once.

    Attributes:
        num_levels: H, at least 1.
        codes: (N, H) codes that they are read off, or None for given levels.
    """

    def __init__(self, codes: Tensor | None, levels: Tensor | None, num_levels: int) -> None:
        self.codes = codes
        self._levels = levels
        self.num_levels = num_levels

    @classmethod
    def from_labels(cls, labels: Tensor) -> PairRelations:
        """Read class ids (N,), negative = unknown, or codes (N, L) of `LabelTree.encode`.

        Raises:
            UsageError: The labels have another form.
        """
        if labels.is_floating_point() or labels.ndim not in (1, 2):
            raise UsageError(
                "pairs are read off (N,) class ids or (N, L) codes of a LabelTree, got "
                f"{tuple(labels.shape)} {labels.dtype}"
            )
        if labels.ndim == 1:
            return cls(labels.clamp_min(UNKNOWN)[:, None], None, 1)
        if labels.shape[1] == 0:
            labels = labels.new_full((len(labels), 1), UNKNOWN)
        return cls(labels, None, labels.shape[1])

    @classmethod
    def from_levels(cls, levels: Tensor, num_levels: int) -> PairRelations:
        """Take what is known of the pairs as it is, from any source.

        Args:
            levels: (N, N) ints: levels that two clips share, 0 to `num_levels`, where `num_levels`
                means "the same"; -1 where nothing is known. The diagonal is not read.
            num_levels: H.

        Raises:
            UsageError: The matrix is not square, or `num_levels` is below 1.

        Examples:
            >>> levels = torch.tensor([[2, 1, 0], [1, 2, -1], [0, -1, 2]])
            >>> PairRelations.from_levels(levels, num_levels=2).different().int().tolist()
            [[0, 1, 1], [1, 0, 0], [1, 0, 0]]
        """
        square = levels.ndim == 2 and levels.shape[0] == levels.shape[1]
        if not square or levels.is_floating_point() or num_levels < 1:
            raise UsageError(
                "expected (N, N) integer levels and num_levels of at least 1, got "
                f"{tuple(levels.shape)} {levels.dtype} and {num_levels}"
            )
        return cls(None, levels, num_levels)

    @classmethod
    def from_similarity(cls, similar: Tensor, known: Tensor | None = None) -> PairRelations:
        """Take for every pair whether the two clips belong together.

        Args:
            similar: (N, N) bool.
            known: (N, N) bool; False where nothing is known. Default: all is.

        Raises:
            UsageError: The matrix is not square.
        """
        levels = similar.long()
        return cls.from_levels(levels if known is None else levels.where(known, UNKNOWN), 1)

    def __len__(self) -> int:
        return len(self._source)

    @property
    def device(self) -> torch.device:
        """Where the labels lie."""
        return self._source.device

    def bounds(
        self, rows: slice = EVERYTHING, columns: slice = EVERYTHING
    ) -> tuple[Tensor, Tensor]:
        """Give lo and hi, (R, M) ints each: how many levels two clips share at least and at most.

        Args:
            rows: The first clips of the pairs.
            columns: The second ones. A clip's pair with itself is no pair; mask it.
        """
        if self.codes is None:
            levels = self._source[rows, columns]
            unknown = levels < 0
            return levels.clamp_min(0), levels.masked_fill(unknown, self.num_levels)
        lo, hi = lca_depth_interval(self.codes[rows], self.codes[columns])
        same, perhaps = self._sameness(rows, columns)
        top = torch.full_like(lo, self.num_levels)
        return torch.where(same, top, lo), torch.where(perhaps, top, hi)

    def same(self, rows: slice = EVERYTHING, columns: slice = EVERYTHING) -> Tensor:
        """Give (R, M) bool: the two are certainly of one class."""
        if self.codes is None:
            return self._source[rows, columns] == self.num_levels
        return self._sameness(rows, columns)[0]

    def different(self, rows: slice = EVERYTHING, columns: slice = EVERYTHING) -> Tensor:
        """Give (R, M) bool: the two are certainly of different classes."""
        if self.codes is None:
            levels = self._source[rows, columns]
            return (levels >= 0) & (levels < self.num_levels)
        return ~self._sameness(rows, columns)[1]

    def known(self) -> Tensor:
        """Give (N,) bool: something is known about the clip's place."""
        if self.codes is None:
            eye = torch.eye(len(self), dtype=torch.bool, device=self.device)
            return ((self._source >= 0) & ~eye).any(dim=1)
        return self.codes[:, 0] >= 0

    @property
    def _source(self) -> Tensor:
        source = self._levels if self.codes is None else self.codes
        assert source is not None, "relations have either codes or levels"
        return source

    def _sameness(self, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        """Give whether two labels are certainly, and whether they are perhaps, the same leaf."""
        a, b = self._source[rows], self._source[columns]
        certain = torch.ones(len(a), len(b), dtype=torch.bool, device=a.device)
        possible = certain.clone()
        for left, right in zip(a.T[:, :, None], b.T[:, None, :], strict=True):
            unknown = (left == UNKNOWN) | (right == UNKNOWN)
            equal = left == right
            certain &= equal & ~unknown
            possible &= equal | unknown
        return certain, possible
