"""Mean and variance of any distance of every pair of classes, by blocks of pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy.geometry import Distance, distance_from_cosine
from tonotopy.geometry.moments import PairCells

TILE = 512
"""Rows of a block of pairs."""

TILE_PAIRS = 2**22
"""Pairs in a block: 32 MiB in float64. Smaller ones fit a cache but wait for threads more often."""


@torch.no_grad()
def pair_cells(units: Tensor, labels: Tensor, num_classes: int, distance: Distance) -> PairCells:
    """Visit every unordered pair once, in O(N + C²) memory beside the data.

    Each column of a block gets a mean and a sum of squared deviations from it; columns are merged
    with delta = m_B - m_A (section 6 of the ADD specification), so nothing cancels.

    Args:
        units: (N, D) float64 unit vectors.
        labels: (N,) class ids in [0, num_classes).
        num_classes: Number of classes C.
        distance: The distance.

    Returns:
        The cells, in float64.
    """
    order = labels.argsort(stable=True)
    units, labels = units[order], labels[order]
    sizes = torch.bincount(labels, minlength=num_classes)
    ends = sizes.cumsum(0)
    mean = torch.full((num_classes, num_classes), torch.nan, dtype=units.dtype)
    variance = mean.clone()
    for label in sizes.nonzero().squeeze(1).tolist():
        start, end = int(ends[label] - sizes[label]), int(ends[label])
        columns = _Columns(len(units) - start, units.dtype)
        for row in range(start, end, TILE):
            columns.add_rows(units, range(row, min(row + TILE, end)), start, distance)
        cell_mean, cell_variance = columns.by_class(labels[start:], num_classes)
        mean[label, label:], variance[label, label:] = cell_mean[label:], cell_variance[label:]
        mean[label:, label], variance[label:, label] = cell_mean[label:], cell_variance[label:]
    # Two vectors have one distance, whatever rounding says.
    variance.diagonal().masked_fill_(sizes == 2, 0.0)
    return PairCells(sizes[:, None] * sizes[None, :] - sizes.diag(), mean, variance)


class _Columns:
    """Count, mean and sum of squared deviations of each column over the rows of one class."""

    def __init__(self, width: int, dtype: torch.dtype) -> None:
        self.counts = torch.zeros(width, dtype=dtype)
        self.means = torch.zeros(width, dtype=dtype)
        self.squares = torch.zeros(width, dtype=dtype)

    def add_rows(self, units: Tensor, rows: range, start: int, distance: Distance) -> None:
        """Add the rows against all columns from `start` on."""
        block = units[rows.start : rows.stop]
        width = TILE_PAIRS // len(rows)
        for first in range(start, len(units), width):
            tile = block @ units[first : first + width].mT
            tile = distance_from_cosine(tile, distance)
            counts = torch.full((tile.shape[1],), float(len(rows)), dtype=tile.dtype)
            # Entry (i, i) is no pair: it counts nothing and then sits at the mean of its column.
            both = range(max(rows.start, first), min(rows.stop, first + tile.shape[1]))
            own = torch.tensor(both, dtype=torch.long)
            itself = (own - rows.start, own - first)
            tile[itself] = 0.0
            counts[own - first] -= 1.0
            means = tile.sum(dim=0) / counts.clamp_min(1.0)
            tile[itself] = means[own - first]
            squares = tile.sub_(means).square_().sum(dim=0)
            self._merge(slice(first - start, first - start + tile.shape[1]), counts, means, squares)

    def _merge(self, where: slice, counts: Tensor, means: Tensor, squares: Tensor) -> None:
        before = self.counts[where]
        total = (before + counts).clamp_min(1.0)
        delta = means - self.means[where]
        self.squares[where] += squares + delta.square() * before * counts / total
        self.means[where] += delta * counts / total
        self.counts[where] = before + counts

    def by_class(self, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
        """Merge the columns of each class: (C,) means and population variances, NaN if empty."""

        def sums(values: Tensor) -> Tensor:
            return values.new_zeros(num_classes).index_add_(0, labels, values)

        counts = sums(self.counts)
        mean = sums(self.counts * self.means) / counts
        deviations = self.counts * (self.means - mean[labels]).square()
        return mean, sums(self.squares + deviations.nan_to_num()) / counts
