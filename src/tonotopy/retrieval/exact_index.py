"""Exact nearest neighbours by cosine, block by block."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.extraction import EmbeddingTable
from tonotopy.geometry import unit_vectors

BLOCK = 65_536
"""Stored rows compared at once; memory is queries x BLOCK numbers."""


@dataclass(frozen=True)
class Hit:
    """One answer of a search.

    Args:
        path: The clip.
        label: Its label path, coarse to fine.
        score: Cosine with the query, -1 to 1.
    """

    path: str
    label: tuple[str, ...]
    score: float


class ExactIndex:
    """Search a table of embeddings exactly, in memory that does not grow with N x queries.

    Args:
        table: The clips to search.
    """

    def __init__(self, table: EmbeddingTable) -> None:
        self._table = table
        self._units = unit_vectors(table.embeddings)

    def __len__(self) -> int:
        return len(self._table)

    def nearest(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Give the k nearest rows of each query.

        Args:
            queries: (Q, D), not necessarily normalised.
            k: Number of neighbours, at most the number of rows.

        Returns:
            Cosines (Q, k), descending, and row numbers (Q, k). Of equal cosines the earlier row
            comes first.

        Raises:
            UsageError: `k` is not positive, or D differs from that of the table.
        """
        if k <= 0:
            raise UsageError(f"k must be positive, got {k}")
        if queries.shape[-1] != self._units.shape[1]:
            raise UsageError(
                f"the query has {queries.shape[-1]} dimensions, the stored embeddings have "
                f"{self._units.shape[1]}: both must come from the same model"
            )
        k = min(k, len(self))
        queries = unit_vectors(queries.float())
        scores = torch.empty(len(queries), 0)
        rows = torch.empty(len(queries), 0, dtype=torch.long)
        for start in range(0, len(self), BLOCK):
            block = queries @ self._units[start : start + BLOCK].T
            numbers = torch.arange(start, start + block.shape[1]).expand_as(block)
            scores = torch.cat([scores, block], dim=1)
            rows = torch.cat([rows, numbers], dim=1)
            # A stable sort, not topk: ties must not depend on the block size.
            scores, order = scores.sort(dim=1, descending=True, stable=True)
            scores, rows = scores[:, :k], rows.gather(1, order)[:, :k]
        return scores, rows

    def search(self, query: Tensor, k: int = 10) -> list[Hit]:
        """Give the `k` clips nearest to one query embedding (D,)."""
        scores, rows = self.nearest(query[None], k)
        frame = self._table.frame
        return [
            Hit(frame["path"][row], tuple(frame["label"][row]), score)
            for score, row in zip(scores[0].tolist(), rows[0].tolist(), strict=True)
        ]


def open_index(source: Path) -> ExactIndex:
    """Open the embeddings of a run folder, or a Parquet file of `tonotopy embed`."""
    path = source / "embeddings.parquet" if source.is_dir() else source
    return ExactIndex(EmbeddingTable.read(path))
