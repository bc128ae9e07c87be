"""The four properties of an embedding space: are classes tight, apart, and without hierarchy?

Almudévar et al., "Angular Distance Distribution Loss for Audio Classification", 2024; definitions
of section 5 of the ADD specification.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.geometry import Distance
from tonotopy.geometry.moments import ClassMoments, PairCells, cosine_cells
from tonotopy.metrics._pair_blocks import pair_cells
from tonotopy.metrics._validation import check_classes, labelled_rows, to_units

COLLAPSED = 1e-8
"""Mean distance below which a coefficient of variation is undefined."""

MAX_CLIPS = 20_000
"""Clips up to which angles are taken over all pairs."""


class EmbeddingStructure:
    """Collect the structure of embeddings in parts, for the cosine distance, exactly.

    The state is C (D² + D + 3) float64 numbers, however many clips are seen; see `ClassMoments`.

    Args:
        num_classes: Number of classes C.
        dim: Length D of the embeddings.

    Examples:
        >>> structure = EmbeddingStructure(num_classes=2, dim=2)
        >>> structure.update(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0]))
        >>> structure.update(torch.tensor([[1.0, 1.0]]), torch.tensor([1]))
        >>> structure.compute()["pooled"]["compactness"]
        1.0
    """

    def __init__(self, num_classes: int, dim: int) -> None:
        self.moments = ClassMoments(num_classes, dim)

    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Add (N, D) embeddings with (N,) class ids; negative = ignored."""
        self.moments.update(embeddings, labels)

    def merge(self, other: EmbeddingStructure) -> None:
        """Add what another collector, for instance of another process, has seen."""
        self.moments.merge(other.moments)

    def compute(self) -> dict[str, Any]:
        """Give what `structure_of_cells` gives for everything seen so far."""
        return structure_of_cells(self.moments.cells())


def cosine_structure(embeddings: Tensor, labels: Tensor, num_classes: int) -> dict[str, Any]:
    """Give the structure for the cosine distance: exact, in O(N D² + C² D²) time.

    Args:
        embeddings: (N, D) floats, not necessarily normalised.
        labels: (N,) class ids in [0, num_classes); negative = ignored.
        num_classes: Number of classes C.

    Returns:
        See `structure_of_cells`; `"pairs"` is `"exact"`.

    Raises:
        UsageError: Shapes do not fit, or a label is `num_classes` or more.
        DataError: A labelled embedding is not finite.
    """
    return structure_of_cells(cosine_cells(embeddings, labels, num_classes)) | {"pairs": "exact"}


def pairwise_structure(
    embeddings: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    distance: Distance = "angle_quad",
    max_clips: int = MAX_CLIPS,
    seed: int = 0,
) -> dict[str, Any]:
    """Give the structure for any distance, from its pairs, in O(n² D) time for n clips.

    Above `max_clips` the cells are estimated on a sample of about that many clips: of each class
    the same share, but three clips at least. The pooled values weigh the cells by the pairs of
    all clips, so this floor does not bias them.

    Args:
        embeddings: (N, D) floats, not necessarily normalised.
        labels: (N,) class ids in [0, num_classes); negative = ignored.
        num_classes: Number of classes C.
        distance: The distance. Default `"angle_quad"`, (2/pi) arccos s.
        max_clips: Labelled clips up to which all pairs are used. Default 20,000.
        seed: Of the sample.

    Returns:
        See `structure_of_cells`; `"pairs"` is `"exact"` or `{"sampled_clips": n}`.

    Raises:
        UsageError: Shapes do not fit, or a label is `num_classes` or more.
        DataError: A labelled embedding is not finite.
    """
    embeddings, labels = labelled_rows(embeddings, labels)
    check_classes(labels, num_classes)
    sizes = torch.bincount(labels, minlength=num_classes)
    pairs: str | dict[str, int] = "exact"
    if len(labels) > max_clips:
        sample = stratified_sample(labels, max_clips, seed=seed)
        embeddings, labels = embeddings[sample], labels[sample]
        pairs = {"sampled_clips": len(sample)}
    cells = pair_cells(to_units(embeddings), labels, num_classes, distance)
    counts = sizes[:, None] * sizes[None, :] - sizes.diag()
    return structure_of_cells(PairCells(counts, cells.mean, cells.variance)) | {"pairs": pairs}


def stratified_sample(labels: Tensor, size: int, *, at_least: int = 3, seed: int = 0) -> Tensor:
    """Draw about `size` clips, of each class the same share.

    Args:
        labels: (N,) class ids, 0 or more.
        size: Clips wanted; rounding up per class, and `at_least`, may give a few more.
        at_least: Clips of each class, where it has them. Default 3, the fewest with a spread.
        seed: Of the draw.

    Returns:
        (n,) row numbers, ascending.
    """
    if size < 1:
        raise UsageError(f"a sample needs at least 1 clip, got {size}")
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    shuffled = shuffled[labels[shuffled].argsort(stable=True)]
    sizes = torch.bincount(labels).tolist()
    share = size / max(len(labels), 1)
    parts = torch.split(shuffled, sizes)
    kept = [part[: max(math.ceil(share * len(part)), at_least)] for part in parts]
    return torch.cat(kept).sort().values


def structure_of_cells(cells: PairCells) -> dict[str, Any]:
    """Sum up the class-by-class distances.

    `"pooled"` takes all pairs of clips alike, `"macro"` all classes and class pairs alike:

    - `compactness`: mean distance within a class (low is good);
    - `separation`: mean distance between classes (a right angle is 1); macro also `min_separation`
      of the closest two classes;
    - `intra_cv`: deviation over mean within a class, 0 where a class has no inner hierarchy; macro:
      mean over classes with three clips or more;
    - `inter_cv`: the same between classes; macro: deviation of the class-pair means over their
      mean, 0 where no two classes are closer than others.

    `"variance_split"` is the law of total variance, sd² = within + among: `intra_within_classes`
    and `intra_among_classes` add up to the pooled variance inside classes, `inter_within_pairs`
    and `inter_among_pairs` to that between classes; the last is the hierarchy among classes.

    Args:
        cells: Counts, means and variances of the distance of each pair of classes.

    Returns:
        The three dicts, of floats; NaN where there is no pair, where the one pair there is has no
        spread, and for a coefficient of variation where the mean is below 1e-8.
    """
    size = len(cells.counts)
    inside = torch.eye(size, dtype=torch.bool)
    above = torch.ones(size, size, dtype=torch.bool).triu(1)
    intra = _pool(cells, inside)
    inter = _pool(cells, above)
    return {
        "pooled": {
            "compactness": intra["mean"],
            "separation": inter["mean"],
            "intra_cv": intra["cv"],
            "inter_cv": inter["cv"],
        },
        "macro": _macro(cells, inside, above),
        "variance_split": {
            "intra_within_classes": intra["within"],
            "intra_among_classes": intra["among"],
            "inter_within_pairs": inter["within"],
            "inter_among_pairs": inter["among"],
        },
    }


def coefficient_of_variation(mean: Tensor, sd: Tensor) -> Tensor:
    """Divide deviations by means; NaN where the mean is below 1e-8, that is at collapse."""
    return (sd / mean).masked_fill(~(mean >= COLLAPSED), torch.nan)


def _pool(cells: PairCells, chosen: Tensor) -> dict[str, float]:
    """Pool cells by their pairs: sd² = sum w var + sum w (mu_cell - mu)², w = share of pairs."""
    chosen = chosen & (cells.counts > 0)
    counts = cells.counts[chosen].double()
    if not len(counts):
        return dict.fromkeys(("mean", "cv", "within", "among"), math.nan)
    share = counts / counts.sum()
    means = cells.mean[chosen]
    mean = (share * means).sum()
    within = (share * cells.variance[chosen]).sum()
    among = (share * (means - mean).square()).sum()
    # Inside a class each unordered pair counts twice.
    single = int(counts.sum()) == (2 if bool(chosen.diagonal().any()) else 1)
    cv = math.nan if single else coefficient_of_variation(mean, (within + among).sqrt()).item()
    return {"mean": mean.item(), "cv": cv, "within": within.item(), "among": among.item()}


def _macro(cells: PairCells, inside: Tensor, above: Tensor) -> dict[str, float]:
    occupied = cells.counts > 0
    intra = cells.mean[inside & occupied]
    spread = inside & (cells.counts > 2)  # three clips make six ordered pairs
    inter = cells.mean[above & occupied]
    inter_cv = math.nan
    if len(inter) > 1:
        inter_cv = coefficient_of_variation(inter.mean(), inter.std(correction=0)).item()
    return {
        "compactness": intra.mean().item(),
        "separation": inter.mean().item(),
        "intra_cv": coefficient_of_variation(cells.mean[spread], cells.sd[spread]).nanmean().item(),
        "inter_cv": inter_cv,
        "min_separation": inter.min().item() if len(inter) else math.nan,
    }
