"""Embeddings of normal clips, with where they come from, bound to the model that made them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy._files import atomic_path
from tonotopy.embedder import AudioEmbedder

SCHEMA = {
    "path": pl.String(),
    "start": pl.Float64(),
    "content": pl.String(),
    "machine": pl.String(),
    "domain": pl.String(),
    "attributes": pl.String(),
    "added": pl.String(),
    "batch": pl.Int64(),
}
"""Columns beside `embedding`; `batch` is 0 for clips of the training, then 1, 2, ... for those that
were registered later, and `added` is when (ISO 8601, null for those of the training)."""

_MODEL_KEY = "tonotopy.model"
_CHANGE_KEY = "tonotopy.last_change"


@dataclass(frozen=True)
class References:
    """Normal clips of machines, one row each.

    Args:
        frame: The columns of `SCHEMA`, and `embedding`, arrays of D float32 numbers. `start` is
            null where a clip is its whole file, `domain` and `attributes` where they are unknown.
        model: Fingerprint of the model that made the embeddings.
        last_change: What `ReferenceLog` writes about the last clips that came or went; kept with
            them, so that an interruption cannot separate the two. None before the first change.
    """

    frame: pl.DataFrame
    model: str
    last_change: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        wanted = [*SCHEMA, "embedding"]
        missing = [name for name in wanted if name not in self.frame.columns]
        if missing:
            raise UsageError(f"references lack the column {', '.join(missing)}")

    def __len__(self) -> int:
        return len(self.frame)

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, embedder: AudioEmbedder) -> References:
        """Take the clips of a table with the columns of `SCHEMA`; `added` and `batch` may lack.

        Args:
            frame: Embedded clips; other columns are left out.
            embedder: The model that embedded them.
        """
        for name, value in (("added", None), ("batch", 0)):
            if name not in frame.columns:
                frame = frame.with_columns(pl.lit(value).alias(name))
        columns = [pl.col(name).cast(dtype) for name, dtype in SCHEMA.items()]
        embedding = pl.col("embedding").cast(pl.Array(pl.Float32, embedder.embedding_dim))
        return cls(frame.select(*columns, embedding), embedder.fingerprint)

    @property
    def embeddings(self) -> Tensor:
        """(N, D) float32."""
        return torch.from_numpy(self.frame["embedding"].to_numpy().copy())

    @property
    def domains(self) -> list[str | None]:
        """Domain of each clip, None where unknown."""
        domains: list[str | None] = self.frame["domain"].to_list()
        return domains

    @property
    def recordings(self) -> list[str]:
        """Content hash of the recording of each clip: equal for windows of one recording."""
        contents: list[str] = self.frame["content"].to_list()
        return contents

    @property
    def machines(self) -> list[str]:
        """Machine of each clip."""
        machines: list[str] = self.frame["machine"].to_list()
        return machines

    def of_machine(self, machine: str) -> References:
        """Keep the clips of one machine."""
        return References(self.frame.filter(pl.col("machine") == machine), self.model)

    def check_model(self, embedder: AudioEmbedder) -> None:
        """See whether the embeddings may be compared with those of a model.

        Raises:
            DataError: They are of another model; the message names both.
        """
        if self.model != embedder.fingerprint:
            raise DataError(
                f"the references were embedded by another model ({self.model[:8]}) than this one "
                f"({embedder.fingerprint[:8]}): take the detector of this model's own run, or "
                "make it anew with `tonotopy calibrate --rebuild true`"
            )

    def write(self, path: Path) -> None:
        """Write Parquet, whole or not at all."""
        about = {_MODEL_KEY: self.model, _CHANGE_KEY: json.dumps(self.last_change)}
        with atomic_path(path) as temporary:
            self.frame.write_parquet(temporary, metadata=about)

    @classmethod
    def read(cls, path: Path) -> References:
        """Read what `write` wrote.

        Raises:
            DataError: The file is missing or damaged.
        """
        try:
            about = pl.read_parquet_metadata(path)
            frame = pl.read_parquet(path)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(
                f"cannot read {path} ({error}): make it anew with `tonotopy calibrate --rebuild "
                "true`"
            ) from error
        if _MODEL_KEY not in about:
            raise DataError(f"{path} holds no references: it names no model")
        return cls(frame, about[_MODEL_KEY], json.loads(about.get(_CHANGE_KEY, "null")))
