"""What a source of clips lists before any audio is opened."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3"})
"""In lower case; a folder scan takes files with one of these and counts the others."""


@dataclass(frozen=True)
class Entry:
    """A file that should be a clip: its path as stored in the table, and what is known of it.

    `further` holds texts of other columns by their name; entries that differ only there are equal.
    """

    path: str
    label: tuple[str, ...] = ()
    fold: str | None = None
    group: str | None = None
    further: Mapping[str, str | None] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Rejected:
    """A file or folder that cannot be used: a row of the quarantine."""

    path: str
    reason: str
    detail: str


@dataclass
class Listing:
    """Everything that a source names: the root of its paths, clips to be, and what is left out."""

    root: Path
    entries: list[Entry] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)


def label_path(names: Iterable[str | None]) -> tuple[str, ...]:
    """Make a label path of names from coarse to fine; it stops at the first missing one.

    Surrounding blanks go, and Unicode is composed (NFC): the same accented name comes composed
    from Linux and decomposed from macOS, and must not become two classes.

    >>> label_path([" Strings", "Violin ", "", "pizzicato"])
    ('Strings', 'Violin')
    """
    path: list[str] = []
    for name in names:
        cleaned = unicodedata.normalize("NFC", name or "").strip()
        if not cleaned:
            break
        path.append(cleaned)
    return tuple(path)


def printable(path: str) -> str:
    r"""Spell a file name whose bytes are not UTF-8 with escapes such as `\xe9`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
