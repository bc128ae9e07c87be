"""What writers of synthetic corpora share: a folder that is theirs, and WAV files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tonotopy._errors import UsageError
from tonotopy._files import atomic_path, write_text
from tonotopy.datasets._physical.resonance import SAMPLE_RATE


def claim(folder: Path, about: str) -> None:
    """Write README.txt, or see that it is the same: clips of two corpora must not be mixed.

    Args:
        folder: A new or empty folder, or one that an equal call has begun.
        about: The text, which names all that the clips depend on.

    Raises:
        UsageError: The folder holds something else.
        DataError: The disk refuses.
    """
    readme = folder / "README.txt"
    if readme.is_file() and readme.read_text(encoding="utf-8", errors="replace") == about:
        return
    if folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise UsageError(
            f"{folder} holds something else than this corpus (another seed, number of clips or "
            "version counts too): choose a new folder or remove it"
        )
    write_text(readme, about)


def write_wav(target: Path, samples: NDArray[np.int16]) -> None:
    """Write 16 kHz, mono, 16 bit, whole or not at all.

    Raises:
        DataError: The disk refuses.
    """
    import soundfile

    with atomic_path(target) as temporary:
        soundfile.write(temporary, samples, SAMPLE_RATE, subtype="PCM_16")
