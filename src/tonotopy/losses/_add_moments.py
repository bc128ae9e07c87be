"""First and second moments of angular distances within and between the classes of a batch.

Every pair of a side has a weight: 1 when pooled; 1 over the number of pairs of its two classes when
macro, so that every pair of classes counts equally. Mean and variance are those of that weighting,
so the variance holds both the spread inside each pair of classes and that among their means.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tonotopy.geometry import Distance, distance_from_cosine, pairwise_cosine

Pooling = Literal["pooled", "macro"]
"""Every pair counts equally, or every pair of classes does."""

SMALL_BATCH = 320
"""Up to here the many small steps of the closed form take longer than the N x N distances."""

PADDING = 4
"""Classes of a batch go through one product, padded to the largest, if that takes no more than this
many times the room of the batch."""

Spread = Literal["var", "std"]
Divisor = Literal["population", "ordered"]


class SideMoments(NamedTuple):
    """Moments of the distances of one side: scalars, 0 where there is no pair."""

    mean: Tensor
    variance: Tensor  # population
    pairs: Tensor  # ordered: twice the number of distances

    def spread(self, kind: Spread, divisor: Divisor = "population") -> Tensor:
        """Give variance or standard deviation.

        Args:
            kind: Which.
            divisor: Of the variance: the number of pairs, or the ordered number less one.
        """
        # One distance has no spread, and it is counted in both orders.
        variance = torch.where(self.pairs > 2, self.variance, torch.zeros_like(self.variance))
        if divisor == "ordered":
            variance = variance * self.pairs / (self.pairs - 1.0).clamp_min(1.0)
        return variance if kind == "var" else _root(variance)


def _root(x: Tensor) -> Tensor:
    """Square root with slope 0 at 0, where that of `sqrt` is infinite."""
    positive = x > 0.0
    return torch.where(positive, torch.where(positive, x, torch.ones_like(x)).sqrt(), x)


class BatchMoments(NamedTuple):
    """Moments of pairs of equal classes and of pairs of different classes."""

    intra: SideMoments
    inter: SideMoments


def batch_moments(u: Tensor, ids: Tensor, *, distance: Distance, pooling: Pooling) -> BatchMoments:
    """Give the moments of all pairs, by the cheaper of two forms that agree.

    Args:
        u: (N, D) unit vectors; zero rows are allowed and have cosine 0 to all.
        ids: (N,) class ids, negative = ignored.
        distance: What is measured between two unit vectors.
        pooling: What counts equally.

    Returns:
        Moments of both sides, differentiable with respect to `u`.
    """
    if distance == "cosine" and u.shape[0] > max(u.shape[1], SMALL_BATCH):
        return closed_form_moments(u, ids, pooling=pooling)
    return pairwise_moments(u, ids, distance=distance, pooling=pooling)


def pairwise_moments(
    u: Tensor, ids: Tensor, *, distance: Distance, pooling: Pooling
) -> BatchMoments:
    """Give the moments from the N x N distances: O(N² D), of fixed shapes, any distance."""
    d = distance_from_cosine(pairwise_cosine(u), distance)
    intra, inter = pair_masks(ids)
    if pooling == "pooled":
        return masked_moments(d, intra, inter)
    n_intra, n_inter = intra.sum(), inter.sum()
    weight_intra, weight_inter = intra.to(d.dtype), inter.to(d.dtype)
    partners = weight_intra.sum(dim=1)  # n_c - 1
    size = partners + 1.0
    weight_intra = weight_intra / (size * partners).clamp_min(1.0)
    weight_inter = weight_inter / (size[:, None] * size)
    return BatchMoments(
        SideMoments(*weighted_moments(d, weight_intra), n_intra.to(d.dtype)),
        SideMoments(*weighted_moments(d, weight_inter), n_inter.to(d.dtype)),
    )


def masked_moments(d: Tensor, intra: Tensor, inter: Tensor) -> BatchMoments:
    """Give the pooled moments of distances (N, N) under two masks of ordered pairs."""
    sides = (
        SideMoments(*weighted_moments(d, mask.to(d.dtype)), mask.sum().to(d.dtype))
        for mask in (intra, inter)
    )
    return BatchMoments(*sides)


def pair_masks(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Give (N, N) masks of the ordered pairs of equal and of different known class ids."""
    known = ids >= 0
    both = known[:, None] & known
    same = ids[:, None] == ids
    itself = torch.eye(len(ids), dtype=torch.bool, device=ids.device)
    return both & same & ~itself, both & ~same


def weighted_moments(d: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Give mean and population variance of `d` under `weights`; 0 where the weights are."""
    mass = _at_least_something(weights.sum())
    mean = (weights * d).sum() / mass
    return mean, (weights * (d - mean).square()).sum() / mass


def closed_form_moments(u: Tensor, ids: Tensor, *, pooling: Pooling) -> BatchMoments:
    """Give the moments of the cosine distance from class means and scatters.

    O(N D²) and no N x N matrix. Sums are taken around the class means, so that nothing cancels
    when classes collapse, and hold for rows shorter than one as well.
    """
    u, ids = u[ids >= 0], ids[ids >= 0]
    _, classes, counts = torch.unique(ids, return_inverse=True, return_counts=True)
    n = counts.to(u.dtype)
    means = u.new_zeros(len(n), u.shape[1]).index_add(0, classes, u) / n[:, None]
    e = u - means[classes]
    own_scatter = _squared_scatters(e[classes.argsort(stable=True)], counts)
    return BatchMoments(
        _intra_moments(u, e, classes, n, own_scatter, pooling),
        _inter_moments(means, e, classes, n, own_scatter, pooling),
    )


def _intra_moments(
    u: Tensor, e: Tensor, classes: Tensor, n: Tensor, own_scatter: Tensor, pooling: Pooling
) -> SideMoments:
    # With u_i = m + e_i, d_ij = b_i + b_j - e_i'e_j where b = ||e||²/2 + (1 - ||u||²)/2; the last
    # part is rounding, and left out, unless the row is shorter than one.
    squared = u.square().sum(dim=1)
    short = torch.where(squared < 1.0 - 1e-3, (1.0 - squared) / 2.0, torch.zeros_like(squared))
    a = e.square().sum(dim=1)
    b = a / 2.0 + short

    # The e of a class sum to 0, so every product of b with e_i'e_j does as well.
    b1 = _class_sums(b, classes, n)
    total = 2.0 * (n - 1.0) * b1 + _class_sums(a, classes, n)
    second = 2.0 * n * _class_sums(b.square(), classes, n) + 2.0 * b1.square() + own_scatter
    second = second - _class_sums((2.0 * short).square(), classes, n)  # i = j

    pairs = n * (n - 1.0)
    weight = torch.ones_like(n) if pooling == "pooled" else (n > 1.0) / pairs.clamp_min(1.0)
    mass = _at_least_something((weight * pairs).sum())
    mean = (weight * total).sum() / mass
    variance = (weight * second).sum() / mass - mean.square()
    return SideMoments(mean, variance.clamp_min(0.0), pairs.sum())


def _inter_moments(
    means: Tensor, e: Tensor, classes: Tensor, n: Tensor, own_scatter: Tensor, pooling: Pooling
) -> SideMoments:
    # var_ab = m_a'S_b m_a + m_b'S_a m_b + <S_a, S_b>; summed over b != a through the scatter of
    # all classes less each class's own part.
    class_weight = n if pooling == "pooled" else torch.ones_like(n)
    share = class_weight / n
    scatter = (e * share[classes, None]).mT @ e
    along_own = _class_sums((e * means[classes]).sum(dim=1).square(), classes, n)
    along_all = ((means @ scatter) * means).sum(dim=1)
    across = 2.0 * (class_weight * (along_all - share * along_own)).sum()
    within = across + scatter.square().sum() - (share.square() * own_scatter).sum()

    cells = 1.0 - pairwise_cosine(means)
    other = 1.0 - torch.eye(len(n), dtype=n.dtype, device=n.device)
    weight = class_weight[:, None] * class_weight * other
    mean, among = weighted_moments(cells, weight)
    variance = within / _at_least_something(weight.sum()) + among
    pairs = n.sum().square() - n.square().sum()
    return SideMoments(mean, variance.clamp_min(0.0) * (pairs > 0), pairs)


def _squared_scatters(e: Tensor, counts: Tensor) -> Tensor:
    """Give ||sum e e'||² of every class; `e` (N, D) is sorted by class."""
    sizes = counts.tolist()
    widest = max(sizes, default=0)
    if len(sizes) * widest <= PADDING * len(e):
        places = torch.arange(widest, device=e.device)
        rows = (counts.cumsum(0) - counts)[:, None] + places
        padded = e[rows.clamp_max(len(e) - 1)] * (places < counts[:, None])[:, :, None]
        return _squared_products(padded)
    parts = [_squared_products(block[None]) for block in torch.split(e, sizes)]
    return torch.cat(parts)


def _squared_products(blocks: Tensor) -> Tensor:
    """Give ||X'X||² of each of (C, K, D), by way of the smaller of X'X and XX'."""
    small = blocks.shape[1] < blocks.shape[2]
    products = blocks @ blocks.mT if small else blocks.mT @ blocks
    return products.square().sum(dim=(1, 2))


def _class_sums(values: Tensor, classes: Tensor, n: Tensor) -> Tensor:
    return torch.zeros_like(n).index_add(0, classes, values)


def _at_least_something(mass: Tensor) -> Tensor:
    return torch.where(mass > 0.0, mass, torch.ones_like(mass))
