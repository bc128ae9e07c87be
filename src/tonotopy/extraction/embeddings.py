"""Embeddings with their names and labels, in one Parquet file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy._files import atomic_path

COLUMNS = (
    "path",
    "start",
    "content",
    "label",
    "split",
    "predicted",
    "confidence",
    "embedding",
)


@dataclass(frozen=True)
class EmbeddingTable:
    """One row a clip: `path` (absolute), `start` (seconds into the file, null for all of it),
    `content`, `label`, `split`, `predicted`, `confidence`, `embedding`.

    Args:
        frame: The rows; `embedding` is an array of D float32 numbers.
    """

    frame: pl.DataFrame

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def embeddings(self) -> Tensor:
        """(N, D) float32."""
        return torch.from_numpy(self.frame["embedding"].to_numpy().copy())

    @property
    def labels(self) -> list[tuple[str, ...]]:
        """Label paths, coarse to fine; empty where unknown."""
        return [tuple(path) for path in self.frame["label"].to_list()]

    def of_split(self, split: str) -> EmbeddingTable:
        """Keep the clips of `"train"`, `"val"` or `"test"`."""
        return EmbeddingTable(self.frame.filter(pl.col("split") == split))

    def write(self, path: Path) -> None:
        """Write Parquet, whole or not at all."""
        with atomic_path(path) as temporary:
            self.frame.write_parquet(temporary)

    @classmethod
    def read(cls, path: Path) -> EmbeddingTable:
        """Read what `write` or `tonotopy embed` wrote.

        Raises:
            UsageError: The file does not exist or holds other columns.
            DataError: The file is damaged.
        """
        if not path.is_file():
            raise UsageError(f"no embeddings at {path}: make them with `tonotopy embed`")
        try:
            frame = pl.read_parquet(path)
        except pl.exceptions.PolarsError as error:
            raise DataError(f"cannot read {path}: {error}") from error
        if "start" not in frame.columns:  # written before there were windows
            frame = frame.with_columns(pl.lit(None, dtype=pl.Float64).alias("start"))
        missing = set(COLUMNS) - set(frame.columns)
        if missing:
            raise UsageError(f"{path} is no table of embeddings: it lacks {sorted(missing)}")
        return cls(frame.select(COLUMNS))
