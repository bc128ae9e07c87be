"""Losses that ask embeddings to lie close together, for one class or for each of several."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.geometry import LinearHead, pairwise_cosine, unit_vectors
from tonotopy.losses._base import (
    ClassifierLoss,
    Loss,
    Terms,
    check_choice,
    check_not_negative,
)
from tonotopy.losses._targets import class_ids, class_weights, mean_over_labelled
from tonotopy.losses.cross_entropy import cross_entropy

Around = Literal["others", "mean"]
"""What a clip is compared with: the mean of the others, or of all."""

LEAST_COMPONENT = 0.1
"""The centre's components are kept this far from 0, which a network reaches with zero weights."""


def class_compactness(u: Tensor, centres: Tensor, weights: Tensor, subclusters: int = 1) -> Tensor:
    """Give the mean over labelled clips of sum_c q_c min_j ||u - w_cj||².

    Args:
        u: (B, D) unit vectors.
        centres: (C * S, D) unit vectors w, class-major.
        weights: (B, C) target rows q; a row of zeros is ignored.
        subclusters: Centres S of each class.

    Returns:
        Scalar.
    """
    s = pairwise_cosine(u, centres).view(-1, len(centres) // subclusters, subclusters)
    nearest = s.amax(dim=2)
    return mean_over_labelled((weights * (2.0 - 2.0 * nearest)).sum(dim=1), weights)


def batch_compactness(u: Tensor, labelled: Tensor, around: Around = "others") -> Tensor:
    """Give how far the labelled vectors are from each other.

    `"mean"`: (1/N) sum_i ||u_i - m||², m the mean of all. `"others"`: 1/(N D) sum_i ||u_i - m_i||²,
    m_i the mean of the others, which is (N / (N - 1))² / D times the former.

    Args:
        u: (B, D) vectors.
        labelled: (B,) bool; N of them are True.
        around: See above.

    Returns:
        Scalar; 0 for fewer than two.
    """
    mask = labelled.to(u.dtype).unsqueeze(1)
    count = mask.sum()
    mean = (u * mask).sum(dim=0) / count.clamp_min(1.0)
    value = ((u - mean).square() * mask).sum() / count.clamp_min(1.0)
    if around == "mean":
        return value
    return value * (count / (count - 1.0).clamp_min(1.0)).square() / u.shape[1]


def soft_boundary(squares: Tensor, labelled: Tensor, nu: float) -> Tensor:
    """Give the least of R² + 1/(nu N) sum_i max(0, d_i² - R²) over R, the mean of the worst.

    Its gradient is that of the formula at the best R, the (1 - nu)-quantile of d.

    Args:
        squares: (B,) squared distances d².
        labelled: (B,) bool; N of them are True.
        nu: Share of the clips that may lie outside, in (0, 1].

    Returns:
        Scalar.
    """
    ordered = torch.where(labelled, squares, 0.0).sort(descending=True).values
    worst = nu * labelled.sum().to(squares.dtype)
    rank = torch.arange(len(squares), dtype=squares.dtype, device=squares.device)
    share = (worst - rank).clamp(0.0, 1.0)
    return (share * ordered).sum() / worst.clamp_min(nu)


def _labelled(labels: Tensor) -> Tensor:
    if labels.ndim == 2 and not labels.is_floating_point():
        raise UsageError(
            "compactness takes (B,) class ids or (B, C) float targets, got "
            f"{tuple(labels.shape)} integers; for codes of a tree pass tree.leaf_index(paths)"
        )
    return class_ids(labels) >= 0


class CompactnessLoss(Loss):
    """Squared chord to the centre of the class, or to its nearest sub-centre.

    Formula: mean of ||u - w_y||² = 2 - 2 cos(z, w_y), u and w of unit length. It pulls and never
    pushes, so alone it may map everything to one point: add it to a loss that trains a classifier,
    and watch the collapse monitor. Compared against in Wilkinghoff and Kurth, "Why Do Angular
    Margin Losses Work Well for Semi-Supervised Anomalous Sound Detection?", TASLP 2024.

    Args:
        num_classes: Number of classes C.
        embedding_dim: Length D of the embeddings.
        subclusters: Centres S of each class. Default 1.
        trainable_centres: Whether the centres are trained, or stay as drawn or set.

    Examples:
        >>> loss = CompactnessLoss(num_classes=2, embedding_dim=2, trainable_centres=False)
        >>> loss.set_centres(torch.eye(2))
        >>> loss(torch.tensor([[3.0, 0.0], [5.0, 0.0]]), torch.tensor([0, 1]))
        tensor(1.)
    """

    learns_one_class = True

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        subclusters: int = 1,
        trainable_centres: bool = True,
    ) -> None:
        super().__init__()
        if min(num_classes, embedding_dim, subclusters) < 1:
            raise UsageError(
                "num_classes, embedding_dim and subclusters must be 1 or more, got "
                f"{num_classes}, {embedding_dim} and {subclusters}"
            )
        self.subclusters = subclusters
        self.num_classes = num_classes
        self.centres: Tensor
        centres = torch.empty(num_classes * subclusters, embedding_dim)
        nn.init.xavier_uniform_(centres)
        if trainable_centres:
            self.centres = nn.Parameter(centres)
        else:
            self.register_buffer("centres", centres)

    @torch.no_grad()
    def set_centres(self, centres: Tensor) -> None:
        """Take (C * S, D) centres, class-major; their length does not matter.

        Raises:
            UsageError: Another shape.
        """
        if centres.shape != self.centres.shape:
            raise UsageError(
                f"expected centres of shape {tuple(self.centres.shape)}, one row a sub-centre and "
                f"class after class, got {tuple(centres.shape)}"
            )
        self.centres.copy_(centres)

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss; no parts."""
        weights = class_weights(labels, self.num_classes, embeddings.dtype)
        u, w = unit_vectors(embeddings), unit_vectors(self.centres.to(embeddings.dtype))
        return class_compactness(u, w, weights, self.subclusters), {}


class OneClassCompactnessLoss(Loss):
    """Squared chord between each embedding and the mean of the batch, whatever the classes.

    Formula: see `batch_compactness`. A constant embedding minimises it: add it to a loss that
    trains a classifier, as `DescriptivenessCompactnessLoss` does.

    Args:
        around: `"others"`, the default: the mean of the other clips, divided by D, as in Perera and
            Patel; `"mean"`: that of all, not divided.

    Examples:
        >>> loss = OneClassCompactnessLoss(around="mean")
        >>> loss(torch.tensor([[2.0, 0.0], [0.0, 3.0]]), torch.tensor([0, 0]))
        tensor(0.5000)
    """

    kind = "batch"
    learns_one_class = True

    def __init__(self, around: Around = "others") -> None:
        check_choice("around", around, Around)
        super().__init__()
        self.around: Around = around

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss; no parts."""
        return batch_compactness(unit_vectors(embeddings), _labelled(labels), self.around), {}


class DescriptivenessCompactnessLoss(ClassifierLoss):
    """Cross-entropy of a linear classifier, plus the compactness of the batch.

    Formula: cross-entropy + weight / (N D) sum_i ||u_i - m_i||², m_i the mean of the other unit
    vectors of the batch. Perera and Patel, "Learning Deep Features for One-Class Classification",
    TIP 2019, with both parts on one batch.

    Args:
        num_classes: Number of classes C.
        embedding_dim: Length D of the embeddings.
        compactness_weight: Weight of the second part, 0 or more. Default 0.1.

    Examples:
        >>> loss = DescriptivenessCompactnessLoss(num_classes=3, embedding_dim=8)
        >>> value = loss(torch.randn(4, 8), torch.tensor([0, 1, 2, -1]))
        >>> sorted(loss.terms())
        ['compactness', 'descriptiveness']
    """

    kind = "batch"

    def __init__(
        self, num_classes: int, embedding_dim: int, compactness_weight: float = 0.1
    ) -> None:
        check_not_negative("compactness_weight", compactness_weight)
        super().__init__(LinearHead(embedding_dim, num_classes))
        self.compactness_weight = compactness_weight

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss and its two parts, the compactness without its weight."""
        weights = class_weights(labels, self.head.num_classes, embeddings.dtype)
        descriptive = cross_entropy(self.head(embeddings), weights)
        compact = batch_compactness(unit_vectors(embeddings), weights.sum(dim=1) > 0)
        parts = {"descriptiveness": descriptive, "compactness": compact}
        return descriptive + self.compactness_weight * compact, parts


class DeepSVDDLoss(Loss):
    """Squared distance to a fixed centre, on the embeddings as they are, whatever the classes.

    Formula: mean of ||z - c||²; with a soft boundary, the least over R of
    R² + 1/(nu N) sum_i max(0, ||z_i - c||² - R²). Weight decay is the optimiser's. Ruff et al.,
    "Deep One-Class Classification", ICML 2018. A network that can output c whatever the input, by
    a bias or a shift of its normalisation layers, does so: build it without them. The paper seeks
    R between epochs, here it is the best one for each batch.

    Args:
        embedding_dim: Length D of the embeddings.
        nu: Share of the clips that may lie outside of the boundary, in (0, 1]. Default None: no
            boundary.

    Examples:
        >>> loss = DeepSVDDLoss(embedding_dim=2)
        >>> loss.set_centre(torch.tensor([[1.0, 2.0], [1.0, 4.0]]))
        >>> loss(torch.tensor([[1.0, 1.0], [1.0, 3.0]]), torch.tensor([0, 0]))
        tensor(2.)
    """

    learns_one_class = True

    def __init__(self, embedding_dim: int, nu: float | None = None) -> None:
        super().__init__()
        if embedding_dim < 1 or (nu is not None and not 0.0 < nu <= 1.0):
            raise UsageError(
                "embedding_dim must be 1 or more and nu None or in (0, 1], got "
                f"{embedding_dim} and {nu}"
            )
        self.nu = nu
        self.kind = "sample" if nu is None else "batch"
        self.centre: Tensor  # random until set
        self.register_buffer("centre", _away_from_zero(torch.randn(embedding_dim)))

    @torch.no_grad()
    def set_centre(self, embeddings: Tensor) -> None:
        """Take the mean of the untrained network's embeddings, moved away from 0.

        Args:
            embeddings: (N, D) floats, N of at least 1, of normal clips.

        Raises:
            UsageError: Another shape, no rows, or a mean that is not finite.
        """
        fits = embeddings.ndim == 2 and embeddings.shape[1:] == self.centre.shape
        if not fits or not len(embeddings) or not embeddings.isfinite().all():
            raise UsageError(
                f"expected at least one row of {len(self.centre)} finite numbers, got "
                f"{tuple(embeddings.shape)}"
            )
        self.centre.copy_(_away_from_zero(embeddings.mean(dim=0)))

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss; no parts."""
        labelled = _labelled(labels)
        squares = (embeddings - self.centre.to(embeddings.dtype)).square().sum(dim=1)
        if self.nu is None:
            return mean_over_labelled(squares, labelled.unsqueeze(1)), {}
        return soft_boundary(squares, labelled, self.nu), {}


def _away_from_zero(centre: Tensor) -> Tensor:
    side = torch.where(centre < 0, -1.0, 1.0)
    return side * centre.abs().clamp_min(LEAST_COMPONENT)
