"""Decoded audio on disk, memory-mapped: every file is decoded once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tonotopy._files import atomic_path
from tonotopy.audio.decoding import content_hash, decode

FORMAT = 1


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
            AudioError: The file cannot be used.
            DataError: The cache cannot be written.
        """
        entry = self._entry(content or content_hash(path))
        found = _open_entry(entry)
        if found is None:
            wave = decode(path, self.sample_rate)
            with atomic_path(entry) as temporary:
                np.save(temporary, wave)
            found = _open_entry(entry)
            assert found is not None, f"{entry} was just written"
        return found

    def _entry(self, content: str) -> Path:
        key = json.dumps([FORMAT, content, self.sample_rate]).encode()
        name = hashlib.blake2b(key, digest_size=16).hexdigest()
        return self.folder / name[:2] / f"{name}.npy"


def _open_entry(entry: Path) -> NDArray[np.float32] | None:
    """Map an entry; None where there is none, or only a damaged one."""
    try:
        wave = np.load(entry, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError, OSError):
        return None
    return wave if wave.dtype == np.float32 and wave.ndim == 1 and len(wave) else None
