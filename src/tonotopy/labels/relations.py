"""What is known about every pair of clips: how many levels of their labels they share."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.labels.pairs import shared_prefix
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
        remembered: The last so many clips come from earlier batches: pairs of two of them count as
            unknown, since nothing can be learned from them any more.
    """

    def __init__(
        self,
        codes: Tensor | None,
        levels: Tensor | None,
        num_levels: int,
        remembered: int = 0,
    ) -> None:
        self.codes = codes
        self._levels = levels
        self.num_levels = num_levels
        self.remembered = remembered

    @classmethod
    def from_labels(cls, labels: Tensor, remembered: int = 0) -> PairRelations:
        """Read the relations off the labels of the clips.

        Args:
            labels: Class ids (N,), negative = unknown, or codes (N, L) of `LabelTree.encode`.
            remembered: How many clips, at the end, come from earlier batches.

        Raises:
            UsageError: The labels have another form.
        """
        if labels.is_floating_point() or labels.ndim not in (1, 2):
            raise UsageError(
                "pairs are read off (N,) class ids or (N, L) codes of a LabelTree, got "
                f"{tuple(labels.shape)} {labels.dtype}"
            )
        if labels.ndim == 1:
            return cls(labels.clamp_min(UNKNOWN)[:, None], None, 1, remembered)
        if labels.shape[1] == 0:
            labels = labels.new_full((len(labels), 1), UNKNOWN)
        return cls(labels, None, labels.shape[1], remembered)

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
            >>> PairRelations.from_levels(levels, num_levels=2).masks()[1].int().tolist()
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
        """Give lo and hi, (R, M) small ints each: levels that two clips share at least and at most.

        Args:
            rows: The first clips of the pairs.
            columns: The second ones. A clip's pair with itself is no pair; mask it.
        """
        if self.codes is None:
            levels = self._source[rows, columns]
            lo, hi = levels.clamp_min(0), levels.masked_fill(levels < 0, self.num_levels)
        else:
            lo, hi, same, perhaps = shared_prefix(self.codes[rows], self.codes[columns])
            lo.masked_fill_(same, self.num_levels)
            hi.masked_fill_(perhaps, self.num_levels)
        if self.remembered:
            past = self._past(rows, columns)
            lo, hi = lo.masked_fill(past, 0), hi.masked_fill(past, self.num_levels)
        return lo, hi

    def masks(self, rows: slice = EVERYTHING) -> tuple[Tensor, Tensor]:
        """Give (R, N) bool each: the pairs certainly of one class, and those certainly of two.

        A clip's pair with itself is in neither.
        """
        if self.codes is None:
            levels = self._source[rows]
            same, different = levels == self.num_levels, (levels >= 0) & (levels < self.num_levels)
        else:
            same, perhaps = _sameness(self.codes[rows], self.codes)
            different = ~perhaps
        left_out = self._places(rows) == self._places(EVERYTHING).T
        if self.remembered:
            left_out = left_out | self._past(rows, EVERYTHING)
        return same & ~left_out, different & ~left_out

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

    def _places(self, clips: slice) -> Tensor:
        start, stop, _ = clips.indices(len(self))
        return torch.arange(start, stop, device=self.device)[:, None]

    def _past(self, rows: slice, columns: slice) -> Tensor:
        first = len(self) - self.remembered
        return (self._places(rows) >= first) & (first <= self._places(columns).T)


def _sameness(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Give whether two labels are certainly, and whether they are perhaps, the same leaf."""
    certain = torch.ones(len(a), len(b), dtype=torch.bool, device=a.device)
    possible = certain.clone()
    for left, right in zip(a.T[:, :, None], b.T[:, None, :], strict=True):
        unknown = (left == UNKNOWN) | (right == UNKNOWN)
        equal = left == right
        certain &= equal & ~unknown
        possible &= equal | unknown
    return certain, possible
