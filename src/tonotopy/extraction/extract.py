"""Embed the clips of a table in shards that survive an interruption."""

from __future__ import annotations

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from tonotopy._errors import AudioError, DataError
from tonotopy._files import atomic_path, write_text
from tonotopy._progress import track
from tonotopy.audio import decode
from tonotopy.clips import ClipTable, clip_starts
from tonotopy.clips.windows import START
from tonotopy.embedder import AudioEmbedder
from tonotopy.embedder.state_digest import hash_state
from tonotopy.extraction.embeddings import COLUMNS, EmbeddingTable

SHARD = 256
"""Clips in a shard: what an interruption costs at most."""

DECODERS = 4
"""Threads that decode ahead; soundfile and soxr release the interpreter's lock."""

_QUARANTINE = {"path": pl.String, "reason": pl.String, "detail": pl.String}


def embed_clips(
    embedder: AudioEmbedder, clips: ClipTable, out: Path, *, batch_size: int = 32
) -> EmbeddingTable:
    """Embed every clip and write one Parquet file; go on with an interrupted job.

    Finished shards lie in a hidden folder beside `out` until all are done. They belong to this
    model and these clips: after a change of either, the job starts anew.

    Args:
        embedder: The model.
        clips: What to embed; a `split` column is kept.
        out: The Parquet file to write. Files that could not be read are listed beside it in
            `<name>.quarantine.csv`.
        batch_size: Clips (or windows of long clips) in a batch.

    Returns:
        The table, in the order of `clips`, without the quarantined files.

    Raises:
        DataError: No clip could be embedded, or the disk refuses.
    """
    shards = out.with_name(f".{out.stem}.shards")
    _claim(shards, _fingerprint(embedder, clips))
    starts = range(0, len(clips), SHARD)
    for start in track(starts, label="Embedding", total=len(starts)):
        target = shards / f"{start:09d}.parquet"
        if not target.is_file():
            rows = clips.frame.slice(start, SHARD)
            rows = rows.with_columns(
                pl.Series("path", [str(p) for p in clips.paths[start : start + SHARD]]),
                pl.Series(START, clip_starts(rows), dtype=pl.Float64),
            )
            frame, bad = _embed_shard(embedder, rows, batch_size)
            with atomic_path(shards / f"{start:09d}.quarantine") as temporary:
                bad.write_parquet(temporary)
            with atomic_path(target) as temporary:
                frame.write_parquet(temporary)

    bad = pl.concat(pl.read_parquet(path) for path in sorted(shards.glob("*.quarantine")))
    quarantine = out.with_suffix(".quarantine.csv")
    if len(bad):
        write_text(quarantine, bad.write_csv())
    else:
        quarantine.unlink(missing_ok=True)
    table = EmbeddingTable(pl.concat(pl.read_parquet(p) for p in sorted(shards.glob("*.parquet"))))
    if not len(table):
        raise DataError(f"none of the {len(clips)} clips could be embedded: see {quarantine}")
    table.write(out)
    shutil.rmtree(shards)
    return table


def _embed_shard(
    embedder: AudioEmbedder, rows: pl.DataFrame, batch_size: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    stretches = rows.select("path", START, "seconds").rows()
    with ThreadPoolExecutor(DECODERS) as pool:
        decoded = list(pool.map(partial(_try_decode, embedder.sample_rate), stretches))
    good = [row for row, wave in enumerate(decoded) if not isinstance(wave, AudioError)]
    failures = [error for error in decoded if isinstance(error, AudioError)]
    bad = pl.DataFrame(
        [(str(error.path), error.reason, error.detail) for error in failures],
        schema=_QUARANTINE,
        orient="row",
    )
    waves = [wave for wave in decoded if not isinstance(wave, AudioError)]
    embeddings = embedder.embed(waves, batch_size=batch_size)
    frame = rows[good].with_columns(
        *predictions(embedder, embeddings),
        pl.Series(
            "embedding",
            embeddings.numpy(),
            dtype=pl.Array(pl.Float32, embedder.embedding_dim),
        ),
    )
    if "split" not in frame.columns:
        frame = frame.with_columns(pl.lit(None, dtype=pl.String).alias("split"))
    return frame.select(COLUMNS), bad


def _try_decode(
    sample_rate: int, stretch: tuple[str, float | None, float]
) -> NDArray[np.float32] | AudioError:
    path, start, seconds = stretch
    try:
        if start is None:
            return decode(path, sample_rate)
        return decode(path, sample_rate, start=start, seconds=seconds)
    except AudioError as error:
        return error


@torch.no_grad()
def predictions(embedder: AudioEmbedder, embeddings: Tensor) -> tuple[pl.Series, pl.Series]:
    """Give the columns `predicted` and `confidence`: the likeliest leaf of each clip.

    Args:
        embedder: The model.
        embeddings: (N, D).

    Returns:
        Names and probabilities; null where the model has neither classifier nor centroids.
    """
    classifier = embedder.classifier
    names: list[str | None] = [None] * len(embeddings)
    confidence: list[float | None] = [None] * len(embeddings)
    if classifier is not None and len(embeddings):
        likeliest = classifier.leaf_probabilities(embeddings.to(embedder.device)).max(dim=-1)
        names = [classifier.tree.leaf_names[index] for index in likeliest.indices.tolist()]
        confidence = likeliest.values.tolist()
    return (
        pl.Series("predicted", names, dtype=pl.String),
        pl.Series("confidence", confidence, dtype=pl.Float32),
    )


def _fingerprint(embedder: AudioEmbedder, clips: ClipTable) -> str:
    digest = hashlib.blake2b(digest_size=16)
    hash_state(digest, embedder)
    for clip in zip(clips.paths, clips.frame["content"], clip_starts(clips.frame), strict=True):
        digest.update(("\0".join(map(str, clip)) + "\n").encode())
    return digest.hexdigest()


def _claim(shards: Path, fingerprint: str) -> None:
    """Keep the shards of the same job; throw away those of another."""
    mark = shards / "job"
    if shards.exists() and not (mark.is_file() and mark.read_text() == fingerprint):
        shutil.rmtree(shards)
    write_text(mark, fingerprint)
