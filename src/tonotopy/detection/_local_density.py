"""Normalise distances to references by how densely the references lie.

In a dense domain normal clips are near their references, in a sparse one they are far from them;
relative to the distances among the references both become comparable (specification of anomaly
detection, section 6.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.detection._cosine_distances import distances_to_others

Density = Literal["none", "ratio", "difference"]
Weights = Literal["uniform", "rank"]

SMALLEST = 1e-6
"""Floor of rho; a duplicated reference would divide by zero."""

DECAY = 0.9
"""What the weight of a rank is of that of the rank before."""

DEEPEST = 512
"""Ranks that have a weight: DECAY**512 is below 1e-23 and changes no digit."""


@dataclass(frozen=True)
class LocalDensity:
    """How a distance d(x, r) is normalised by rho(r), the distance of reference r to the others.

    Formula: `"ratio"` d / max(rho, 1e-6), `"difference"` d - rho, `"none"` d; rho(r) is the mean
    distance to the `neighbours` nearest other references, or with `"rank"` the mean over all
    others with weights 0.9^0, 0.9^1, ... from the nearest on (global weighted ranking pooling).

    Args:
        kind: `"none"`, `"ratio"` or `"difference"`.
        neighbours: Others that rho is the mean of, at least 1; fewer where there are fewer.
        weights: `"uniform"` or `"rank"`.

    Raises:
        UsageError: A value is not one of these.
    """

    kind: Density
    neighbours: int
    weights: Weights

    def __post_init__(self) -> None:
        if self.kind not in get_args(Density):
            raise UsageError(f"density must be one of {get_args(Density)}, got {self.kind!r}")
        if self.weights not in get_args(Weights):
            raise UsageError(
                f"density_weights must be one of {get_args(Weights)}, got {self.weights!r}"
            )
        if self.neighbours < 1:
            raise UsageError(f"density_neighbours must be at least 1, got {self.neighbours}")

    def spacing(self, references: Tensor) -> Tensor | None:
        """Give rho (N,) of references (N, D); None for one alone or where it is not used."""
        others = len(references) - 1
        if self.kind == "none" or others < 1:
            return None
        weights = self._rank_weights(others)
        return torch.cat(
            [
                distances.topk(len(weights), largest=False).values @ weights
                for _, distances in distances_to_others(references)
            ]
        )

    def normalise(self, distances: Tensor, spacing: Tensor | None) -> Tensor:
        """Normalise distances (M, N) by rho (N,) or (M, N); leave them where it is None."""
        if spacing is None:
            return distances
        if self.kind == "difference":
            return distances - spacing
        return distances / spacing.clamp_min(SMALLEST)

    def spacing_without_each(self, distances: Tensor) -> Tensor | None:
        """Give what rho of a few references would be without each one of the others.

        Args:
            distances: (B, N), of B references to all N, infinite to themselves.

        Returns:
            (B, N): rho of the reference of the row when that of the column is left out; the column
            of a reference itself means nothing. None where nothing or one alone would be left.
        """
        others = distances.shape[1] - 2
        if self.kind == "none" or others < 1:
            return None
        weights = self._rank_weights(others)
        count = len(weights)
        nearest, columns = distances.topk(count + 1, largest=False)
        # Those before the one left out keep their rank, those after it move up by one.
        before = (nearest[:, :-1] * weights).cumsum(dim=1)
        after = (nearest[:, 1:] * weights).flip(1).cumsum(dim=1).flip(1)
        nothing = torch.zeros(len(nearest), 1, dtype=nearest.dtype)
        without = torch.cat([nothing, before], dim=1) + torch.cat([after, nothing], dim=1)
        return before[:, -1:].repeat(1, distances.shape[1]).scatter_(1, columns, without)

    def _rank_weights(self, others: int) -> Tensor:
        """Give the weight of each rank, nearest first; they sum to one."""
        if self.weights == "rank":
            powers = DECAY ** torch.arange(min(others, DEEPEST), dtype=torch.float64)
            return powers / powers.sum()
        count = min(self.neighbours, others)
        return torch.full((count,), 1.0 / count, dtype=torch.float64)
