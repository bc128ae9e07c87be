"""Embeddings of the patches of clips, kept on disk so that no patch is embedded twice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from tonotopy._errors import AudioError, DataError, UsageError
from tonotopy._files import atomic_path
from tonotopy._progress import track
from tonotopy.audio import decode
from tonotopy.audio.decoding import content_hash
from tonotopy.clips import ClipTable, clip_starts, window_starts
from tonotopy.embedder import AudioEmbedder

SHARD = 64
"""Clips in a shard: what an interruption costs at most."""

DECODERS = 4

Stretch = tuple[Path, str, float | None, float]
"""File, hash of its content, start in seconds (None for all of it), duration."""


@dataclass(frozen=True)
class LabelledPatches:
    """The patches of some clips.

    Args:
        embeddings: (P, D) float32, one row a patch.
        owners: (P,) int64, the clip of every patch, ascending.
        labels: (N,) int64, the class of every clip.
    """

    embeddings: NDArray[np.float32]
    owners: NDArray[np.int64]
    labels: NDArray[np.int64]

    @property
    def patch_labels(self) -> NDArray[np.int64]:
        """(P,) the class of every patch's clip."""
        return self.labels[self.owners]

    @property
    def weights(self) -> NDArray[np.float64]:
        """(P,) one over the patches of the same clip: every clip weighs 1."""
        return 1.0 / np.bincount(self.owners, minlength=len(self.labels))[self.owners]

    def subset(self, clips: NDArray[np.int64]) -> LabelledPatches:
        """Keep some clips, in the order of this set."""
        clips = np.unique(clips)
        place = np.full(len(self.labels), -1)
        place[clips] = np.arange(len(clips))
        owners = place[self.owners]
        kept = owners >= 0
        return LabelledPatches(self.embeddings[kept], owners[kept], self.labels[clips])

    def clip_means(self) -> LabelledPatches:
        """Give every clip as one patch, the mean of its own."""
        means = np.zeros((len(self.labels), self.embeddings.shape[1]))
        np.add.at(means, self.owners, self.embeddings * self.weights[:, None])
        return LabelledPatches(
            means.astype(np.float32), np.arange(len(self.labels)), self.labels.copy()
        )


def embed_patches(
    embedder: AudioEmbedder,
    clips: ClipTable,
    labels: NDArray[np.int64],
    *,
    seconds: float = 1.0,
    cache: Path | None = None,
    batch_size: int = 64,
) -> LabelledPatches:
    """Cut clips into patches, half of one apart, and embed each.

    A clip that is shorter than a patch is one patch; what is left over at the end of a longer one,
    always less than half a patch, is not used.

    Args:
        embedder: The model.
        clips: Whole files or windows of files.
        labels: (N,) their classes.
        seconds: Length of a patch.
        cache: A folder of embeddings by model, patch length and content of the clip: what is there
            is not embedded again, and an interrupted call goes on. None keeps nothing.
        batch_size: Patches in a batch.

    Raises:
        UsageError: `seconds` is not positive.
        AudioError: A clip's audio is missing, unreadable, or not what the table says.
        DataError: An embedding is not finite.
    """
    if not seconds > 0:
        raise UsageError(f"patches need a positive length, got {seconds} seconds")
    stretches = _stretches(clips)
    keys = [_key(stretch) for stretch in stretches]
    folder = None if cache is None else cache / _job(embedder, seconds)
    known = _read(folder, set(keys))
    missing = {
        key: stretch for key, stretch in zip(keys, stretches, strict=True) if key not in known
    }
    starts = range(0, len(missing), SHARD)
    todo = list(missing.items())
    for start in track(starts, label="Embedding", total=len(starts)):
        shard = todo[start : start + SHARD]
        found = _embed(embedder, [stretch for _, stretch in shard], seconds, batch_size)
        named = dict(zip((key for key, _ in shard), found, strict=True))
        if folder is not None:
            _write(folder, named)
        known |= named
    parts = [known[key] for key in keys]
    owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return LabelledPatches(np.concatenate(parts), owners, labels)


def _stretches(clips: ClipTable) -> list[Stretch]:
    frame = clips.frame
    contents, lengths = frame["content"].to_list(), frame["seconds"].to_list()
    return list(zip(clips.paths, contents, clip_starts(frame), lengths, strict=True))


def _key(stretch: Stretch) -> str:
    _, content, start, seconds = stretch
    return content if start is None else f"{content}@{start!r}+{seconds!r}"


def _job(embedder: AudioEmbedder, seconds: float) -> str:
    text = f"{embedder.fingerprint}/{seconds!r}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _embed(
    embedder: AudioEmbedder, stretches: Sequence[Stretch], seconds: float, batch_size: int
) -> list[NDArray[np.float32]]:
    with ThreadPoolExecutor(DECODERS) as pool:
        waves = list(pool.map(partial(_decode, embedder.sample_rate), stretches))
    cut = [cut_patches(wave, embedder.sample_rate, seconds) for wave in waves]
    embeddings = embedder.embed(
        [torch.from_numpy(patch) for patches in cut for patch in patches], batch_size=batch_size
    ).numpy()
    parts = np.split(embeddings, np.cumsum([len(patches) for patches in cut])[:-1])
    for part, (path, *_) in zip(parts, stretches, strict=True):
        if not np.isfinite(part).all():
            raise DataError(
                f"{path}: the model's embedding holds NaN or infinity: check the clip, or whether "
                "the model's training diverged"
            )
    return parts


def cut_patches(
    wave: NDArray[np.float32], sample_rate: int, seconds: float
) -> list[NDArray[np.float32]]:
    """Cut a waveform (T,) into stretches of `seconds`, half of one apart; at least one."""
    length = max(1, round(seconds * sample_rate))
    starts = window_starts(len(wave) / sample_rate, seconds, seconds / 2)
    firsts = [min(round(start * sample_rate), max(0, len(wave) - length)) for start in starts]
    return [wave[first : first + length] for first in firsts]


def _decode(sample_rate: int, stretch: Stretch) -> NDArray[np.float32]:
    path, content, start, seconds = stretch
    if content_hash(path) != content:
        raise AudioError(path, "changed", "its bytes are not those of the table: scan again")
    if start is None:
        return decode(path, sample_rate)
    return decode(path, sample_rate, start=start, seconds=seconds)


def _read(folder: Path | None, wanted: set[str]) -> dict[str, NDArray[np.float32]]:
    """Read what is known of the wanted clips."""
    known: dict[str, NDArray[np.float32]] = {}
    for path in sorted(folder.glob("*.parquet")) if folder is not None else ():
        try:
            frame = pl.read_parquet(path)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"cannot read {path}: {error}; delete it to embed anew") from error
        embeddings = frame["embedding"].to_numpy()
        lengths = frame["clip"].rle().struct.field("len").to_numpy().astype(np.int64)
        parts = np.split(embeddings, np.cumsum(lengths)[:-1])
        names = frame["clip"].rle().struct.field("value").to_list()
        known |= {name: part for name, part in zip(names, parts, strict=True) if name in wanted}
    return known


def _write(folder: Path, named: dict[str, NDArray[np.float32]]) -> None:
    frame = pl.DataFrame(
        {
            "clip": [name for name, part in named.items() for _ in range(len(part))],
            "embedding": pl.Series(
                np.concatenate(list(named.values())),
                dtype=pl.Array(pl.Float32, next(iter(named.values())).shape[1]),
            ),
        }
    )
    # Named by its clips: two processes that embed the same ones write the same file.
    name = hashlib.blake2b("\n".join(named).encode(), digest_size=8).hexdigest()
    with atomic_path(folder / f"{name}.parquet") as temporary:
        frame.write_parquet(temporary)
