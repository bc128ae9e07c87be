"""Mean and deviation of the cosine distance of every pair of classes, without any pair matrix.

For unit vectors the moments of d = 1 - <u_i, u_j> over the pairs of two classes depend on the
data only through each class's count, mean and scatter (ADD specification, section 1.7). These add
up over batches and processes, and nothing cancels when a class collapses to a point.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy.geometry.unit import unit_vectors

SHORTEST = 1e-6
"""Vectors below this length stay shorter than one; see `unit_vectors`."""

ROWS = 8192
"""Vectors that are normalised and summed at once."""


@dataclass(frozen=True)
class PairCells:
    """The distances d(i, j), i in class a, j in class b, i != j, summed up per cell (a, b).

    Args:
        counts: (C, C) long, number of ordered pairs.
        mean: (C, C) mean distance; NaN where there is no pair.
        variance: (C, C) population variance; NaN where there is no pair, 0 where there is one.
    """

    counts: Tensor
    mean: Tensor
    variance: Tensor

    @property
    def sd(self) -> Tensor:
        """(C, C) population standard deviations."""
        return self.variance.sqrt()


class ClassMoments:
    """Count, mean and scatter of the unit vectors of each class, collected in parts.

    The state is C (D² + D + 3) numbers: 26 MB in float64 for 50 classes of 256 dimensions, but
    2 GB for 1,000 classes of 512. When all embeddings are at hand, `cosine_cells` gives the same
    result in bounded memory.

    Attributes:
        counts: (C,) long, n.
        means: (C, D), m, the mean unit vector.
        scatters: (C, D, D), the sum of (u - m)(u - m)' over the class.
        shortfall: (C,), the sum of 1 - ||u||²; above 0 only where vectors are zero.
        squared_shortfall: (C,), the sum of (1 - ||u||²)².

    Args:
        num_classes: Number of classes C.
        dim: Length D of the embeddings.
        dtype: Of the state. Default float64.
    """

    def __init__(self, num_classes: int, dim: int, dtype: torch.dtype = torch.float64) -> None:
        if num_classes < 1 or dim < 1:
            raise UsageError(
                f"class moments need at least 1 class and 1 dimension, got num_classes="
                f"{num_classes} and dim={dim}"
            )
        self.counts = torch.zeros(num_classes, dtype=torch.long)
        self.means = torch.zeros(num_classes, dim, dtype=dtype)
        self.scatters = torch.zeros(num_classes, dim, dim, dtype=dtype)
        self.shortfall = torch.zeros(num_classes, dtype=dtype)
        self.squared_shortfall = torch.zeros(num_classes, dtype=dtype)

    @torch.no_grad()
    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Add clips; the order and the size of the parts change the result by rounding only.

        Args:
            embeddings: (N, D) floats, not necessarily normalised, on any device.
            labels: (N,) class ids in [0, C); negative = ignored.

        Raises:
            UsageError: Shapes do not fit, or a label is C or more.
            DataError: A labelled embedding is not finite.
        """
        embeddings, labels = self._checked(embeddings, labels)
        order = labels.argsort(stable=True)
        order = order[int((labels < 0).sum()) :]
        sizes = torch.bincount(labels[order], minlength=len(self.counts)).tolist()
        for label, rows in enumerate(torch.split(order, sizes)):
            for block in torch.split(rows, ROWS) if len(rows) else ():
                self._add_vectors(label, embeddings[block].to(self.means.dtype))

    @torch.no_grad()
    def merge(self, other: ClassMoments) -> None:
        """Add what another collector has seen, as if `update` had seen it here.

        Args:
            other: Moments of the same classes and dimensions; unchanged.

        Raises:
            UsageError: `other` has another number of classes or dimensions.
        """
        if other.means.shape != self.means.shape:
            raise UsageError(
                f"cannot merge moments of {tuple(other.means.shape)} (classes, dimensions) into "
                f"{tuple(self.means.shape)}: both must come from the same model"
            )
        for label in other.counts.nonzero().squeeze(1).tolist():
            count = int(other.counts[label])
            self._add_part(label, count, other.means[label], other.scatters[label])
        self.shortfall += other.shortfall
        self.squared_shortfall += other.squared_shortfall

    @torch.no_grad()
    def cells(self) -> PairCells:
        """Give count, mean and population variance of the cosine distance of each class pair."""
        mean, variance = _between(self, self)
        _set_diagonal(mean, variance, self)
        return _pair_cells(self.counts, mean, variance)

    def _checked(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        classes, dim = self.means.shape
        if (
            embeddings.ndim != 2
            or embeddings.shape[1] != dim
            or labels.shape != embeddings.shape[:1]
        ):
            raise UsageError(
                f"expected embeddings (N, {dim}) and labels (N,), got {tuple(embeddings.shape)} "
                f"and {tuple(labels.shape)}"
            )
        labels = labels.detach().cpu()
        if labels.numel() and int(labels.max()) >= classes:
            raise UsageError(f"labels must be below {classes}, got {int(labels.max())}")
        embeddings = embeddings.detach().cpu()
        bad = int((~embeddings.isfinite().all(dim=1) & (labels >= 0)).sum())
        if bad:
            raise DataError(
                f"{bad} of {len(embeddings)} embeddings are not finite (NaN or infinite): check "
                "the clips they come from, or whether training diverged"
            )
        return embeddings, labels

    def _add_vectors(self, label: int, vectors: Tensor) -> None:
        units = unit_vectors(vectors, eps=SHORTEST)
        mean = units.mean(dim=0)
        centred = units - mean
        self._add_part(label, len(units), mean, centred.mT @ centred)
        # Exactly 0 for vectors of length one: 1 - ||u||² would leave rounding noise.
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        short = 1.0 - (lengths[lengths < SHORTEST] / SHORTEST).square()
        self.shortfall[label] += short.sum()
        self.squared_shortfall[label] += short.square().sum()

    def _add_part(self, label: int, count: int, mean: Tensor, scatter: Tensor) -> None:
        """Merge one part into a class: section 6 of the ADD specification."""
        before = int(self.counts[label])
        total = before + count
        delta = mean - self.means[label]
        self.scatters[label].add_(scatter).addr_(delta, delta, alpha=before * count / total)
        self.means[label].add_(delta, alpha=count / total)
        self.counts[label] = total


@torch.no_grad()
def cosine_cells(
    embeddings: Tensor, labels: Tensor, num_classes: int, *, max_bytes: int = 2**29
) -> PairCells:
    """Give the cells of `ClassMoments.cells` of data at hand, in bounded memory.

    Where all scatters do not fit into `max_bytes`, a chunk of classes is held while the classes
    after it pass by, so scatters are computed again for each chunk.

    Args:
        embeddings: (N, D) floats, not necessarily normalised.
        labels: (N,) class ids in [0, num_classes); negative = ignored.
        num_classes: Number of classes C.
        max_bytes: Memory for scatters. Default 512 MiB; two classes are held at least.

    Returns:
        The cells, in float64.

    Raises:
        UsageError: Shapes do not fit, or a label is `num_classes` or more.
        DataError: A labelled embedding is not finite.

    Examples:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 3.0]])
        >>> cosine_cells(x, torch.tensor([0, 0, 1]), 2).mean
        tensor([[1.0000, 0.5000],
                [0.5000,    nan]], dtype=torch.float64)
    """
    dim = embeddings.shape[-1]
    if num_classes * 8 * dim**2 <= max_bytes:
        moments = ClassMoments(num_classes, dim)
        moments.update(embeddings, labels)
        return moments.cells()

    room = max_bytes // (8 * dim**2)
    passing = max(1, room // 8)
    held = max(1, room - passing)
    counts = torch.zeros(num_classes, dtype=torch.long)
    mean = torch.empty(num_classes, num_classes, dtype=torch.float64)
    variance = torch.empty_like(mean)
    for rows in _slices(num_classes, held):
        first = _moments_of(embeddings, labels, rows)
        counts[rows] = first.counts
        mean[rows, rows], variance[rows, rows] = _between(first, first)
        _set_diagonal(mean[rows, rows], variance[rows, rows], first)
        for columns in _slices(num_classes, passing, start=rows.stop):
            cell_mean, cell_variance = _between(first, _moments_of(embeddings, labels, columns))
            mean[rows, columns], variance[rows, columns] = cell_mean, cell_variance
            mean[columns, rows], variance[columns, rows] = cell_mean.mT, cell_variance.mT
    return _pair_cells(counts, mean, variance)


def _slices(stop: int, size: int, start: int = 0) -> Iterator[slice]:
    for first in range(start, stop, size):
        yield slice(first, min(first + size, stop))


def _moments_of(embeddings: Tensor, labels: Tensor, classes: slice) -> ClassMoments:
    moments = ClassMoments(classes.stop - classes.start, embeddings.shape[-1])
    chosen = (labels >= classes.start) & (labels < classes.stop)
    moments.update(embeddings[chosen], labels[chosen] - classes.start)
    return moments


def _between(a: ClassMoments, b: ClassMoments) -> tuple[Tensor, Tensor]:
    """Give mean and variance of the cells of two different classes.

    mu_ab = 1 - <m_a, m_b>;  var_ab = m_a' S_b m_a + m_b' S_a m_b + <S_a, S_b>,  S = scatter / n.
    """
    n_a, n_b = a.counts[:, None], b.counts[None, :]
    mean = 1.0 - a.means @ b.means.mT
    common = a.scatters.flatten(1) @ b.scatters.flatten(1).mT
    along_a = _quadratic(b.scatters, a.means)
    along_b = _quadratic(a.scatters, b.means).mT
    return mean, along_a / n_b + along_b / n_a + common / (n_a * n_b)


def _quadratic(scatters: Tensor, means: Tensor) -> Tensor:
    """Give m_a' X_b m_a as (a, b); one class b at a time keeps memory at A·D."""
    return torch.stack([((means @ x) * means).sum(dim=1) for x in scatters], dim=1)


def _set_diagonal(mean: Tensor, variance: Tensor, moments: ClassMoments) -> None:
    """Fill in the cells of one class with itself, where i = j is not a pair.

    With a_i = 1 + ||m||² - 2 <m, u_i> the distance is (a_i + a_j) / 2 - <u_i - m, u_j - m>; a_i
    has mean q = 1 - ||m||² and mean square q² + 4 m'Sm. The n pairs i = i have distance
    1 - ||u_i||²: 0, but for zero vectors.
    """
    n = moments.counts.to(mean.dtype)
    pairs = n * (n - 1)
    scatters, means = moments.scatters, moments.means
    trace = scatters.diagonal(dim1=1, dim2=2).sum(dim=1)
    q = (trace + moments.shortfall) / n  # not 1 - ||m||², which cancels at collapse
    along = torch.stack([m @ x @ m for m, x in zip(means, scatters, strict=True)]) / n
    square = q.square() + 2.0 * along + scatters.square().sum(dim=(1, 2)) / n.square()
    intra = (n.square() * q - moments.shortfall) / pairs
    spread = (n.square() * square - moments.squared_shortfall) / pairs - intra.square()
    # Two vectors have one distance, whatever rounding says.
    spread = torch.where(n == 2, 0.0, spread.clamp_min(0.0))
    mean.diagonal().copy_(intra)
    variance.diagonal().copy_(spread)


def _pair_cells(counts: Tensor, mean: Tensor, variance: Tensor) -> PairCells:
    pairs = counts[:, None] * counts[None, :] - counts.diag()
    empty = pairs == 0
    return PairCells(
        counts=pairs,
        mean=mean.masked_fill(empty, torch.nan),
        variance=variance.masked_fill(empty, torch.nan),
    )
