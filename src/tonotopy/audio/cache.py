"""Decoded audio on disk, memory-mapped: every file is decoded once."""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tonotopy._errors import AudioError, DataError
from tonotopy._files import atomic_path
from tonotopy.audio.decoding import content_hash, decode

FORMAT = 1
"""Part of every key: a new way of decoding must not find the old one's entries."""

SAMPLE = np.dtype("<f4")
HEADER_BYTES = 128


def default_cache() -> Path:
    """Give the folder for what can be made again: `$TONOTOPY_CACHE`, or `~/.cache/tonotopy`."""
    return Path(os.environ.get("TONOTOPY_CACHE") or Path.home() / ".cache" / "tonotopy")


class AudioCache:
    """Waveforms by the content of their files.

    Entries are keyed by the bytes of the file and the sample rate, so a changed file is decoded
    anew and a moved one is not. They are written under a temporary name and renamed: several
    processes may share a folder, and an interruption leaves nothing half.

    Args:
        folder: Where the entries lie; made when needed.
        sample_rate: In hertz.
    """

    def __init__(self, folder: Path | str, sample_rate: int = 16000) -> None:
        self.folder = Path(folder)
        self.sample_rate = sample_rate

    def load(self, path: Path | str, content: str | None = None) -> NDArray[np.float32]:
        """Give a file's mono waveform, decoding it the first time.

        Args:
            path: The audio file.
            content: Its `content_hash`, where it is known already.

        Returns:
            (T,) float32, read-only, mapped from the disk.

        Raises:
            AudioError: The file cannot be used; with the reason `"changed"` if its bytes are not
                those of `content`.
            DataError: The cache cannot be written.
        """
        entry = self._entry(content_hash(path) if content is None else content)
        found = _open_entry(entry)
        if found is not None:
            return found
        # A wrong waveform under this key would be believed for ever.
        if content is not None and content_hash(path) != content:
            raise AudioError(path, "changed", "its bytes are not those of the scan: scan again")
        _write_entry(entry, decode(path, self.sample_rate))
        found = _open_entry(entry)
        if found is None:
            raise DataError(f"cannot read back {entry}, which was just written: check the disk")
        return found

    def _entry(self, content: str) -> Path:
        key = json.dumps([FORMAT, content, self.sample_rate]).encode()
        name = hashlib.blake2b(key, digest_size=16).hexdigest()
        return self.folder / name[:2] / f"{name}.npy"


def _write_entry(entry: Path, wave: NDArray[np.float32]) -> None:
    with atomic_path(entry) as temporary, temporary.open("wb") as file:
        file.write(_header(len(wave)))
        file.write(np.asarray(wave, SAMPLE).data)


def _open_entry(entry: Path) -> NDArray[np.float32] | None:
    """Map an entry; None where there is none, or a damaged or foreign one.

    An entry is good only if it has, byte for byte, the header that a file of its size must have.
    """
    try:
        with entry.open("rb") as file:
            samples, rest = divmod(os.fstat(file.fileno()).st_size - HEADER_BYTES, SAMPLE.itemsize)
            if samples <= 0 or rest or file.read(HEADER_BYTES) != _header(samples):
                return None
            return np.memmap(file, SAMPLE, mode="r", offset=HEADER_BYTES, shape=(samples,))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"cannot read the cache entry {entry}: {error.strerror}") from error


def _header(samples: int) -> bytes:
    """Give what `np.save` writes before that many samples."""
    buffer = io.BytesIO()
    fields = {"descr": SAMPLE.str, "fortran_order": False, "shape": (samples,)}
    np.lib.format.write_array_header_1_0(buffer, fields)
    return buffer.getvalue()
