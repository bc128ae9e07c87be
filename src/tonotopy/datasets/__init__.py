"""Public data sets: an official layout becomes a table of clips."""

from __future__ import annotations

import difflib
import re

from tonotopy._errors import UsageError
from tonotopy.datasets.dcase_task2 import (
    DCASE2020_TASK2,
    DCASE2021_TASK2,
    DCASE2022_TASK2,
    DCASE2023_TASK2,
    DCASE2024_TASK2,
    load_dcase_task2,
)
from tonotopy.datasets.download import Archive
from tonotopy.datasets.esc50 import ESC50
from tonotopy.datasets.fsdd import FSDD
from tonotopy.datasets.fsdnoisy18k import FSDNOISY18K
from tonotopy.datasets.iemocap import IEMOCAP
from tonotopy.datasets.nsynth import NSYNTH
from tonotopy.datasets.orchideasol import ORCHIDEASOL
from tonotopy.datasets.plant import make_plant
from tonotopy.datasets.public import PublicDataset
from tonotopy.datasets.speech_commands import SPEECH_COMMANDS
from tonotopy.datasets.synthetic import make_corpus
from tonotopy.datasets.tinysol import TINYSOL
from tonotopy.datasets.tut2016 import TUT2016
from tonotopy.datasets.urbansound8k import URBANSOUND8K

DATASETS = (
    DCASE2020_TASK2,
    DCASE2021_TASK2,
    DCASE2022_TASK2,
    DCASE2023_TASK2,
    DCASE2024_TASK2,
    ESC50,
    FSDD,
    FSDNOISY18K,
    IEMOCAP,
    NSYNTH,
    ORCHIDEASOL,
    SPEECH_COMMANDS,
    TINYSOL,
    TUT2016,
    URBANSOUND8K,
)

__all__ = [
    "DATASETS",
    "Archive",
    "PublicDataset",
    "find_dataset",
    "load_dcase_task2",
    "make_corpus",
    "make_plant",
]


def find_dataset(name: str) -> PublicDataset:
    """Find a data set by its name, whatever its case, hyphens and blanks.

    Raises:
        UsageError: There is none; the message names the nearest.
    """
    known = {_plain(dataset.name): dataset for dataset in DATASETS}
    found = known.get(_plain(name))
    if found is None:
        near = difflib.get_close_matches(_plain(name), list(known), n=1)
        hint = f"; did you mean {known[near[0]].name!r}?" if near else ""
        names = ", ".join(dataset.name for dataset in DATASETS)
        raise UsageError(f"no data set {name!r}{hint}; there are: {names}")
    return found


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
