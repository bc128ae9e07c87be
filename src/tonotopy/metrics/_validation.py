"""What every metric checks before it computes."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy.geometry import unit_vectors


def labelled_rows(
    values: Tensor, labels: Tensor, name: str = "embeddings"
) -> tuple[Tensor, Tensor]:
    """Keep the rows that have a label, on the CPU.

    Args:
        values: (N, D) floats.
        labels: (N,) integers; negative = unknown.
        name: What the rows are, for messages.

    Returns:
        The (n, D) rows with a label, in their own dtype, and their (n,) long labels.

    Raises:
        UsageError: Shapes or types do not fit.
        DataError: A labelled row holds NaN or infinity.
    """
    if values.ndim != 2 or labels.shape != values.shape[:1]:
        raise UsageError(
            f"expected {name} (N, D) and labels (N,), got {tuple(values.shape)} and "
            f"{tuple(labels.shape)}"
        )
    if not values.is_floating_point() or labels.is_floating_point():
        raise UsageError(
            f"expected floating point {name} and integer labels, got {values.dtype} and "
            f"{labels.dtype}"
        )
    values, labels = values.detach().cpu(), labels.detach().cpu().long()
    known = labels >= 0
    if not known.all():
        values, labels = values[known], labels[known]
    check_finite(values, name)
    return values, labels


def check_finite(values: Tensor, name: str = "embeddings") -> None:
    """Raise a DataError that counts the rows of (N, D) `values` with NaN or infinity."""
    bad = int((~values.isfinite().all(dim=1)).sum())
    if bad:
        raise DataError(
            f"{bad} of {len(values)} {name} are not finite (NaN or infinite): check the clips they "
            "come from, or whether training diverged"
        )


def check_classes(labels: Tensor, num_classes: int) -> None:
    """Raise a UsageError when a label is `num_classes` or more."""
    if labels.numel() and int(labels.max()) >= num_classes:
        raise UsageError(
            f"labels must be below num_classes = {num_classes}, got {int(labels.max())}"
        )


def to_units(embeddings: Tensor) -> Tensor:
    """Give (N, D) unit vectors in float64."""
    return unit_vectors(embeddings.to(torch.float64))


def checked_units(embeddings: Tensor) -> Tensor:
    """Give (N, D) unit vectors in float64 on the CPU, or say why that cannot be.

    Raises:
        UsageError: `embeddings` is not a matrix.
        DataError: An embedding is not finite.
    """
    if embeddings.ndim != 2:
        raise UsageError(f"expected embeddings (N, D), got {tuple(embeddings.shape)}")
    embeddings = embeddings.detach().cpu()
    check_finite(embeddings)
    return to_units(embeddings)
